"""The read side: what is in a segment from an offset on, and whether more can come. It never changes a segment."""

from __future__ import annotations

import json
import os
import stat

from ave import io
from ave.spool import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SEGMENT_MAX", "Segment", "list_segments", "path"]

#: Bytes of a segment that are read; the writer rolls far below, so what lies behind was never written by it.
SEGMENT_MAX = 64 << 20

#: Bytes that are read at least, however little is asked for: nearly every line is shorter.
READ_MIN = 64 * 1024

_SUFFIX = ".seg"


def list_segments(spool: str) -> list[str]:
    """Return the names of all segments, oldest first; none if there is no spool."""
    try:
        return sorted(name[: -len(_SUFFIX)] for name in os.listdir(spool) if name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []


def path(spool: str, name: str) -> str:
    """Return the path of a segment."""
    return os.path.join(spool, name + _SUFFIX)


class Segment:
    """One segment, open for reading.

    Raises:
        OSError: it is gone, may not be read, or is no regular file (with errno ELOOP or EINVAL).
    """

    def __init__(self, spool: str, name: str) -> None:
        self.name = name
        self.path = path(spool, name)
        self.fd = io.open_read(self.path)
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            self.close()
            raise OSError(22, "is no regular file", self.path)

    def size(self) -> int:
        """Return the bytes that may be read; the file may have more."""
        return min(os.fstat(self.fd).st_size, SEGMENT_MAX)

    def is_final(self) -> bool:
        """Tell whether nothing will be added any more, because the writer let go of it or is gone."""
        return io.is_unlocked(self.fd)

    def read(self, offset: int, limit: int = 1 << 20, *, final: bool = False) -> list[frames.Line | frames.Damage]:
        """Return the lines and the damage from `offset`, the begin of a line, about `limit` bytes of them.

        An unfinished line at the end is left out unless `final`, which the caller knows from `is_final()` asked
        *before* this call. An empty answer means: nothing more for now, or, if `final`, for ever.
        """
        size = self.size()
        # the second length is enough for any line, so that an answer is empty only at the end
        for length in (max(limit, READ_MIN), 2 * frames.LINE_MAX):
            data = io.pread(self.fd, min(length, size - offset), offset) if offset < size else b""
            found = frames.scan(data, offset, final and offset + len(data) >= size)
            if found or offset + len(data) >= size:
                break
        return found

    def header(self) -> dict[str, Any] | None:
        """Return the header, or None if the first line is not there, damaged or something else."""
        first = frames.scan(io.pread(self.fd, 4096, 0), 0, final=False)[:1]
        if first and isinstance(first[0], frames.Line) and frames.kind_of(first[0].payload) == frames.HEADER:
            try:
                header: dict[str, Any] = json.loads(first[0].payload)
            except (ValueError, RecursionError):
                return None
            return header
        return None

    def close(self) -> None:
        """Let go of the file."""
        io.close(self.fd)
