"""`RemoteControl`, the client: every attribute is a call to a `Control`, and every call that fails is kept."""

from __future__ import annotations

import os
import time
from _thread import RLock
from functools import partial

from ave import context, panotti
from ave.exceptions import (
    AveException,
    ConnectionClosed,
    ConnectionTimeout,
    FormatError,
    ProtocolError,
    UsageError,
    exception_factory,
)
from ave.network import tracing
from ave.network.address import shown
from ave.network.codec import decode, encode
from ave.network.dial import Dialler
from ave.network.frames import FRAME_LIMIT
from ave.network.records import keep
from ave.network.tls import check_exposure
from ave.tls import client_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from typing import Any

    from ave.network.connection import BlockingConnection

__all__ = ["RemoteControl", "disconnect"]

#: Seconds in which an asynchronous call must be on its way.
ASYNC_S = 1.0


class RemoteControl:
    """A `Control` in another process. Any attribute whose name does not begin with `_` is one of its methods.

    Connects at the first call, and again when the service was restarted between two calls; a call that was sent is
    never sent again. A call with `__async__=True` returns None at once, whatever comes of it. Threads may share one
    (their calls follow one another), and a fork's child makes a connection of its own.

    A call that fails is kept in Panotti before it raises, under the run of the call that is being served, else under
    the run this process had when the object was made.

    Args:
        address: (host, port); an empty host is this machine.
        authkey: what the service wants to know; without it, or with a wrong one, only methods for everybody answer.
        timeout: seconds for one call, connecting included; None or 0 waits for ever.
        optimist: keep trying to connect until the time is over, instead of failing when nobody listens.
        sock: a connected socket that the service was given by `Control.add_connection`.
        profile: sent with each call; nothing reads it.
        home: as of `ave.home.find`.
        legacy: speak the original's format with a service that knows no better; told on stderr.
        tls: see `ave.tls.client_context`; needed to reach another machine.
        insecure: do without; told on stderr.
        require_auth: raise AuthError when the service does not let us in with `authkey`. Without this, whoever
            listens in the place of a service that is down can let us call it, though it never learns the key.
        limit: bytes a message may have.
        silent: keep nothing of these calls, neither failures nor traces: for who ships what is kept.

    Raises (each call):
        AveException: the method raised one, or something that has no class here; `details["type"]` tells what.
        Timeout, Exit, AuthError, RunError, Restarting, Terminated, Offline, Overflow: the method raised it.
        ConnectionRefused, ConnectionTimeout, ConnectionClosed, ProtocolError: there is no such connection (any more).
        UsageError: the arguments are not JSON.
    """

    def __init__(
        self,
        address: tuple[str, int],
        authkey: str | bytes | None = None,
        timeout: float | None = None,
        optimist: bool = True,
        sock: socket.socket | None = None,
        profile: Any = None,
        home: str | None = None,
        legacy: bool = False,
        *,
        tls: ssl.SSLContext | str | bool | None = None,
        insecure: bool = False,
        require_auth: bool = False,
        limit: int = FRAME_LIMIT,
        silent: bool = False,
    ) -> None:
        self._dialler = Dialler(
            address,
            authkey,
            optimist=optimist,
            legacy=legacy,
            tls=client_context(tls),
            require_auth=require_auth,
            limit=limit,
        )
        if sock is None:
            check_exposure(address[0], f"RemoteControl to {shown(address)}", has_tls=bool(tls), insecure=insecure)
        self._peer = shown(address)
        self._timeout = timeout or None
        self._profile = profile
        self._home = home
        self._guid = "" if silent else _job_guid()
        self._trace = tracing.new_trace() if self._guid or "TRACEPARENT" in os.environ else ""
        self._share: float | None = 0.0 if silent else None
        self._is_silent = silent
        self._number = 0
        self._connection: BlockingConnection | None = None
        self._is_given = sock is not None
        if sock is not None:
            self._connection = self._dialler.take(sock)
        self._own()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        return partial(self._call, name)

    def __enter__(self) -> RemoteControl:
        return self

    def __exit__(self, *_error: object) -> None:
        disconnect(self)

    def __del__(self) -> None:
        connection = self.__dict__.get("_connection")
        if connection is not None:
            connection.close()

    def __repr__(self) -> str:
        return f"RemoteControl({self._peer})"

    def _own(self) -> None:
        """Begin to belong to this process."""
        self._pid = os.getpid()
        self._lock = RLock()
        self._is_busy = False

    def _call(self, method: str, /, *vargs: Any, **kwargs: Any) -> Any:
        if self._pid != os.getpid():
            self._leave_parent()
        wants_reply = not kwargs.pop("__async__", False)
        with self._lock:
            if self._is_busy:
                raise UsageError(f"{self!r} is in the middle of a call, which a signal handler interrupted")
            self._is_busy = True
            try:
                return self._exchange(_Call(self, method, vargs, kwargs, wants_reply))
            finally:
                self._is_busy = False

    def _exchange(self, call: _Call) -> Any:
        try:
            reply = self._send_and_wait(call)
        except AveException as error:
            self._drop()
            call.fail(error)
            raise
        except BaseException:
            # interrupted half-way: the reply, when it comes, must not answer the next call
            self._drop()
            raise
        if reply is None:
            call.end("ok")
            return None
        if "exception" in reply:
            raised = exception_factory(reply["exception"])
            call.fail(raised, reply["exception"])
            raise raised
        result = reply.get("result")
        call.end("ok", reply)
        return result

    def _send_and_wait(self, call: _Call) -> dict[str, Any] | None:
        seconds = self._timeout if call.wants_reply else ASYNC_S
        deadline = None if seconds is None else time.monotonic() + seconds
        message = call.write()
        connection = self._send(message, deadline)
        self._number += 1
        if not call.wants_reply:
            return None
        while True:
            received = connection.get(deadline)
            reply = _read_reply(received)
            # the reply to an earlier, asynchronous request that was refused
            if not (connection.session.numbered and reply.get("id", call.number) != call.number):
                break
        call.received = received
        if connection.session.numbered and "id" not in reply:
            # about the connection, not about the call: the service ends, or did not understand
            self._drop()
        return reply

    def _send(self, message: bytes, deadline: float | None) -> BlockingConnection:
        """Send a request on a connection that works; it is sent again only if it cannot have arrived whole."""
        connection = self._connection
        if connection is not None and (connection.is_quiet() or self._is_alive(connection, deadline)):
            try:
                connection.put(message, deadline)
            except ConnectionClosed:
                self._drop()
            else:
                return connection
        if self._is_given:
            raise ConnectionClosed(f"{self._peer} closed the connection")
        self._connection = connection = self._dialler.dial(deadline)
        connection.put(message, deadline)
        return connection

    def _is_alive(self, connection: BlockingConnection, deadline: float | None) -> bool:
        """Tell whether a connection lasted until this call; read what came meanwhile: nobody waits for it."""
        try:
            while (message := connection.get_now()) is not None:
                if deadline is not None and time.monotonic() > deadline:
                    raise ConnectionTimeout(f"{self._peer} does not stop talking")
                reply = _read_reply(message)
                is_answer = "id" in reply if connection.session.numbered else isinstance(reply.get("exception"), str)
                if not is_answer:
                    break
            else:
                return True
        except (ConnectionClosed, ProtocolError):
            pass
        self._drop()
        return False

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _leave_parent(self) -> None:
        """After a fork: the connection is the parent's, and so is the lock, perhaps held for ever."""
        if not self._is_given:
            self._drop()
        self._own()


