"""What became of the test cases: the final verdict of each, derived from the records of its attempts."""

from __future__ import annotations

from ave.record import RESULTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["FINALS", "Tally"]

#: What a case can have become, the results and what is derived.
FINALS = (*RESULTS, "flaky")

#: Cases that did not pass, which alone are remembered; up to twice as many are.
REMEMBERED = 20_000

_FAILED = frozenset(("failure", "error"))


class Tally:
    """Counts cases by their final verdict, in bounded memory.

    The final verdict is that of the last attempt; of several records of one attempt, a failure outweighs an
    error. A case that passes after a failed attempt is flaky, and not also passed.

    Attributes:
        total: different cases.
        attempts: records.
        results: final verdict -> number of cases, all of `FINALS`.
    """

    __slots__ = ("_older", "_recent", "attempts", "results", "total")

    def __init__(self) -> None:
        self.total = 0
        self.attempts = 0
        self.results = dict.fromkeys(FINALS, 0)
        # hash of a case -> its last attempt and its final verdict so far
        self._recent: dict[int, tuple[int, str]] = {}
        self._older: dict[int, tuple[int, str]] = {}

    def add(self, body: dict[str, Any]) -> None:
        """Count the body of a verdict. Those of one case come in the order of its attempts."""
        self.attempts += 1
        result, attempt = body["result"], body["attempt"]
        if attempt == 1 and result == "passed":
            self.total += 1
            self.results["passed"] += 1
            return
        case = hash((body.get("testsuite"), body["suite"], body["name"], body.get("parameters")))
        known = self._recent.get(case) or self._older.get(case)
        if known is None and attempt > 1:
            known = (attempt - 1, "passed")
        if known is None:
            self.total += 1
        else:
            result = _final(*known, result, attempt)
            self.results[known[1]] -= 1
        self.results[result] += 1
        self._remember(case, attempt, result)

    def _remember(self, case: int, attempt: int, result: str) -> None:
        if len(self._recent) >= REMEMBERED:
            self._older, self._recent = self._recent, {}
        self._recent[case] = (attempt, result)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {"total": self.total, "attempts": self.attempts, "results": dict(self.results)}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.results.items() if count)
        return f"<Tally: {self.total} cases in {self.attempts} attempts: {counts or 'none'}>"


def _final(before: int, verdict: str, result: str, attempt: int) -> str:
    """Return the final verdict of a case that had `verdict` by attempt `before`."""
    if attempt == before and {verdict, result} == _FAILED:
        return "failure"
    if result == "passed" and (verdict in _FAILED or verdict == "flaky"):
        return "flaky"
    return result
