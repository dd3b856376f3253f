"""Logstash: by its TCP input as lines of JSON, best effort, or by its HTTP input, which answers.

The protocol of the TCP input has no acknowledgement. A batch goes over a connection of its own, we say that it ends and
wait until Logstash closes, too: it has read everything then. What it has read and not passed on when it dies is lost:
a batch at most of each shipper, besides what its own queue holds. So it is never a required store, nor the only one of
a kind. The HTTP input says 2xx when the events are in its queue.

Neither can be asked for what it has, and a batch that is sent again is there twice, unless what is behind Logstash
knows records by their `id`, as the pipeline in `etc/logstash.conf` does.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from abc import abstractmethod
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores.answers import Answer
from ave.lab.stores.base import UNSTORABLE, Rejected, Store, unopened
from ave.lab.stores.instants import instant
from ave.lab.stores.later import asked
from ave.lab.stores.servers import parse, unproved
from ave.record import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ave.record import Query, Record

__all__ = ["HTTP_PORT", "TCP_PORT", "LogstashHttpStore", "LogstashTcpStore", "document"]

#: Where the pipeline in `etc/logstash.conf` listens: for lines of JSON, and for HTTP.
TCP_PORT = 3334
HTTP_PORT = 8080

#: Seconds for a connection, for each step on it, and for the whole of an answer.
CONNECT_S = 5.0
STEP_S = 30.0
ANSWER_S = 60.0

#: Bytes an answer has at most: Logstash says "ok", what stands before it perhaps a page of HTML.
ANSWER_BYTES = 1024 * 1024

#: Statuses that may be the fault of one record of a batch.
_REFUSED = frozenset((400, 413, 422))

#: What Logstash takes for a path of fields, and what it writes for that in keys where it is told to (`percent`).
_BRACKETS = str.maketrans({"[": "%5B", "]": "%5D"})

#: The words that ELK users know for results.
_OUTCOMES = {
    "passed": "success",
    "xpassed": "success",
    "failure": "failure",
    "error": "error",
    "skipped": "skipped",
    "xfailed": "skipped",
}


class _Event(NamedTuple):
    record: Record
    text: bytes


class _LogstashStore(Store):
    """What both inputs have in common."""

    answers = False
    _port: int

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self._readonly = readonly
        if url.startswith("logstash+https:") and "tls=" not in url.partition("?")[2]:
            # said, so it holds for this machine, too
            url += ("&" if "?" in url else "?") + "tls=system"
        self._server = parse(url, self._port, quiet=readonly)

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Send a batch; see the module for what that is worth."""
        if self._readonly:
            raise UsageError(f"{self._server.place} was opened for reading only")
        events, rejected = [], []
        for record in batch:
            try:
                events.append(_Event(record, msgspec.json.encode(document(record))))
            except UNSTORABLE as error:
                rejected.append(Rejected(record, f"no JSON can hold it: {error}"))
        return rejected + self._send(events) if events else rejected

    def find(self, query: Query) -> Iterator[Record]:  # noqa: ARG002 - the base's
        """Raise UsageError: what it passed on is to be asked where it went."""
        raise UsageError(f"{self._server.place} cannot be asked; ask what is behind it")

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:  # noqa: ARG002 - the base's
        """Raise UsageError, as `find`."""
        raise UsageError(f"{self._server.place} cannot be asked; ask what is behind it")

    def probe(self) -> None:
        """Connect, see `Store.probe`."""
        self._connect().close()

    def close(self) -> None:
        """Do nothing: no connection outlives its batch."""

    def _connect(self) -> socket.socket:
        try:
            plain = socket.create_connection((self._server.host, self._server.port), CONNECT_S)
        except OSError as error:
            raise StoreUnavailable(f"{self._server.place}: {error}") from error
        except Exception as error:
            raise unopened(self._server.place, error) from error
        plain.settimeout(STEP_S)
        return plain if self._server.tls is None else self._sealed(plain, self._server.tls)

    def _sealed(self, plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        try:
            return tls.wrap_socket(plain, server_hostname=self._server.host)
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(f"{self._server.place} {unproved(error)}") from error
        except (ssl.SSLError, ConnectionResetError) as error:
            cure = "let that input speak TLS, or, if all may be read on the way, add ?insecure=true and no tls="
            raise ConfigError(f"{self._server.place} and we agree on no TLS: {error}; {cure}") from error
        except OSError as error:
            # an input for lines without TLS waits for the end of the first one
            raise StoreUnavailable(f"{self._server.place}: {error}; perhaps that input has no TLS") from error
        except Exception as error:
            raise unopened(self._server.place, error) from error

    @abstractmethod
    def _send(self, events: list[_Event]) -> list[Rejected]:
        """Send events and return those refused; StoreUnavailable unless the others were taken, as far as is told."""


class LogstashTcpStore(_LogstashStore):
    """The TCP input, best effort.

    Args:
        url: `logstash://host[:port]`, and behind a `?` any of `tls=` and `insecure=true`.
        kinds: what is sent there.
        readonly: refuse to send.

    Raises:
        ConfigError: the URL cannot be one.
    """

    _port = TCP_PORT

    def _send(self, events: list[_Event]) -> list[Rejected]:
        with self._connect() as connection:
            try:
                connection.sendall(b"".join(event.text + b"\n" for event in events))
                _end(connection)
                with Answer(connection, ANSWER_S, ANSWER_BYTES) as answer:
                    while answer.read(4096):
                        pass
            except OSError as error:
                raise StoreUnavailable(f"{self._server.place}: {error}; the batch is sent again") from error
        return []


class LogstashHttpStore(_LogstashStore):
    """The HTTP input; a batch is taken if the answer is 2xx.

    Args:
        url: `logstash+http://[user:password@]host[:port][/path]`, or `logstash+https:`, and options as above.
        kinds, readonly: as above.

    Raises:
        ConfigError: the URL cannot be one.
    """

    _port = HTTP_PORT

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        super().__init__(url, kinds, readonly=readonly)
        if url.startswith("logstash+http:") and self._server.tls is not None and "tls=" not in url.partition("?")[2]:
            cure = "use https, or add ?insecure=true"
            raise ConfigError(f"{self._server.place} would be sent in clear text to another machine; {cure}")

    def _send(self, events: list[_Event]) -> list[Rejected]:
        status, later = self._post(b"[" + b",".join(event.text for event in events) + b"]")
        if status not in _REFUSED:
            self._judge(status, later)
            return []
        if not events:
            raise ConfigError(f"{self._server.place} refuses a batch of nothing, too (status {status}); mend url")
        if len(events) == 1:
            # is it the record? what is no Logstash refuses whatever comes
            self._send([])
            return [Rejected(events[0].record, f"{self._server.place} refuses it: status {status}")]
        middle = len(events) // 2
        return self._send(events[:middle]) + self._send(events[middle:])

    def _judge(self, status: int, later: str | None) -> None:
        """Return if a batch was taken; raise what there is to do otherwise."""
        if 300 <= status < 400:
            raise ConfigError(f"{self._server.place} sends us elsewhere (status {status}), which is not followed")
        if status >= 500 or status in {408, 425, 429}:
            raise StoreUnavailable({"message": f"{self._server.place}: status {status}", **asked(later)})
        if not 200 <= status < 300:
            raise ConfigError(f"{self._server.place} does not take events: status {status}; mend url, user or password")

    def _post(self, body: bytes) -> tuple[int, str | None]:
        """Return the status of the answer, all of which has come, and its `Retry-After`."""
        connection = http.client.HTTPConnection(self._server.host, self._server.port)
        connection.sock = self._connect()
        try:
            # who answers before all has come may hang up, too: the answer is there nevertheless
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", f"/{quote(self._server.path)}", body, self._headers())
            bounded = cast("socket.socket", Answer(connection.sock, ANSWER_S, ANSWER_BYTES))
            with http.client.HTTPResponse(bounded, method="POST") as answer:
                answer.begin()
                while answer.read(65536):
                    pass
                return answer.status, answer.getheader("Retry-After")
        except (OSError, http.client.HTTPException) as error:
            why = f"{type(error).__name__}: {error}"
            raise StoreUnavailable(f"{self._server.place}: {why}; the batch is sent again") from error
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._server.user is not None:
            secret = f"{self._server.user}:{self._server.password or ''}".encode()
            headers["Authorization"] = f"Basic {b64encode(secret).decode()}"
        return headers


def document(record: Record) -> dict[str, Any]:
    """Return the event of a record: its fields, a verdict's also in the words of ELK users."""
    body = _readable(record.body)
    event = {
        **record.as_dict(),
        "createTime": instant(record.time),
        "host": {"name": record.host},
        "body": body,
    }
    del event["time"]
    if record.kind == "verdict":
        event.update(_verdict(body))
    return event


def _readable(value: Any) -> Any:
    """Return JSON without brackets in keys: what comes with one, be it a whole batch, is no event to Logstash."""
    if isinstance(value, dict):
        return {str(key).translate(_BRACKETS): _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value


def _verdict(body: dict[str, Any]) -> dict[str, Any]:
    words = {
        "name": body.get("name"),
        "classname": body.get("suite"),
        "outcome": _OUTCOMES.get(str(body.get("result")), body.get("result")),
        "run_time": body.get("duration"),
    }
    if body.get("result") in {"failure", "error"}:
        words["failure_message"] = body.get("trace") or body.get("message")
    return {name: value for name, value in words.items() if value is not None}


def _end(connection: socket.socket) -> None:
    """Say that nothing more comes; OSError if the other side has gone already, and so cannot have read it all."""
    _wait_for_room(connection)
    connection.setblocking(False)
    # unless it is there, and has nothing to say to us
    with suppress(BlockingIOError, ssl.SSLWantReadError):
        if not connection.recv(4096):
            raise ConnectionResetError("it closed in the middle")
    if isinstance(connection, ssl.SSLSocket):
        # since version 11, Java does not answer that until it reads the end of the connection
        with suppress(ssl.SSLWantReadError):
            connection.unwrap()
    connection.settimeout(STEP_S)
    # not that of SSLSocket, which forgets that what is said to us is sealed
    socket.socket.shutdown(connection, socket.SHUT_WR)


def _wait_for_room(connection: socket.socket) -> None:
    """Wait until a few bytes can be sent at once."""
    writable = select.poll()
    writable.register(connection, select.POLLOUT)
    if not writable.poll(STEP_S * 1000):
        raise TimeoutError("it reads nothing")
