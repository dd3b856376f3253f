"""Where the children of a daemon print: a file of their own, out of which the daemon copies line by line into its log.

A pipe would lose what is in it when the daemon is killed, and the log itself a child would hold open after it was
rotated. What a child prints is in the file when its write returns. The daemon reads it every 50 ms,
when all is calm every 100 ms, and gives the disk back what it has read, by holes, so that nobody need be asked to
begin a new file. If the daemon dies, the next one of the service reads on; what was copied but not yet noted then is
in the log twice, and nothing is missing.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from binascii import hexlify
from itertools import count
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io
from ave.lab.daemon.logfiles import is_free, run_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Children"]

#: Bytes that are copied at once, and how often in one turn: children may print faster than they can be copied.
CHUNK = 512 * 1024
CHUNKS = 8

#: Bytes that may wait to be copied; what is before them is left out then, and counted.
LAG_MAX = 64 << 20

#: Bytes of a line that has no end yet until it is copied as it is.
LINE_MAX = 64 * 1024

#: Bytes that a file system has in a piece, at most as a rule; of the last that is given back it only blanks a part.
BLOCK = 64 * 1024

#: Bytes after which the disk gets back what was copied.
HOLE = 256 * 1024

#: Seconds between two looks for what other instances left.
ADOPT_S = 1.0

#: Suffixes of the file, and of the one beside it that says how far it is copied; whoever copies has the lock of that.
DATA, AT = ".children", ".children.at"

#: fallocate(2): free a range, and leave the size as it is.
KEEP_SIZE, PUNCH_HOLE = 1, 2


class Children:
    """All files of children that one daemon copies: its own, and those of instances that died.

    Attributes:
        fd: where children print; it is not inherited by itself.
    """

    def __init__(self, home: str, name: str, put: Callable[[memoryview], None]) -> None:
        self._home = home
        self._name = name
        self._put = put
        io.make_dirs(homes.ave(home, "run"))
        path = run_file(home, name, hexlify(os.urandom(8)).decode())
        self._own = _Feed(path, new=True)
        self.fd = io.open_append(path + DATA)
        fcntl.flock(self.fd, fcntl.LOCK_SH)
        self._adopted: list[_Feed] = []
        self._next_look = 0.0

    def copy(self) -> None:
        """Copy what this daemon's children printed, whole lines of it."""
        self._own.copy(self._put)

    def has_more(self) -> bool:
        """Tell whether there is something to copy, of this daemon's children or of those adopted."""
        return any(feed.waiting() for feed in (self._own, *self._adopted))

    def adopt(self) -> None:
        """Copy what the children of instances printed that have died."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + ADOPT_S
            self._adopted += self._orphans()
        for feed in [*self._adopted]:
            is_over = feed.is_over()  # asked before the last copy: nothing can come after it
            feed.copy(self._put, is_over=is_over)
            if is_over:
                self._adopted.remove(feed)
                feed.remove()

    def close(self) -> None:
        """Copy the last; files that children still hold stay for the next instance."""
        io.close(self.fd)
        for feed in (self._own, *self._adopted):
            is_over = feed.is_over()
            feed.copy(self._put, is_over=is_over)
            if is_over:
                feed.remove()
            else:
                feed.close()
        self._adopted = []

    def _orphans(self) -> Iterator[_Feed]:
        begin = f"{self._name}."
        for entry in os.listdir(homes.ave(self._home, "run")):
            if entry.startswith(begin) and entry.endswith(DATA):
                path = run_file(self._home, self._name, entry[len(begin) : -len(DATA)])
                try:
                    feed = _Feed(path)
                except OSError:
                    continue
                if feed.is_mine:
                    yield feed
                else:
                    feed.close()


class _Feed:
    """One file of children, on its way into the log.

    Attributes:
        is_mine: whether no other process copies it.
    """

    def __init__(self, path: str, *, new: bool = False) -> None:
        self._path = path
        self._at = os.open(path + AT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self.is_mine = is_free(self._at)
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if new else 0)
            self._data = os.open(path + DATA, flags, 0o600)
        except OSError:
            io.close(self._at)
            raise
        self._position = self._hole = self._noted()

    def _noted(self) -> int:
        """Return how far it is copied; where a power cut took the note, what the disk did not get back comes again."""
        try:
            return int(io.pread(self._at, 20, 0))
        except ValueError:
            pass
        try:
            begin = os.lseek(self._data, 0, os.SEEK_DATA)
        except OSError:  # there is none
            return os.fstat(self._data).st_size
        block = io.pread(self._data, BLOCK, begin)
        return begin + len(block) - len(block.lstrip(b"\0"))

    def waiting(self) -> int:
        """Return how many bytes are not copied."""
        return os.fstat(self._data).st_size - self._position

    def copy(self, put: Callable[[memoryview], None], *, is_over: bool = False) -> None:
        """Copy whole lines; all there is if `is_over`."""
        waiting = self.waiting()
        if not waiting:
            return
        if waiting > LAG_MAX and not is_over:
            self._leave_out(put)
        for _ in range(CHUNKS) if not is_over else count():
            data = io.pread(self._data, CHUNK, self._position)
            whole = data.rfind(b"\n") + 1
            if whole == 0 and (is_over or len(data) >= LINE_MAX):
                whole = len(data)
            if whole == 0:
                break
            put(memoryview(data)[:whole])
            io.reached("children-copied")
            self._move(whole)
        if self._position - self._hole >= HOLE:
            self._free()

    def _leave_out(self, put: Callable[[memoryview], None]) -> None:
        """Go on with the newer half of what waits."""
        lines = 0
        while os.fstat(self._data).st_size - self._position > LAG_MAX // 2:
            data = io.pread(self._data, CHUNK, self._position)
            lines += data.count(b"\n")
            self._move(data.rfind(b"\n") + 1 or len(data))
        put(memoryview(b"%d lines of children left out here: they print faster than they are copied\n" % lines))

    def _move(self, size: int) -> None:
        self._position += size
        os.pwrite(self._at, b"%020d" % self._position, 0)

    def is_over(self) -> bool:
        """Tell whether nobody holds the file for writing any more."""
        return is_free(self._data)

    def remove(self) -> None:
        """Remove a file that is over and copied."""
        for suffix in (DATA, AT):
            try:
                io.unlink(self._path + suffix)
            except FileNotFoundError:
                pass
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        io.close(self._data)
        io.close(self._at)

    def _free(self) -> None:
        # where a file system cannot do it, the file just stays as long as it is until its last child ends
        _fallocate(self._data, KEEP_SIZE | PUNCH_HOLE, ctypes.c_int64(0), ctypes.c_int64(self._position))
        self._hole = self._position


_fallocate = ctypes.CDLL(None).fallocate
