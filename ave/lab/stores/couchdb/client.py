"""A CouchDB by way of the library `couchdb`, and what its failures mean.

Of the library's faults, those that are mended here: it follows redirects with the password in its hand, waits for ever,
answers from a cache, and asks a server that is away twice at once.
"""

from __future__ import annotations

import ssl
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException
from typing import TYPE_CHECKING, Any

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores import later, servers
from ave.lab.stores.answers import EndlessError
from ave.lab.stores.couchdb.connections import HungUpError, NoCache, Pool, http

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Couch", "Missing", "Refused", "TooLarge"]

#: Seconds that the server may be silent. A view that was not asked for long is brought up to date meanwhile.
TIMEOUT_S = 60.0

_HEADERS = {"Content-Type": "application/json", "X-Couch-Full-Commit": "true"}

#: What to do about a server that does not speak TLS.
_TLS_CURE = "give the port where it does (CouchDB: 6984, see its [ssl]), or insecure=true"

#: What comes out of the library when the answer was not that of a CouchDB, or was cut short.
_NONSENSE = (HTTPException, msgspec.DecodeError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

#: Answers of those before a server, or of a busy one, which pass.
_PASSING = frozenset({408, 425, 429})

#: What of the texts of OpenSSL says that the other side does not speak TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "record layer failure")

#: How TLS says that it did not understand: an alert.
_ALERT = "\x15\x03"


class Refused(ConfigError):  # noqa: N818 - an answer
    """A CouchDB refuses the request as a whole for what is in it."""


class TooLarge(Refused):
    """Something else refuses it for its size: whatever stands before the CouchDB."""


class Missing(StoreUnavailable):
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
        self._pool: Pool | None = None
        self._resource: Any = None

    def ask(
        self,
        method: str,
        *path: str,
        body: Any = None,
        missing: Any = _UNSET,
        there: Any = _UNSET,
        kind: type = dict,
        **options: Any,
    ) -> Any:
        """Make one request and return the JSON of its answer.

        Args:
            method: of HTTP.
            path: its parts, not quoted yet; a design document's name is one part.
            body: JSON.
            missing: returned if there is no such thing.
            there: returned if it is there already.
            kind: of the answer; StoreUnavailable if it is of another.
            options: of the query; None and False are as if not given.

        Raises:
            StoreUnavailable, ConfigError: as `Store.put`.
            Missing: there is no such thing, and `missing` was not given.
            Refused: what was sent cannot be taken; TooLarge: nor brought there.
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
            return self._checked(msgspec.json.decode(answer.read()), kind)
        except http.ResourceNotFound as error:
            if not _told(error.args[0]):
                raise _stranger(self.place, 404) from error
            if missing is _UNSET:
                raise Missing(f"{self.place} has no {'/'.join(path)}: {_reason(error)}") from error
            return missing
        except (http.PreconditionFailed, http.ResourceConflict) as error:
            if there is _UNSET:
                raise StoreUnavailable(f"{self.place}: {_reason(error)}") from error
            return there
        except Exception as error:
            explained = self._explained(error, is_view="_view" in path)
            self.close()
            if explained is None:
                raise
            raise explained from error

    def rows(self, answer: Any, kind: type) -> list[Any]:
        """Return an answer that is a list of things of one kind; StoreUnavailable if it is not."""
        if all(isinstance(row, kind) for row in self._checked(answer, list)):
            return list(answer)
        raise _nonsense(self.place, answer)

    def _checked(self, answer: Any, kind: type) -> Any:
        if isinstance(answer, kind):
            return answer
        raise _nonsense(self.place, answer)

    def close(self) -> None:
        """Close the connection."""
        if self._pool is not None:
            self._pool.close()
        self._pool = self._resource = None

    def _open(self) -> Any:
        if self._resource is None:
            server = self._server
            # -1: the first redirect is one too many; with no delays, the library stumbles over the error it is to raise
            session = http.Session(timeout=TIMEOUT_S, max_redirects=-1, retryable_errors=())
            session.cache = NoCache()
            session.connection_pool = self._pool = Pool(server, TIMEOUT_S)
            host = f"[{server.host}]" if ":" in server.host else server.host
            scheme = "http" if server.tls is None else "https"
            self._resource = http.Resource(f"{scheme}://{host}:{server.port}", session)
            if server.user is not None:
                self._resource.credentials = (server.user, server.password or "")
        return self._resource

    def _explained(self, error: Exception, *, is_view: bool) -> Exception | None:
        """Return what a failure means to whoever asked; None if nobody foresaw it."""
        if is_view and isinstance(error, TimeoutError):
            return StoreUnavailable(f"{_silent(self.place, error)}; if it is making the view, it goes on: ask later")
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
    if status in {400, 413} and _told(reason):
        return Refused(f"{place} refuses it: {status} {_text(reason)}")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge(servers.too_narrow(place, "413"))
    if status == HTTPStatus.BAD_REQUEST and not reason:
        return StoreUnavailable(f"{place} answers 400 without a word, as to a request that is cut off on its way")
    if 400 <= status < 500 and status not in _PASSING and not _told(reason):
        return _stranger(place, status)
    return StoreUnavailable(f"{place} answers {status}: {_text(reason)}")


def _stranger(place: str, status: int) -> Exception:
    return ConfigError(f"{place} answers {status}, but not as a CouchDB does; see host, port and tls")


def _unproved(place: str, error: Any) -> Exception:
    return ConfigError(f"{place} {servers.unproved(error)}")


def _insecure(place: str, error: Exception) -> Exception:
    if any(text in str(error) for text in _NO_TLS):
        return ConfigError(f"{place} does not speak TLS; {_TLS_CURE}")
    return _away(place, error)


def _hung_up(place: str, error: Exception) -> Exception:
    # as one does, too, that is just going down: no reason to wait for a person
    return StoreUnavailable(f"{place} hung up when it was to speak TLS: {error}; if it never does, {_TLS_CURE}")


def _silent(place: str, _error: Exception) -> Exception:
    return StoreUnavailable(f"{place} has not answered in {TIMEOUT_S:g} seconds")


def _away(place: str, error: Exception) -> Exception:
    return StoreUnavailable(f"{place} cannot be reached: {error}")


def _nonsense(place: str, answer: Any) -> Exception:
    return StoreUnavailable(f"{place} answers what no CouchDB would: {str(answer)[:200]}")


def _strange(place: str, error: Exception) -> Exception:
    if isinstance(error, BadStatusLine) and str(error).startswith(_ALERT):
        return ConfigError(f"{place} speaks TLS: give tls=system, or tls= with the certificates to trust")
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


def _told(reason: Any) -> bool:
    """Tell whether a refusal is a CouchDB's, which says `error` and `reason` in JSON; the library has read those."""
    return isinstance(reason, tuple) and all(isinstance(part, str) for part in reason)


def _text(reason: Any) -> str:
    parts = reason if isinstance(reason, tuple) else (reason,)
    shown = (part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in parts if part)
    return ": ".join(shown)[:500]


#: The first that fits tells what an error means.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], Callable[[str, Exception], Exception]], ...] = (
    ((http.Unauthorized, http.Forbidden), _refused),
    ((http.RedirectLimit,), lambda place, _error: _unexpected(place, 301)),
    ((http.ServerError,), _failed),
    ((HungUpError,), _hung_up),
    ((ssl.SSLCertVerificationError,), _unproved),
    ((ssl.SSLError,), _insecure),
    ((TimeoutError,), _silent),
    ((EndlessError,), lambda place, error: StoreUnavailable(f"{place} gives {error}")),
    ((OSError,), _away),
    # what was sent is bytes by then, so none of it is about a record
    (_NONSENSE, _strange),
)
