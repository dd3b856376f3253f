"""The library `couchdb`, and the connections that it is given.

It leaves connections that failed to the garbage collector, keeps the headers of a refusal to itself, and loads
`pkg_resources` to learn its own version: that is mended here.
"""

from __future__ import annotations

import select
import ssl
import sys
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socket import socket

    from couchdb import http

    from ave.lab.stores.servers import Server

__all__ = ["HungUpError", "NoCache", "Pool", "http"]


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


class _Plain(HTTPConnection):
    """Remembers its last answer, which may hold the socket when the connection has let go of it."""

    answer: HTTPResponse | None = None

    def getresponse(self) -> HTTPResponse:
        """Return the answer to the request."""
        self.answer = super().getresponse()
        return self.answer


class _Protected(HTTPSConnection):
    """The same, by TLS."""

    answer: HTTPResponse | None = None

    def getresponse(self) -> HTTPResponse:
        """Return the answer to the request."""
        self.answer = super().getresponse()
        return self.answer


class Pool(http.ConnectionPool):  # type: ignore[misc]
    """Connections with our protection; `close_all` closes those, too, that the library has lost.

    Args:
        server: what is connected to.
        timeout_s: seconds that it may be silent.
    """

    def __init__(self, server: Server, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self._server = server
        self._idle: list[_Plain | _Protected] = []
        self._made: list[_Plain | _Protected] = []
        self._given: _Plain | _Protected | None = None

    @property
    def retry_after(self) -> str | None:
        """The header `Retry-After` of the answer to the last request, if it was answered and has one."""
        if self._given is None or self._given.answer is None:
            return None
        return self._given.answer.getheader("Retry-After")

    def get(self, url: str) -> _Plain | _Protected:  # noqa: ARG002 - the library's signature
        """Return a connection that nobody uses; one that the server has closed meanwhile opens anew when used."""
        self._given = None
        self._given = self._kept() if self._idle else self._opened()
        return self._given

    def _kept(self) -> _Plain | _Protected:
        connection = self._idle.pop()
        connection.answer = None
        # what a server says unasked is that it has gone, as after a restart
        if connection.sock is not None and _has_something(connection.sock):
            connection.close()
        return connection

    def _opened(self) -> _Plain | _Protected:
        server = self._server
        connection: _Plain | _Protected
        if server.tls is None:
            connection = _Plain(server.host, server.port, timeout=self.timeout)
        else:
            connection = _Protected(server.host, server.port, timeout=self.timeout, context=server.tls)
        self._made.append(connection)
        try:
            connection.connect()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError) as error:
            if server.tls is None:
                raise
            raise HungUpError(str(error)) from error
        return connection

    def release(self, url: str, connection: _Plain | _Protected) -> None:  # noqa: ARG002 - as above
        """Take a connection back."""
        self._idle.append(connection)

    def close_all(self) -> None:
        """Close every connection that was made."""
        for connection in self._made:
            if connection.answer is not None:
                connection.answer.close()
            connection.close()
        self._made, self._idle = [], []


def _has_something(sock: socket) -> bool:
    """Tell whether there is something to read, be it the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
