"""The numbers of one segment: the highest one seen, and which below it are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Account", "union"]


class Account:
    """The numbers of one segment.

    Attributes:
        top: the highest one seen.
        missing: ranges (first, last) below it; no two of them overlap.
        before: what was missing in the beginning.
        known: whether the segment is in the books.
        changed: whether the books have to be changed.
    """

    def __init__(self, top: int = 0, missing: Iterable[tuple[int, int]] = (), known: bool = True) -> None:
        self.top = top
        self.missing = list(missing)
        self.before = frozenset(self.missing)
        self.known = known
        self.changed = not known

    def arrives(self, first: int, last: int) -> bool:
        """Note that `first` to `last` are there or explained; tell whether any of them is news."""
        if first > self.top:
            if first > self.top + 1:
                self.missing.append((self.top + 1, first - 1))
                self.changed = True
            self.top = last
            return True
        holes = [(low, high) for low, high in self.missing if low <= last and high >= first]
        for low, high in holes:
            self.missing.remove((low, high))
            self.missing += [part for part in ((low, first - 1), (last + 1, high)) if part[0] <= part[1]]
            self.changed = True
        news = bool(holes) or last > self.top
        self.top = max(self.top, last)
        return news


def union(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the numbers that are in any of `ranges`, as ranges that neither overlap nor touch, lowest first."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
