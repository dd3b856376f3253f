"""Where a reader of the spool stands: an optimisation, never the truth.

A cursor that is lost, torn or old only makes its reader send records again, and stores know a record by its id. So does
one of a reader that took less: what it went past may be for its reader now.
"""

from __future__ import annotations

import json
import os

from ave import io
from ave.spool import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["Cursor", "positions"]

#: Bytes by which the file grows before it is written anew, with one line per segment.
COMPACT_SIZE = 1 << 20


class Cursor:
    """A file of lines `[segment, offset, seq]` in the frames of the spool; the last line of a segment holds.

    Before them is a line `{"kinds": [...]}`: what its reader takes.

    Args:
        path: of the file.
        kinds: of the records that the reader takes; if some of them were passed by before, it begins anew.

    Attributes:
        positions: segment -> (offset of the first byte not read, seq of the last record read).
    """

    def __init__(self, path: str, kinds: Collection[str]) -> None:
        self.path = path
        self.kinds = sorted(kinds)
        self.positions = positions(path, kinds)
        self.fd = -1
        self._rewrite()

    def move(self, positions: dict[str, tuple[int, int]]) -> None:
        """Note new positions. They survive the death of the process; `sync` makes them survive a power cut."""
        self.positions.update(positions)
        data = b"".join(map(_line, positions.items()))
        self.size += len(data)
        # a cut line is healed by the next rewrite; until then it is only an old position
        if io.write(self.fd, data) != len(data) or self.size > self.limit:
            self._rewrite()

    def sync(self) -> None:
        """Make all positions survive a power cut."""
        io.sync(self.fd)

    def forget(self, segments: Iterable[str]) -> None:
        """Drop the positions of segments that are gone."""
        for segment in segments:
            self.positions.pop(segment, None)

    def close(self) -> None:
        """Let go of the file."""
        io.close(self.fd)

    def _rewrite(self) -> None:
        io.make_dirs(os.path.dirname(self.path))
        data = _frame({"kinds": self.kinds}) + b"".join(map(_line, self.positions.items()))
        io.replace_file(self.path, data)
        before, self.fd = self.fd, io.open_append(self.path)
        if before >= 0:
            io.close(before)
        self.size = len(data)
        self.limit = len(data) + COMPACT_SIZE


def positions(path: str, kinds: Collection[str] = ()) -> dict[str, tuple[int, int]]:
    """Return the positions in a cursor's file without touching it, as the reader of such kinds will find them.

    None if there is no such file, or some of the kinds were passed by.
    """
    found: dict[str, tuple[int, int]] = {}
    taken: set[str] = set()
    for said in _said(path):
        if isinstance(said, dict) and isinstance(said.get("kinds"), list):
            taken = taken or {kind for kind in said["kinds"] if isinstance(kind, str)}
        elif isinstance(said, list) and len(said) == 3:
            segment, offset, seq = said
            if isinstance(segment, str) and _is_count(offset) and _is_count(seq):
                found[segment] = (offset, seq)
    return found if taken.issuperset(kinds) else {}


def _said(path: str) -> Iterator[object]:
    """Give what the whole lines of a cursor's file say."""
    try:
        data = io.read_file(path, 64 * COMPACT_SIZE)
    except OSError:
        return
    for item in frames.scan(data, 0, final=True):
        if isinstance(item, frames.Line):
            try:
                yield json.loads(item.payload)
            except (ValueError, RecursionError):
                continue


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 63


def _line(item: tuple[str, tuple[int, int]]) -> bytes:
    segment, (offset, seq) = item
    return _frame([segment, offset, seq])


def _frame(said: object) -> bytes:
    return frames.frame(json.dumps(said).encode())
