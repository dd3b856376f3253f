"""The library `couchdb`, and the connection that it is given.

It takes answers as they come, be it for ever, understands no refusal that is long or in chunks, keeps the headers of
one to itself, and loads `pkg_resources` to learn its own version: that is mended here.
"""

from __future__ import annotations

import select
import ssl
import sys
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from ave.lab.stores.answers import Answer

if TYPE_CHECKING:
    from socket import socket

    from couchdb import http

    from ave.lab.stores.servers import Server

__all__ = ["HungUpError", "NoCache", "Pool", "http"]

#: Seconds for the whole of an answer, and bytes it has at most: a page of the largest records, the jobs of a month.
ANSWER_S = 120.0
ANSWER_BYTES = 256 * 1024 * 1024

#: Bytes read at once: all of most answers, which measurably takes less time than two pieces.
_PIECE_BYTES = 1024 * 1024


def _library() -> Any:
    """Import the library; without `pkg_resources`, which costs more than all the rest, it does not know its version."""
    modules: dict[str, Any] = sys.modules
    is_hidden = modules.setdefault("pkg_resources") is None
    try:
        return import_module("couchdb.http")
    finally:
        if is_hidden:
            del modules["pkg_resources"]


if not TYPE_CHECKING:
    http = _library()


class HungUpError(OSError):
    """The other side closed the connection when it was to speak TLS."""


class NoCache(http.Cache):  # type: ignore[misc]
    """Keeps nothing: an answer from a cache would prove nothing."""

    def put(self, url: str, response: Any) -> None:
        """Forget it."""


class _Whole(HTTPResponse):
    """An answer all of which has come, and that says it is short: such a one the library takes at once, and well."""

    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(cast("socket", Answer(sock, ANSWER_S, ANSWER_BYTES)), *args, **options)

    def begin(self) -> None:
        """Read all of it."""
        super().begin()
        # in pieces, for what is read at once is made room for at once, however much is announced
        pieces = []
        while piece := super().read(_PIECE_BYTES):
            pieces.append(piece)
        if self.length:
            raise IncompleteRead(b"", self.length)
        self._content = b"".join(pieces)
        del self.headers["Content-Length"]
        self.headers["Content-Length"] = "1" if pieces else "0"

    def read(self, amt: int | None = None) -> bytes:  # noqa: ARG002 - the base's
        """Return what was read: all of it, and each time, for the library reads a refusal's page twice."""
        return self._content


class _Plain(HTTPConnection):
    """Reads answers wholly, and remembers the last one."""

    response_class = _Whole
    answer: HTTPResponse | None = None

    def getresponse(self) -> HTTPResponse:
        """Return the answer to the request."""
        self.answer = super().getresponse()
        return self.answer


class _Protected(_Plain, HTTPSConnection):
    """The same, by TLS."""

    def connect(self) -> None:
        """Connect; HungUpError if the other side does not want to speak TLS."""
        try:
            super().connect()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError) as error:
            raise HungUpError(str(error)) from error


class Pool:
    """What the library calls so: the one connection there is, with our protection, for requests come one by one.

    Args:
        server: what is connected to.
        timeout_s: seconds that it may be silent.
    """

    def __init__(self, server: Server, timeout_s: float) -> None:
        self._connection = (
            _Plain(server.host, server.port, timeout=timeout_s)
            if server.tls is None
            else _Protected(server.host, server.port, timeout=timeout_s, context=server.tls)
        )

    @property
    def retry_after(self) -> str | None:
        """The header `Retry-After` of the answer to the last request, if it was answered and has one."""
        answer = self._connection.answer
        return None if answer is None else answer.getheader("Retry-After")

    def get(self, url: str) -> _Plain:  # noqa: ARG002 - the library's signature
        """Return the connection, opened anew if it is not open, or the server has closed it meanwhile."""
        connection = self._connection
        connection.answer = None
        # what a server says unasked is that it has gone, as after a restart
        if connection.sock is not None and _has_something(connection.sock):
            connection.close()
        if connection.sock is None:
            connection.connect()
        return connection

    def release(self, url: str, connection: _Plain) -> None:
        """Do nothing: the next request has the same one."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _has_something(sock: socket) -> bool:
    """Tell whether there is something to read, be it the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
