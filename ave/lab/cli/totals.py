"""The verdicts of a run, counted: one per case, the derived `flaky` and `missing` among them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from ave.record import RESULTS

__all__ = ["Totals"]

_FAILED = frozenset(("failure", "error"))

#: A case is known by its suite, its name and its parameters.
_Case = tuple[str, str, str]


class Totals:
    """Counts verdicts as they come, in order of time.

    Attributes:
        results: result -> cases that ended so, as far as is known by now; `flaky` among them.

    A later attempt of a case replaces the earlier one. The same case again with the same or a lower attempt is
    another run of it, and counts for itself.
    """

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self._last: dict[_Case, tuple[int, str, bool]] = {}
        self._collected: dict[_Case | str, None] = {}

    def add(self, body: dict[str, Any]) -> str:
        """Count the body of a verdict; return its result, or `flaky` if an earlier attempt of its case failed."""
        result, attempt, case = str(body.get("result", "error")), _number(body.get("attempt")), _case(body)
        known = self._last.get(case)
        has_failed = False
        if known and attempt > known[0]:
            has_failed = known[2]
            self.results[known[1]] -= 1
        if result == "passed" and has_failed:
            result = "flaky"
        self.results[result] += 1
        self._last[case] = attempt, result, has_failed or result in _FAILED
        return result

    def collect(self, body: dict[str, Any]) -> None:
        """Note the cases of a `collected` event: each {suite, name, parameters?}, `suite::name` or the name alone."""
        cases = body.get("cases")
        for case in cases if isinstance(cases, list) else ():
            self._collected[_case(case) if isinstance(case, dict) else str(case)] = None

    def missing(self) -> list[str]:
        """Return the cases that were collected and of which nothing was heard."""
        names = set()
        if any(isinstance(case, str) for case in self._collected):
            names = {name for suite, case, _ in self._last for name in (case, f"{suite}::{case}")}
        absent = [case for case in self._collected if case not in names and case not in self._last]
        return [case if isinstance(case, str) else " :: ".join(filter(None, case[:2])) + case[2] for case in absent]

    def counts(self) -> dict[str, int]:
        """Return how many cases ended how, in the order of `RESULTS`, the derived ones behind; none that is zero."""
        counts = {**dict.fromkeys((*RESULTS, "flaky"), 0), **self.results, "missing": len(self.missing())}
        return {result: count for result, count in counts.items() if count}


def _case(body: dict[str, Any]) -> _Case:
    parameters = body.get("parameters")
    shown = f"[{json.dumps(parameters, sort_keys=True)}]" if parameters else ""
    return str(body.get("suite", "")), str(body.get("name", "")), shown


def _number(attempt: Any) -> int:
    return attempt if type(attempt) is int else 1
