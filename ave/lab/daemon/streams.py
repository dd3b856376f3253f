"""What a daemon prints, on its way to descriptors 1 and 2. A full disk costs lines, counted, and raises nothing.

A calm daemon's lines are written one by one. One that floods is buffered, as the same program would be that prints
to a plain file, and what it printed is in the log a twentieth of a second later.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TextIO

__all__ = ["Outlet", "Streams"]

#: Bytes that a flood is buffered in.
BUFFER_SIZE = 64 * 1024

#: Bytes between two looks from which on it is a flood.
FLOOD_SIZE = 64 * 1024

#: Bytes that a disk must have free before a log that was full goes on.
ROOM_SIZE = 64 * 1024


class Outlet:
    """Writes to descriptors; counts what does not go in.

    Attributes:
        dropped: lines that were lost since the log was whole the last time.
        dropped_in_all: lines that were lost.
    """

    def __init__(self) -> None:
        self.dropped = self.dropped_in_all = 0
        self._is_full = self._is_torn = False
        self._lock = Lock()

    def put(self, fd: int, data: memoryview) -> None:
        """Write all of `data`, or count its lines; raises nothing."""
        done = 0 if self._is_full else self._write(fd, data)
        if done < len(data):
            self._drop(data, done)

    def shut(self) -> None:
        """Drop everything, until there is room."""
        self._is_full = True

    def recover(self, fd: int, name: str) -> None:
        """Go on writing if there is room again, with a line that says how many are missing."""
        if not self._is_full or not _has_room(fd):
            return
        with self._lock:
            lines = self.dropped
            begin = "\n" if self._is_torn else ""
            notice = f"{begin}{name}: {lines} lines dropped here: the log could not be written\n".encode()
            done = self._write(fd, memoryview(notice))
            if done == len(notice):
                self._is_full = self._is_torn = False
                self.dropped -= lines
            else:
                self._is_torn = self._is_torn or done > 0

    def _write(self, fd: int, data: memoryview) -> int:
        done = 0
        try:
            while done < len(data):
                done += os.write(fd, data[done:])
        except OSError:
            self._is_full = True
        return done

    def _drop(self, data: memoryview, done: int) -> None:
        with self._lock:
            self._is_torn = self._is_torn or (done > 0 and data[done - 1] != 10)
            lines = max(1, bytes(data[done:]).count(b"\n"))
            self.dropped += lines
            self.dropped_in_all += lines


class _Raw(io.RawIOBase):
    """A descriptor, as the standard library's streams want it; never closed.

    Attributes:
        busy: whether somebody is writing, and holds the lock of the stream above for that.
        written: bytes.
    """

    def __init__(self, fd: int, outlet: Outlet) -> None:
        self.busy = False
        self.written = 0
        self._fd = fd
        self._outlet = outlet

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any, /) -> int:
        self.busy = True
        try:
            self._outlet.put(self._fd, memoryview(data))
        finally:
            self.busy = False
        self.written += len(data)
        return len(data)


class _Stream:
    """sys.stdout or sys.stderr: two in turn, one that writes each line and one that buffers.

    Nobody waits here for the lock of a stream in which another thread prints: it would not be had before that pauses.
    """

    def __init__(self, name: str, fd: int, outlet: Outlet) -> None:
        self._name = name
        self._raws = _Raw(fd, outlet), _Raw(fd, outlet)
        self._calm, self._flood = (_text(fd, raw) for raw in self._raws)
        self._calm.reconfigure(line_buffering=True)
        self._is_used = False
        self._before = 0
        setattr(sys, name, self._calm)
        setattr(sys, f"__{name}__", self._calm)  # what the interpreter prints at its very end, too

    def flush(self) -> None:
        """Bring to the log what waits; what is being written gets there without this."""
        calm, flood = self._raws
        if not calm.busy:
            self._calm.flush()
        if self._is_used and not flood.busy:
            self._flood.flush()

    def look(self) -> None:
        """Flush; then buffer from now on if it is a flood, else write line by line. Somebody else's stream stays."""
        self.flush()
        calm, flood = self._raws
        written = calm.written + flood.written
        grown, self._before = written - self._before, written
        wanted, other = (self._flood, self._calm) if grown >= FLOOD_SIZE else (self._calm, self._flood)
        if getattr(sys, self._name) is other:
            self._is_used = True  # for good: who kept it may print into it at any time
            setattr(sys, self._name, wanted)
            self.flush()


class Streams:
    """sys.stdout and sys.stderr of a daemon. Make it once, and again in a forked child.

    Those that were there are kept as they are: what they hold is flushed, or belongs to the parent, and another
    thread of the parent may have had the lock that closing them would wait for.
    """

    def __init__(self, outlet: Outlet, *, flush: bool = True) -> None:
        self._before = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        for stream in self._before if flush else ():
            if stream is not None:
                stream.flush()
        self._both = _Stream("stdout", 1, outlet), _Stream("stderr", 2, outlet)
        _lead_handlers(self._before)

    def flush(self) -> None:
        """Bring to the log what waits."""
        for stream in self._both:
            stream.flush()

    def look(self) -> None:
        """Bring to the log what waits, and see how much it is."""
        for stream in self._both:
            stream.look()


def _lead_handlers(before: tuple[TextIO | None, ...]) -> None:
    """Let the handlers of `logging` that print to streams of before print to ours."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream in before:
            # not by setStream, which waits for the lock of the old one
            handler.stream = sys.stdout if handler.stream in before[::2] else sys.stderr


def _text(fd: int, raw: _Raw) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(io.FileIO(fd, "wb", closefd=False), BUFFER_SIZE)
    text = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")
    # A text stream asks at every write whether its file is closed: quickly of a FileIO, in 0.1 us of anything else,
    # a third of what printing costs. So it is made above a FileIO, and the buffer between gets ours afterwards.
    buffer.__init__(raw, BUFFER_SIZE)  # type: ignore[misc]
    return text


def _has_room(fd: int) -> bool:
    try:
        disk = os.fstatvfs(fd)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize >= ROOM_SIZE
