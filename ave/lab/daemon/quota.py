"""Keeps the whole of `.ave/logs` below a quota: compresses what is closed, and removes the oldest of it, counted."""

from __future__ import annotations

import gzip
import os
import time
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io
from ave.lab.daemon import logfiles
from ave.lab.daemon.compress import Compressor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from ave.lab.daemon.logfiles import Closed

__all__ = ["Quota"]

#: The default: a tenth of the file system, and no more than this.
LIMIT = 1 << 30
DISK_SHARE = 10

#: Seconds between two looks at a directory in which this process writes little.
LOOK_S = 1.0

#: Bytes that make it look at once.
LOOK_SIZE = 64 * 1024

#: Seconds after which a file over the quota that somebody holds is emptied, as it cannot be removed.
HELD_S = 0.5

#: Seconds between two lines about what was removed.
NEWS_S = 1.0


class Quota:
    """One per service; they share the directory and take turns by its lock.

    Attributes:
        limit: bytes that everything in the directory may have together.
    """

    def __init__(self, home: str, limit: int | None) -> None:
        self._home = home
        self.limit = limit or min(LIMIT, _disk_size(home) // DISK_SHARE)
        self._compressor = Compressor(home)
        self._total = 0
        self._files = self._bytes = self._lines = 0
        self._told_files = 0
        self._grown = 0
        self._pace = 0
        self._next_look = self._next_news = 0.0
        self._held: dict[str, float] = {}

    def check(self, grown: int) -> None:
        """Do what is due.

        Args:
            grown: bytes by which this process's log grew since the last time.
        """
        self._grown += grown
        # a flood is met before it is over the quota: there may be as much again until the next look
        self._pace = max(grown, self._pace * 3 // 4)
        if self._grown < LOOK_SIZE and time.monotonic() < self._next_look:
            self._compressor.step()
            return
        self._next_look = time.monotonic() + LOOK_S
        self._grown = 0
        try:
            with logfiles.locked(self._home) as mine:
                if mine:
                    self._collect()
        except OSError:
            pass  # the directory is away or cannot be written to: tried again

    def gauges(self) -> dict[str, float]:
        """Return the bytes in the directory, and what was removed since the start."""
        return {"log_bytes": self._total, "log_bytes_removed": self._bytes, "log_lines_removed": self._lines}

    def is_compressing(self) -> bool:
        """Tell whether `check` has more to do at once."""
        return bool(self._compressor.path)

    def news(self, *, is_last: bool = False) -> str:
        """Return a sentence about what was removed since the last, if it is time for one."""
        files = self._files - self._told_files
        if not files or (time.monotonic() < self._next_news and not is_last):
            return ""
        self._next_news = time.monotonic() + NEWS_S
        self._told_files = self._files
        return (
            f"removed {files} old logs to stay within the quota of {self.limit} bytes; "
            f"since the start {self._files} logs, {self._lines} lines, {self._bytes} bytes"
        )

    def _collect(self) -> None:
        files, self._total = logfiles.closed(self._home)
        goal = self.limit - min(2 * self._pace, self.limit // 2)
        for file in _oldest_first(files):
            if self._total <= goal:
                break
            self._total -= self._remove(file)
        self._held = {path: since for path, since in self._held.items() if os.path.exists(path)}

    def _remove(self, file: Closed) -> int:
        """Remove a file; return how many bytes that freed."""
        if self._compressor.path == file.path:
            self._compressor.abandon()
        try:
            with open(file.path, "rb", opener=lambda path, _flags: io.open_read(path)) as opened:
                is_free = logfiles.is_free(opened.fileno())
                if not is_free and time.monotonic() - self._held.setdefault(file.path, time.monotonic()) < HELD_S:
                    return 0
                lines = _lines(opened, packed=file.path.endswith(".gz"))
            if is_free:
                io.unlink(file.path)
            else:
                os.truncate(file.path, 0)
        except FileNotFoundError:
            return 0
        io.reached("log-removed")
        logfiles.note_removed(self._home, file, lines)
        self._files += 1
        self._bytes += file.size
        self._lines += lines
        return file.size


def _oldest_first(files: list[Closed]) -> Iterator[Closed]:
    """Give files in the order in which they may go: the oldest of the service whose oldest is the oldest."""
    waiting: dict[str, list[Closed]] = {}
    for file in sorted(files, key=lambda file: file.number, reverse=True):
        waiting.setdefault(file.service, []).append(file)
    while waiting:
        service = min(waiting, key=lambda service: waiting[service][-1].mtime_ns)
        yield waiting[service].pop()
        if not waiting[service]:
            del waiting[service]


def _lines(file: BinaryIO, *, packed: bool) -> int:
    lines = 0
    try:
        source = gzip.GzipFile(fileobj=file) if packed else file
        while data := source.read(1 << 20):
            lines += data.count(b"\n")
    except (OSError, EOFError):
        pass  # damaged: what can be read is counted
    return lines


def _disk_size(home: str) -> int:
    """Return the size of the file system that holds the logs."""
    path = homes.ave(home, "logs")
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    disk = os.statvfs(path)
    return disk.f_blocks * disk.f_frsize