def disconnect(remote: RemoteControl) -> None:
    """Close the connection of a `RemoteControl`; the next call makes another. Leaving its `with` block does so, too."""
    remote._drop()


class _Call:
    """One call on its way: what is sent, and what is kept of it."""

    __slots__ = (
        *("number", "received", "wants_reply"),
        *("_blob", "_guid", "_is_traced", "_message", "_parent", "_remote", "_span", "_started"),
    )

    def __init__(
        self, remote: RemoteControl, method: str, vargs: tuple[Any, ...], kwargs: dict[str, Any], wants_reply: bool
    ) -> None:
        self.wants_reply = wants_reply
        self.number = remote._number
        self.received: bytes | memoryview = b""
        self._remote = remote
        self._message = b""
        self._guid = self._span = self._parent = ""
        self._is_traced = False
        self._blob: dict[str, Any] = {
            "method": method,
            "params": {"vargs": vargs, "kwargs": kwargs},
            "id": self.number,
        }
        # what a service takes for granted is not said: that would be a tenth of a short request
        if remote._profile is not None:
            self._blob["resource"] = remote._profile
        if not wants_reply:
            self._blob["async"] = True
        current = None if remote._is_silent else context.current()
        if remote._share is None:
            remote._share = tracing.rate(remote._home)
        if current or remote._guid or remote._share:
            self._join(current, remote._share)
        self._started = time.perf_counter() if self._is_traced else 0.0

    def _join(self, current: context.Call | None, share: float) -> None:
        """Make the call part of a run and of a trace, those of the call that is being served if there is one."""
        remote, blob = self._remote, self._blob
        if not remote._trace:
            remote._trace = tracing.new_trace()
        trace, self._guid, self._span = remote._trace, remote._guid, tracing.new_span()
        if current:
            trace, self._guid, self._parent = current.trace or trace, current.guid or self._guid, current.span
        self._is_traced = bool(share) and tracing.sampled(self._span, share)
        if self._guid:
            blob["guid"] = self._guid
        blob["traceparent"] = f"00-{trace}-{self._span}-{'01' if self._is_traced else '00'}"

    def write(self) -> bytes:
        """Return the request; UsageError if the arguments are not JSON."""
        try:
            self._message = encode(self._blob)
        except FormatError as error:
            raise UsageError(f"the arguments of {self._blob['method']}: {error}") from error
        return self._message

    def fail(self, error: AveException, details: Any = None) -> None:
        """Keep that the call failed: `details` is what the service said, if it was the service."""
        self.end("timeout" if isinstance(error, ConnectionTimeout) else "exception")
        if self._guid and self.wants_reply:
            body = {"exception": details or error.details, "method": self._blob["method"], "peer": self._remote._peer}
            if self._span:
                body["span"] = self._span
            panotti.keep("exception", self._guid, body, source="rpc", home=self._remote._home)

    def end(self, outcome: str, reply: dict[str, Any] | None = None) -> None:
        """Keep a trace of the call, if this one is traced; `reply` is that which has its result."""
        if not self._is_traced:
            return
        duration = time.perf_counter() - self._started
        keep(
            self._guid,
            self._remote._home,
            "client",
            self._remote._peer,
            self._span,
            self._parent,
            duration,
            outcome,
            self._message,
            self._blob,
            self.received,
            reply or {},
        )


def _job_guid() -> str:
    """Return the run this process works for, empty if none."""
    # vcsjob is on this line of the table too, and a job has it loaded already
    from vcsjob.variables import get_guid  # noqa: PLC0415

    try:
        return get_guid()
    except UsageError:
        return ""


def _read_reply(message: memoryview) -> dict[str, Any]:
    try:
        reply = decode(message)
    except FormatError as error:
        raise ProtocolError(f"the reply is not JSON: {error}") from error
    if not isinstance(reply, dict) or not ("result" in reply or "exception" in reply):
        raise ProtocolError("the reply has neither a result nor an exception")
    return reply
