"""Which attempt a result is: the first, or a repeat of one that came earlier in the same file.

Bounded: of files with very many cases, the ones that came long ago are forgotten, and a repeat of them is a first
attempt again. Reruns come soon after what they repeat, also when several workers write into one file.
"""

from __future__ import annotations

from collections import deque
from itertools import islice, repeat
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]

__all__ = ["REMEMBERED", "Attempts"]

#: Different cases that are remembered; up to twice as many are. It is the most that a dict holds before it
#: doubles: two full ones with their 8-byte hashes take 14 MB. Two of 174,000 keys have one hash in 10^9 files.
REMEMBERED = 87_381

#: How pytest begins the message of an error in the teardown of a test that has failed already.
TEARDOWN = "failed on teardown with "

_case = itemgetter("testsuite", "suite", "name")


class Attempts:
    """Gives verdict bodies their `attempt`, in the order of the file."""

    def __init__(self) -> None:
        # hash of a case -> the number of its last attempt, negative if that failed
        self._recent: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def number(self, bodies: list[Body], failures: list[Body]) -> None:
        """Set `attempt`, which must be 1, in each body. Those of equal `testsuite`, `suite` and `name` are one case's.

        pytest tells an error in the teardown of a failed test by a result of its own: it belongs to that attempt.

        Args:
            bodies: in the order of the file.
            failures: those of them whose result is failure.
        """
        if len(self._recent) + len(bodies) > REMEMBERED:
            self._older, self._recent = self._recent, {}
        # nearly always all cases are new, which is found, and remembered, without a loop of ours
        recent, known, cases = self._recent, len(self._recent), list(map(hash, map(_case, bodies)))
        deque(map(recent.setdefault, cases, repeat(1)), maxlen=0)
        new = len(recent) - known
        if new == len(cases) and (not self._older or self._older.keys().isdisjoint(cases)):
            recent.update(zip(map(hash, map(_case, failures)), repeat(-1)))
        else:
            self._number_each(cases, bodies, set(islice(reversed(recent), new)))

    def _number_each(self, cases: list[int], bodies: list[Body], new: set[int]) -> None:
        """Number bodies among which are repeats; `new`: the cases that are remembered since now."""
        for case, body in zip(cases, bodies, strict=True):
            last = self._older.get(case, 0) if case in new else self._recent[case]
            new.discard(case)
            self._recent[case] = self._number(body, last)

    def _number(self, body: Body, last: int) -> int:
        """Set `attempt`, given what is remembered of the last one; return what to remember of this one."""
        is_teardown = body["result"] == "error" and body.get("message", "").startswith(TEARDOWN)
        attempt = -last if last < 0 and is_teardown else abs(last) + 1
        body["attempt"] = attempt
        return -attempt if body["result"] == "failure" else attempt
