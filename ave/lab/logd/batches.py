"""Batches of what one store takes from the spool; while it takes one, a helper thread reads the next.

Reading changes nothing, so a batch read ahead that is not wanted any more is just forgotten. Two batches are in memory
at most, but for the moments after a failure in which the helper ends its work for nothing.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ave.lab.logd import wire
from ave.lab.stores.base import prepared
from ave.record import KINDS, segment_of, seq_of
from ave.spool.frames import RECORD, Line, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ave.lab.logd.watch import Watch
    from ave.lab.stores.base import Store
    from ave.record import Record
    from ave.spool.frames import Damage

__all__ = ["Batch", "Batches"]

#: Bytes of a segment read at once.
PIECE_BYTES = 64 * 1024

#: How the writer begins a record: segment, number and kind. It spares decoding what is for other stores.
_BEGIN = re.compile(rb'\{"id":"([0-9a-f]{26})-([1-9][0-9]{0,17})","kind":"([a-z]+)"')


class Batch(NamedTuple):
    """Records, prepared for their store, and where they end: segment -> (offset, seq), see `Cursor`.

    No positions: there is nothing to read. No records: what there was is not for this store, or damaged.
    """

    records: Sequence[Record]
    positions: dict[str, tuple[int, int]]


class Batches:
    """Reads for one shipper.

    Args:
        watch: of the spool.
        kinds: what the store takes.
        most: records of one batch; how many bytes, the store says.
    """

    def __init__(self, watch: Watch, kinds: frozenset[str], most: int) -> None:
        self._watch = watch
        self._kinds = kinds
        self._others = {kind.encode() for kind in KINDS - kinds}
        self._most = most
        self._helper = ThreadPoolExecutor(1, "read-ahead")
        self._ahead: Future[Batch] | None = None

    def take(self, positions: Mapping[str, tuple[int, int]], store: Store) -> Batch:
        """Return the batch behind `positions`: that read ahead, if there was something to read by then.

        Raises what reading raises; then nothing is read ahead.
        """
        ahead, self._ahead = self._ahead, None
        batch = ahead.result() if ahead else None
        return batch if batch and batch.positions else self._read(positions, store)

    def read_ahead(self, positions: Mapping[str, tuple[int, int]], store: Store) -> None:
        """Begin to read the batch behind `positions`, for the next `take`; the caller lets them as they are."""
        self._ahead = self._helper.submit(self._read, positions, store)

    def forget(self) -> None:
        """Forget what was read ahead."""
        self._ahead = None

    def close(self) -> None:
        """Let go of the helper. Safe to call twice."""
        self.forget()
        self._helper.shutdown(wait=False, cancel_futures=True)

    def _read(self, begin: Mapping[str, tuple[int, int]], store: Store) -> Batch:
        """Read on in all segments, oldest first, about as many bytes as the store wants."""
        batch: list[Record] = []
        positions: dict[str, tuple[int, int]] = {}
        left = store.batch_bytes
        for name in self._watch.segments:
            offset, seq = begin.get(name, (0, 0))
            # in pieces: what is read behind the last record that has room is read for nothing
            while left > 0 and (items := self._watch.read(name, offset, min(PIECE_BYTES, left))):
                end, seq = self._pick(name, items, seq, batch)
                left -= end - offset
                offset = end
                positions[name] = (offset, seq)
                if len(batch) >= self._most:
                    return Batch(prepared(store, batch), positions)
            if left <= 0:
                break
        return Batch(prepared(store, batch), positions)

    def _pick(self, name: str, items: Sequence[Line | Damage], seq: int, batch: list[Record]) -> tuple[int, int]:
        """Put into a batch what is for the store, while there is room; return where that ends: offset and seq."""
        end = 0
        for item in items:
            end = item.end
            if not isinstance(item, Line):
                continue
            begin = _BEGIN.match(item.payload) if self._others else None
            if begin and begin[3] in self._others:
                if begin[1] == name.encode():
                    seq = int(begin[2])
                continue
            record = _record(item)
            if record is None:
                continue
            if segment_of(record.id) == name:
                seq = seq_of(record.id)
            if record.kind in self._kinds:
                batch.append(record)
                if len(batch) >= self._most:
                    break
        return end, seq


def _record(line: Line) -> Record | None:
    """Return the record of a line; None for all else, and for what only looks like one (see the ledger)."""
    if kind_of(line.payload) != RECORD:
        return None
    try:
        return wire.decode(line.payload)
    except ValueError:
        return None
