"""What a daemon prints, on its way to descriptors 1 and 2. A full disk costs lines, counted, and raises nothing.

A calm daemon's lines are written one by one. One that floods is buffered, as the same program would be that prints
to a plain file, and what it printed is in the log a twentieth of a second later.
"""

from __future__ import annotations

import io
import os
import sys
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

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
        busy: writes that are under way.
    """

    def __init__(self) -> None:
        self.dropped = self.dropped_in_all = 0
        self.busy = 0
        self._is_full = self._is_torn = False
        self._lock = Lock()

    def put(self, fd: int, data: memoryview) -> None:
        """Write all of `data`, or count its lines; raises nothing."""
        self.busy += 1
        try:
            done = 0 if self._is_full else self._write(fd, data)
            if done < len(data):
                self._drop(data, done)
        finally:
            self.busy -= 1

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
    """A descriptor, as the standard library's streams want it; never closed."""

    def __init__(self, fd: int, outlet: Outlet) -> None:
        self._fd = fd
        self._outlet = outlet

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any, /) -> int:
        view = memoryview(data)
        self._outlet.put(self._fd, view)
        return len(view)


class Streams:
    """sys.stdout and sys.stderr of a daemon. Make it once, and again in a forked child.

    Those that were there are kept as they are: what they hold is flushed, or belongs to the parent, and another
    thread of the parent may have had the lock that closing them would wait for.
    """

    def __init__(self, outlet: Outlet, *, flush: bool = True) -> None:
        self._outlet = outlet
        self._is_flood = False
        self._before = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        for stream in self._before if flush else ():
            if stream is not None:
                stream.flush()
        self._both = [_text(fd, outlet) for fd in (1, 2)]
        sys.stdout, sys.stderr = self._both
        # what the interpreter prints at its very end, too
        sys.__stdout__, sys.__stderr__ = self._both  # type: ignore[misc]

    def flush(self) -> None:
        """Bring to the log what waits.

        Not while another thread writes out its buffer: two that wait for a stream's lock may get it in the other
        order, and what is in a flood gets there without this.
        """
        if not (self._is_flood and self._outlet.busy):
            for stream in self._both:
                stream.flush()

    def adapt(self, grown: int) -> None:
        """Buffer if the log grew by as many bytes as a flood brings, else write line by line."""
        is_flood = grown >= FLOOD_SIZE
        if is_flood != self._is_flood:
            self._is_flood = is_flood
            for stream in self._both:
                stream.reconfigure(line_buffering=not is_flood)


def _text(fd: int, outlet: Outlet) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(io.FileIO(fd, "wb", closefd=False), BUFFER_SIZE)
    text = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    # A text stream asks at every write whether its file is closed: quickly of a FileIO, in 0.1 us of anything else,
    # a third of what printing costs. So it is made above a FileIO, and the buffer between gets ours afterwards.
    buffer.__init__(_Raw(fd, outlet), BUFFER_SIZE)  # type: ignore[misc]
    return text


def _has_room(fd: int) -> bool:
    try:
        disk = os.fstatvfs(fd)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize >= ROOM_SIZE
