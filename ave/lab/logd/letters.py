"""Dead letters: records a store can never take, kept with the reason until a person has mended the cause."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from ave import io
from ave.lab.logd import wire
from ave.lab.stores.base import Rejected
from ave.spool import frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DeadLetters"]

#: Characters of a reason that are kept.
REASON_MAX = 4000

#: Bytes of a letter, more than a record and a reason can have together; and those that are read at once.
LETTER_MAX = 2 * frames.LINE_MAX
PAGE = 2 * LETTER_MAX


class DeadLetters:
    """The dead letters of one store: lines `{"reason", "time", "record"}` in the frames of the spool.

    They are in the file `letters`; those that are offered to the store again, in `taken` beside it. Which of them it
    took is known when `taken` is gone; until then all of them are still there.
    """

    def __init__(self, spool: str, store: str) -> None:
        self.directory = os.path.join(spool, "dead", store)
        self.path = os.path.join(self.directory, "letters")
        self._taken = os.path.join(self.directory, "taken")

    def are_there(self) -> bool:
        """Tell whether there may be any, without reading them."""
        return os.path.exists(self.path) or os.path.exists(self._taken)

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Add letters; when this returns they survive a power cut. OSError: they may not be kept."""
        with self._lock("lock"):
            # the LF ends a line that a crash cut here, which would swallow what comes behind it
            _append(self.path, [b"\n" + b"".join(map(_line, rejected))])
            io.sync_dir(self.directory)

    def read(self) -> Iterator[Rejected]:
        """Give all letters, oldest first; one that a crash made come twice is given once. A page of them is held."""
        if not os.path.isdir(self.directory):
            return
        with ExitStack() as files:
            fds = []
            with self._lock("lock"):  # or some might be missed that are taken, or put back, at this moment
                for path in (self._taken, self.path):
                    with suppress(FileNotFoundError):
                        fds.append(files.enter_context(_opened(path)))
            yield from _letters(fds)

    @contextmanager
    def taken(self) -> Iterator[Iterator[Rejected]]:
        """Give all letters to be offered again; in the end they are gone for good, but for those that were added anew.

        After an error, or a crash, all of them are still there. Whoever else wants to take them waits.
        """
        with self._lock("taking"):
            if not self.are_there():
                yield iter(())
                return
            with self._lock("lock"):
                self._take()
            with _opened(self._taken) as fd:
                yield _letters([fd])
            io.unlink(self._taken)
            io.sync_dir(self.directory)

    def _take(self) -> None:
        """Bring all letters into `taken`, where some may be of one who did not come to the end."""
        if not os.path.exists(self._taken):
            io.rename(self.path, self._taken)
        elif os.path.exists(self.path):
            with _opened(self.path) as fd:
                _append(self._taken, chain([b"\n"], _pages(fd)))
            io.unlink(self.path)
        io.sync_dir(self.directory)

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Keep everybody else out: ave-logd adds while `ave spool retry` takes."""
        io.make_dirs(self.directory)
        fd = io.open_append(os.path.join(self.directory, name))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            io.close(fd)


class _Letter(msgspec.Struct):
    reason: str
    time: int
    record: msgspec.Raw

    @classmethod
    def decode(cls, payload: bytes) -> _Letter:
        return msgspec.json.decode(payload, type=cls)


def _line(letter: Rejected) -> bytes:
    # whatever a store says, what it says it of must be readable again
    reason = letter.reason[:REASON_MAX].encode(errors="backslashreplace").decode()
    content = {"reason": reason, "time": time.time_ns(), "record": letter.record.as_dict()}
    return frames.frame(msgspec.json.encode(content))


def _letters(fds: Iterable[int]) -> Iterator[Rejected]:
    """Give the letters in open files, each once."""
    ids: set[str] = set()
    for fd in fds:
        offset, is_more = 0, True
        while is_more:
            data = io.pread(fd, PAGE, offset)
            is_more = len(data) == PAGE
            for item in frames.scan(data, offset, final=not is_more, line_max=LETTER_MAX):
                offset = item.end
                if isinstance(item, frames.Line):
                    letter = _Letter.decode(item.payload)
                    record = wire.decode(bytes(letter.record))
                    if record.id not in ids:
                        ids.add(record.id)
                        yield Rejected(record, letter.reason)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = io.open_read(path)
    try:
        yield fd
    finally:
        io.close(fd)


def _pages(fd: int) -> Iterator[bytes]:
    offset = 0
    while data := io.pread(fd, PAGE, offset):
        offset += len(data)
        yield data


def _append(path: str, parts: Iterable[bytes]) -> None:
    """Append to a file, for good; OSError if there is no room."""
    fd = io.open_append(path)
    try:
        for data in parts:
            if io.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        io.sync(fd)
    finally:
        io.close(fd)
