"""The library `couchdb`, all use of which is here, and what its failures mean.

Of its faults, those that are mended here: it follows redirects with the password in its hand, waits for ever, answers
from a cache, asks a server that is away twice at once, keeps the headers of a refusal to itself, leaves connections
that failed to the garbage collector, and loads `pkg_resources` to learn its own version.
"""

from __future__ import annotations

import select
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores import later, servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from couchdb import http

__all__ = ["Couch", "Missing", "Refused"]


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

#: Seconds that the server may be silent. A view that was not asked for long is brought up to date meanwhile.
TIMEOUT_S = 60.0

_HEADERS = {"Content-Type": "application/json", "X-Couch-Full-Commit": "true"}

#: What comes out of the library when the answer was not that of a CouchDB, or was cut short.
_NONSENSE = (HTTPException, msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError)


class Refused(Exception):  # noqa: N818 - an answer
    """The request as a whole was refused for what is in it."""


class Missing(Exception):  # noqa: N818 - an answer
    """There is no such database or document."""


_UNSET: Any = object()


class Couch:
    """A server, by way of the library's `Resource`; whatever goes wrong closes the connection.

    Attributes:
        place: the URL for messages.
    """

    def __init__(self, server: servers.Server) -> None:
        self.place = server.place
        self._server = server
        self._pool: _Pool | None = None
        self._resource: Any = None

    def ask(
        self, method: str, *path: str, body: Any = None, missing: Any = _UNSET, there: Any = _UNSET, **options: Any
    ) -> Any:
        """Make one request and return the JSON of its answer.

        Args:
            method: of HTTP.
            path: its parts, not quoted yet; a design document's name is one part.
            body: JSON.
            missing: returned if there is no such thing.
            there: returned if it is there already.
            options: of the query; None and False are as if not given.

        Raises:
            StoreUnavailable, ConfigError: as `Store.put`.
            Missing: there is no such thing, and `missing` was not given.
            Refused: what was sent cannot be taken.
        """
        parts = [part for name in path for part in (name.split("/", 1) if name.startswith("_design/") else [name])]
        content = None if body is None else msgspec.json.encode(body)
        given = {name: value for name, value in options.items() if value not in {None, False}}
        try:
            resource = self._open()(*parts)
            call = {"GET": resource.get, "PUT": resource.put, "POST": resource.post}[method]
            status, _, answer = call(headers=_HEADERS, **({} if content is None else {"body": content}), **given)
            if status not in {200, 201}:
                raise _unexpected(self.place, status)
            return msgspec.json.decode(answer.read())
        except http.ResourceNotFound as error:
            if missing is _UNSET:
                raise Missing(self.place) from error
            return missing
        except (http.PreconditionFailed, http.ResourceConflict) as error:
            if there is _UNSET:
                raise StoreUnavailable(f"{self.place}: {_reason(error)}") from error
            return there
        except Exception as error:
            explained = self._explained(error)
            self.close()
            if explained is None:
                raise
            raise explained from error

    def rows(self, answer: Any, kind: type) -> list[Any]:
        """Return an answer that is a list of things of one kind; StoreUnavailable if it is not."""
        if isinstance(answer, list) and all(isinstance(row, kind) for row in answer):
            return answer
        raise StoreUnavailable(f"{self.place} answers what no CouchDB would: {str(answer)[:200]}")

    def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            self._pool.close_all()
        self._pool = self._resource = None

    def _open(self) -> Any:
        if self._resource is None:
            server = self._server
            # -1: the first redirect is one too many; with no delays, the library stumbles over the error it is to raise
            session = http.Session(timeout=TIMEOUT_S, max_redirects=-1, retryable_errors=())
            session.cache = _NoCache()
            session.connection_pool = self._pool = _Pool(server)
            host = f"[{server.host}]" if ":" in server.host else server.host
            scheme = "http" if server.tls is None else "https"
            self._resource = http.Resource(f"{scheme}://{host}:{server.port}", session)
            if server.user is not None:
                self._resource.credentials = (server.user, server.password or "")
        return self._resource

    def _explained(self, error: Exception) -> Exception | None:
        """Return what a failure means to whoever asked; None if nobody foresaw it."""
        for types, explain in _MEANINGS:
            if isinstance(error, types):
                meaning: Exception = explain(self.place, error)
                if isinstance(meaning, StoreUnavailable) and self._pool is not None:
                    meaning.details.update(later.asked(self._pool.retry_after))
                return meaning
        return None


def _refused(place: str, error: Exception) -> Exception:
    return ConfigError(f"{place} refuses us: {_reason(error)}; mend user or password, or what that user may do")


def _failed(place: str, error: Exception) -> Exception:
    status, reason = error.args[0]
    if status in {400, 413, 415}:
        return Refused(f"{place} refuses it: {status} {_text(reason)}")
    return StoreUnavailable(f"{place} answers {status}: {_text(reason)}")


def _unproved(place: str, error: Any) -> Exception:
    return ConfigError(f"{place} {servers.unproved(error)}")


def _insecure(place: str, error: Exception) -> Exception:
    if "WRONG_VERSION_NUMBER" in str(error):
        return ConfigError(f"{place} does not speak TLS; let it, or give insecure=true")
    return _away(place, error)


def _silent(place: str, _error: Exception) -> Exception:
    return StoreUnavailable(
        f"{place} has not answered in {TIMEOUT_S:g} seconds; if it is making a view, it goes on: ask again later"
    )


def _away(place: str, error: Exception) -> Exception:
    return StoreUnavailable(f"{place} cannot be reached: {error}")


def _strange(place: str, error: Exception) -> Exception:
    return StoreUnavailable(f"{place} answers what no CouchDB would: {type(error).__name__}: {error}")


def _unexpected(place: str, status: int) -> Exception:
    if status in {301, 302, 303, 307, 308}:
        return ConfigError(
            f"{place} redirects to another place, where nothing of ours goes; give that url if it is right"
        )
    # 202: taken, but not by as many nodes as it should be; the repeat will tell
    return StoreUnavailable(f"{place} answers {status}")


def _reason(error: Exception) -> str:
    return _text(error.args[0] if error.args else "")


def _text(reason: Any) -> str:
    parts = reason if isinstance(reason, tuple) else (reason,)
    shown = (part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in parts if part)
    return ": ".join(shown)[:500]


class _NoCache(http.Cache):  # type: ignore[misc]
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


class _Pool(http.ConnectionPool):  # type: ignore[misc]
    """Connections with our protection; `close_all` closes those, too, that the library has lost."""

    def __init__(self, server: servers.Server) -> None:
        super().__init__(TIMEOUT_S)
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
        connection.connect()
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


#: The first that fits tells what an error means.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], Callable[[str, Exception], Exception]], ...] = (
    ((http.Unauthorized, http.Forbidden), _refused),
    ((http.RedirectLimit,), lambda place, _error: _unexpected(place, 301)),
    ((http.ServerError,), _failed),
    ((ssl.SSLCertVerificationError,), _unproved),
    ((ssl.SSLError,), _insecure),
    ((TimeoutError,), _silent),
    ((OSError,), _away),
    # what was sent is bytes by then, so none of it is about a record
    ((*_NONSENSE, LookupError, RuntimeError), _strange),
)
