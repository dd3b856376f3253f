"""Compresses closed logs a little at a time, so that the thread that does it never keeps anything waiting."""

from __future__ import annotations

import gzip
import os
import time
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io
from ave.lab.daemon import logfiles

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["Compressor"]

#: Bytes that one step compresses: about ten milliseconds.
STEP = 256 * 1024

#: Seconds between two looks for a file, when there was none.
LOOK_S = 5.0

LEVEL = 6


class Compressor:
    """Compresses one file at a time, the oldest first; files that somebody holds are not closed and wait.

    Attributes:
        path: the file it is at; empty if none.
    """

    def __init__(self, home: str) -> None:
        self._home = home
        self.path = ""
        self._source: BinaryIO | None = None
        self._packed: gzip.GzipFile | None = None
        self._file: BinaryIO | None = None
        self._next_look = 0.0

    def step(self) -> None:
        """Compress a piece, or look for a file; an error leaves the file as it is."""
        try:
            if self._source is None:
                self._begin()
            else:
                self._go_on()
        except OSError:
            self.abandon()
            self._next_look = time.monotonic() + LOOK_S

    def abandon(self) -> None:
        """Leave the file that it is at uncompressed."""
        path = self.path
        self._close()
        if path:
            _remove(f"{path}.gz.new")

    def _begin(self) -> None:
        if time.monotonic() < self._next_look:
            return
        files, _ = logfiles.closed(self._home)
        self._clean({file.path for file in files})
        for file in sorted(files, key=lambda file: file.number):
            if not file.path.endswith(".gz") and self._open(file.path):
                return
        self._next_look = time.monotonic() + LOOK_S

    def _clean(self, paths: set[str]) -> None:
        """Remove what is left of a compression whose log is gone."""
        directory = homes.ave(self._home, "logs")
        for entry in os.listdir(directory) if os.path.isdir(directory) else ():
            path = os.path.join(directory, entry)
            if path.endswith(".gz.new") and path.removesuffix(".gz.new") not in paths:
                _remove(path)

    def _open(self, path: str) -> bool:
        """Begin with a file; tell whether it is closed, not in somebody's hand, and worth it."""
        source = open(path, "rb", opener=lambda path, _flags: io.open_read(path))  # noqa: SIM115 - over many steps
        if not logfiles.is_free(source.fileno()):
            source.close()
            return False
        self.path, self._source = path, source
        fd = os.open(f"{path}.gz.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        os.fchmod(fd, 0o640)
        self._file = open(fd, "wb")  # noqa: SIM115 - as above
        self._packed = gzip.GzipFile(os.path.basename(path), "wb", LEVEL, self._file)
        return True

    def _go_on(self) -> None:
        assert self._source and self._packed and self._file
        if data := self._source.read(STEP):
            self._packed.write(data)
            return
        self._packed.close()
        self._file.flush()
        info = os.fstat(self._source.fileno())
        os.utime(self._file.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
        io.sync(self._file.fileno())
        io.reached("log-packed")
        io.rename(f"{self.path}.gz.new", f"{self.path}.gz")
        io.reached("log-packed-renamed")
        io.unlink(self.path)
        self._close()

    def _close(self) -> None:
        for file in (self._packed, self._file, self._source):
            if file is not None:
                try:
                    file.close()
                except OSError:
                    pass  # the disk is full: what it holds is removed
        self.path, self._source, self._packed, self._file = "", None, None, None


def _remove(path: str) -> None:
    try:
        io.unlink(path)
    except FileNotFoundError:
        pass
