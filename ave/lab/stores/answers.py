"""What a server says, read neither for ever nor without end, however slowly it comes."""

from __future__ import annotations

import io
import ssl
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

__all__ = ["Answer", "EndlessError"]


class EndlessError(OSError):
    """An answer takes too long as a whole, or is too much; the message says which."""


class Answer(io.RawIOBase):
    """What comes from a connection from now on; `http.client` takes it for a socket.

    It can still be read when the connection is closed, as one is that http.client has to close behind an answer.

    Args:
        connection: its time-out is for each piece, and on top of `seconds` for the last one.
        seconds: for all of it, from now on.
        size: bytes of all of it.
    """

    def __init__(self, connection: socket.socket, seconds: float, size: int) -> None:
        self._file = connection.makefile("rb", 0)
        self._seconds, self._size = seconds, size
        self._deadline = time.monotonic() + self._seconds
        self._left = self._size

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Do what `http.client` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return True, as `io.RawIOBase` wants it."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, as `io.RawIOBase`; EndlessError if it takes too long, or is too much."""
        if time.monotonic() > self._deadline:
            raise EndlessError(f"an answer of more than {self._seconds:g} seconds")
        try:
            count = self._file.readinto(buffer) or 0
        except ssl.SSLZeroReturnError:
            return 0
        self._left -= count
        if self._left < 0:
            raise EndlessError(f"an answer of more than {self._size} bytes")
        return count

    def close(self) -> None:
        """Let go of the connection; whoever opened it closes it."""
        self._file.close()
        super().close()
