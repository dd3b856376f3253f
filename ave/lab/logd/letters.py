"""Dead letters: records a store can never take, kept with the reason until a person has mended the cause."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from ave import io
from ave.lab.logd import wire
from ave.lab.stores.base import Rejected
from ave.spool import frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DeadLetters"]


class DeadLetters:
    """The dead letters of one store: lines `{"reason", "time", "record"}` in the frames of the spool."""

    def __init__(self, spool: str, store: str) -> None:
        self.directory = os.path.join(spool, "dead", store)
        self.path = os.path.join(self.directory, "letters")

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Add letters; when this returns they survive a power cut. OSError: they may not be kept."""
        with self._lock():
            fd = io.open_append(self.path)
            try:
                # the LF ends a line that a crash cut here, which would swallow what comes behind it
                data = b"\n" + b"".join(map(_line, rejected))
                if io.write(fd, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
                io.sync(fd)
            finally:
                io.close(fd)
            io.sync_dir(self.directory)

    def read(self) -> list[Rejected]:
        """Return all letters, oldest first; one that a crash made come twice is there once."""
        try:
            data = io.read_file(self.path, os.path.getsize(self.path))
        except FileNotFoundError:
            return []
        letters: dict[str, Rejected] = {}
        for item in frames.scan(data, 0, final=True):
            if isinstance(item, frames.Line):
                letter = _Letter.decode(item.payload)
                record = wire.decode(bytes(letter.record))
                letters[record.id] = Rejected(record, letter.reason)
        return list(letters.values())

    @contextmanager
    def taken(self) -> Iterator[list[Rejected]]:
        """Give all letters; what is left in the list at the end stays dead, the rest is gone for good."""
        with self._lock():
            letters = self.read()
            before = len(letters)
            yield letters
            if len(letters) < before:
                io.replace_file(self.path, b"".join(map(_line, letters)))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep everybody else out: ave-logd adds while `ave spool retry` takes."""
        io.make_dirs(self.directory)
        fd = io.open_append(os.path.join(self.directory, "lock"))
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
    content = {"reason": letter.reason, "time": time.time_ns(), "record": letter.record.as_dict()}
    return frames.frame(msgspec.json.encode(content))
