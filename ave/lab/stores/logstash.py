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
import socket
import ssl
from abc import abstractmethod
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores.base import Rejected, Store, unopened
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

#: Seconds for a connection, and for each step on it.
CONNECT_S = 5.0
STEP_S = 30.0

#: The words that ELK users know for results.
_OUTCOMES = {
    "passed": "success",
    "xpassed": "success",
    "failure": "failure",
    "error": "error",
    "skipped": "skipped",
    "xfailed": "skipped",
}


class _LogstashStore(Store):
    """What both inputs have in common."""

    answers = False
    _port: int

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self._readonly = readonly
        if url.startswith("logstash+https:") and "tls=" not in url:
            # said, so it holds for this machine, too
            url += ("&" if "?" in url else "?") + "tls=system"
        self._server = parse(url, self._port, quiet=readonly)

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Send a batch; see the module for what that is worth."""
        if self._readonly:
            raise UsageError(f"{self._server.place} was opened for reading only")
        lines, rejected = [], []
        for record in batch:
            try:
                lines.append(msgspec.json.encode(document(record)))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                rejected.append(Rejected(record, f"no JSON can hold it: {error}"))
        if lines:
            self._send(lines)
        return rejected

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
            plain.settimeout(STEP_S)
            if self._server.tls is None:
                return plain
            return self._server.tls.wrap_socket(plain, server_hostname=self._server.host)
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(f"{self._server.place} {unproved(error)}") from error
        except OSError as error:
            raise StoreUnavailable(f"{self._server.place}: {error}") from error
        except Exception as error:
            raise unopened(self._server.place, error) from error

    @abstractmethod
    def _send(self, lines: list[bytes]) -> None:
        """Send documents; StoreUnavailable unless the other side took them, as far as it tells."""


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

    def _send(self, lines: list[bytes]) -> None:
        with self._connect() as connection:
            try:
                connection.sendall(b"\n".join((*lines, b"")))
                _end(connection)
                while not isinstance(connection, ssl.SSLSocket) and connection.recv(4096):
                    pass
            except OSError as error:
                raise StoreUnavailable(f"{self._server.place}: {error}; the batch is sent again") from error


class LogstashHttpStore(_LogstashStore):
    """The HTTP input; a batch is taken if the answer is 2xx.

    Args:
        url: `logstash+http://[user:password@]host[:port][/path]`, or `logstash+https:`, and options as above.
        kinds, readonly: as above.

    Raises:
        ConfigError: the URL cannot be one.
    """

    _port = HTTP_PORT

    def _send(self, lines: list[bytes]) -> None:
        status, later = self._post(b"[" + b",".join(lines) + b"]")
        if status == 413 and len(lines) > 1:
            middle = len(lines) // 2
            self._send(lines[:middle])
            self._send(lines[middle:])
        elif 300 <= status < 400:
            raise ConfigError(f"{self._server.place} sends us elsewhere (status {status}), which is not followed")
        elif status in {401, 403, 404, 405, 415}:
            raise ConfigError(f"{self._server.place} does not take events: status {status}; mend url, user or password")
        elif not 200 <= status < 300:
            raise StoreUnavailable({"message": f"{self._server.place}: status {status}", **asked(later)})

    def _post(self, body: bytes) -> tuple[int, str | None]:
        """Return the status of the answer, all of which has come, and its `Retry-After`."""
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=STEP_S)
        connection.sock = self._connect()
        try:
            connection.request("POST", f"/{quote(self._server.path)}", body, self._headers())
            answer = connection.getresponse()
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
    event = {
        **record.as_dict(),
        "createTime": instant(record.time),
        "host": {"name": record.host},
    }
    del event["time"]
    if record.kind == "verdict":
        event.update(_verdict(record.body))
    return event


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
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()
        return
    connection.setblocking(False)
    try:
        if not connection.recv(4096):
            raise ConnectionResetError("it closed in the middle")
    except BlockingIOError:
        pass  # it is there, and has nothing to say to us
    connection.settimeout(STEP_S)
    connection.shutdown(socket.SHUT_WR)
