"""Which records an opened store may have been given before it was opened, or before now.

Where a store is partitioned by time, the same id with another time would land in another partition, unnoticed. To look
for each id in all partitions costs as much as to store it, and ids come in order: only what is new to the one who
puts need be looked for, once; and a segment that was begun since nobody can have put before. What comes again as it
was lands where it was, whatever is said here: a clock that was wrong costs such a look or an alarm, never a record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ave.record import Record

__all__ = ["Seen", "begun"]

#: Segments that are remembered.
SEGMENTS_MAX = 10_000

#: Hexadecimal digits of milliseconds that the name of a segment begins with.
_DIGITS = 12

#: Before all times, in nanoseconds since the epoch.
_ALWAYS = -(2**63)


class Seen:
    """The highest counter of each segment that was put."""

    def __init__(self) -> None:
        self._forget()

    def doubtful(self, batch: Iterable[Record]) -> list[Record]:
        """Return the records that may be stored already."""
        return [record for record, segment, seq in _split(batch) if self._is_doubtful(segment, seq)]

    def add(self, batch: Sequence[Record]) -> None:
        """Note what is stored now."""
        if len(self._highest) > SEGMENTS_MAX:
            self._forget()
        for _, segment, seq in _split(batch):
            if seq > self._highest.get(segment, -1):
                self._highest[segment] = seq

    def _forget(self) -> None:
        """Be as one that was just opened."""
        self._highest: dict[str, int] = {}
        self._opened = time.time_ns()

    def _is_doubtful(self, segment: str, seq: int) -> bool:
        highest = self._highest.get(segment)
        return begun(segment) <= self._opened if highest is None else seq <= highest


def begun(name: str) -> int:
    """Return when a segment was begun, in nanoseconds since the epoch, given its name or that of one of its records.

    None of its records is older, unless it was given another time or names were made faster than one a millisecond. A
    name that does not begin with a time that has been was begun before all times.
    """
    try:
        begun_ns = int(name[:_DIGITS], 16) * 1_000_000
    except ValueError:
        return _ALWAYS
    return begun_ns if 0 <= begun_ns <= time.time_ns() else _ALWAYS


def _split(batch: Iterable[Record]) -> Iterator[tuple[Record, str, int]]:
    """Give the records with segment and counter of each; the counter of an odd id is below all others."""
    for record in batch:
        segment, _, seq = record.id.rpartition("-")
        yield record, segment, int(seq) if seq.isdecimal() else -1
