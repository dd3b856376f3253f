"""Which records an opened store may have been given before it was opened, or before now.

Where a store is partitioned by time, the same id with another time would land in another partition, unnoticed. To look
for each id in all partitions costs as much as to store it, and ids come in order: only what is new to the one who
puts need be looked for, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ave.record import Record

__all__ = ["Seen"]

#: Segments that are remembered.
SEGMENTS_MAX = 10_000


class Seen:
    """The highest counter of each segment that was put."""

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}

    def doubtful(self, batch: Iterable[Record]) -> list[Record]:
        """Return the records that may be stored already."""
        highest = self._highest
        return [record for record, segment, seq in _split(batch) if seq <= highest.get(segment, seq)]

    def add(self, batch: Sequence[Record]) -> None:
        """Note what is stored now."""
        if len(self._highest) > SEGMENTS_MAX:
            self._highest.clear()
        for _, segment, seq in _split(batch):
            if seq > self._highest.get(segment, -1):
                self._highest[segment] = seq


def _split(batch: Iterable[Record]) -> Iterator[tuple[Record, str, int]]:
    """Give the records with segment and counter of each; the counter of an odd id is below all others."""
    for record in batch:
        segment, _, seq = record.id.rpartition("-")
        yield record, segment, int(seq) if seq.isdecimal() else -1
