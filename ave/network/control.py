"""`Control`, the server: a class whose marked methods other processes call."""

from __future__ import annotations

import hmac
import os
import socket as sockets
import time

from ave.exceptions import AveException, Exit, UsageError
from ave.network import methods, tls, tracing
from ave.network.address import shown, warn
from ave.network.codec import encode
from ave.network.dispatch import Refusal, perform, read_blob, read_request, write_reply
from ave.network.frames import FRAME_LIMIT
from ave.network.handshake import MAC_SIZE
from ave.network.loop import Loop
from ave.network.process import Process
from ave.network.records import flush, keep
from ave.network.server import Peer, Server, Service
from ave.spool import WAITING_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from typing import Any

    from ave import context

__all__ = ["Control"]

#: Connections that wait to be accepted.
BACKLOG = 1024

#: What the process exits with when an exit message ended it.
EXITED = 1


class Control(Process):
    """A service. A class that extends it marks what may be called; nothing else of it can be reached.

    One event loop serves all clients; a method runs alone, and everybody waits for it.

    Args:
        port: to listen on, from 1; of no meaning if there is a `socket`.
        authkey: what clients have to know for methods marked with `auth`; None is known by nobody.
        socket: one that listens already. `start` closes it in the parent.
        alt_keys: account -> key, for methods marked with `preauth`; an account whose key is None lets nobody in.
        interval: seconds of quiet after which `idle` is called.
        home: as of `ave.home.find`.
        proc_name: what `ps` and the handshake show.
        logging: whether `log` writes anything.
        legacy: speak the original's format besides, whose authentication (HMAC-MD5, and nothing after it) is weak;
            told on stderr at every start.
        host: the address to listen on. Beyond this machine `tls` and a key are needed.
        tls: see `ave.network.tls.server_context`.
        insecure: do without; told on stderr at every start.
        limit: bytes a message may have, in either direction.

    Raises:
        UsageError: an argument is not what it has to be.

    Example:
        >>> class Oven(Control):
        ...     @Control.rpc
        ...     def heat(self, degrees):
        ...         return degrees
        >>> oven = Oven(find_free_port(), authkey="secret")
        >>> oven.start(synchronize=True)
        >>> RemoteControl(("", oven.port), "secret").heat(180)
        180
    """

    rpc = staticmethod(methods.rpc)
    auth = staticmethod(methods.auth)
    preauth = staticmethod(methods.preauth)

    #: Whether calls may be traced at all: not those that bring the traces.
    _is_traced = True

    _methods: dict[str, methods.Method | None]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._methods = methods.method_table(cls)

    def __init__(
        self,
        port: int | None,
        authkey: str | bytes | None = None,
        socket: sockets.socket | None = None,
        alt_keys: dict[str, Any] | None = None,
        interval: float | None = None,
        home: str | None = None,
        proc_name: str | None = None,
        logging: bool = False,
        legacy: bool = False,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | tuple[str, str] | None = None,
        insecure: bool = False,
        limit: int = FRAME_LIMIT,
    ) -> None:
        super().__init__(None, (), logging, proc_name)
        if socket is None and (type(port) is not int or port < 1):
            raise UsageError("client port must be integer >= 1")
        if not (interval is None or type(interval) in {int, float}):
            raise UsageError("the interval (seconds) must be expressed as an integer, a float, or None")
        self.socket = socket
        self.host, self.port = (host, port) if socket is None else _address_of(socket)
        self.home = home
        self.rejecting = False
        self.current_connection: Any = None
        self._keys = _Keys(authkey, alt_keys)
        self._interval = interval
        self._legacy = legacy
        self._tls = tls
        self._insecure = insecure
        self._limit = limit
        self._farewell: Any = None
        self._is_exiting = False
        self._loop: Loop | None = None
        self._server: Server | None = None
        self._joins: list[Process] = []
        self._check_exposure(quiet=True)

    # The life of the process

    def start(self, *, synchronize: bool = False) -> None:
        """Serve in a process of its own.

        Args:
            synchronize: return only when clients can connect.

        Raises:
            AveException: `synchronize`, and it could not start, for example because the port is taken.
        """
        super().start(synchronize=synchronize)
        if self.socket is not None:
            self.socket.close()

    def kept_fds(self) -> Iterable[int]:
        """Keep the listening socket that was given."""
        return () if self.socket is None else (self.socket.fileno(),)

    def initialize(self) -> None:
        """Begin to listen. Classes that extend this call it, too."""
        self._check_exposure(quiet=False)
        if self._legacy:
            warn(f"{self.proc_name}: the original's weak authentication is on, for clients of port {self.port}")
        _raise_limit()
        loop = Loop(self._interval, lambda: self._guarded(self.idle))
        service = _Service(self, loop)
        server = Server(
            loop,
            service,
            self.proc_name,
            limit=self._limit,
            legacy=self._legacy,
            tls=tls.server_context(self._tls),
        )
        server.listen(self.socket or _listen(self.host, self.port))
        if (signalled := self.signalled) is not None:
            loop.watch(signalled, lambda _mask: os.read(signalled, 4096))
        self._loop, self._server = loop, server

    def run(self) -> int:
        """Serve until `stop` or `shutdown`; in this very process and thread, unless `start` calls it.

        Returns:
            1 after an exit message, else 0; the process exits with it.
        """
        if self._server is None:
            self.initialize()
        assert self._server is not None
        assert self._loop is not None
        server, loop = self._server, self._loop
        try:
            loop.run()
            self._say_farewell(server)
        finally:
            server.close()
            loop.close()
            self._server = self._loop = None
        return EXITED if self._is_exiting else 0

    def stop(self) -> None:
        """End `run` after the current request; from any thread, and from signal handlers."""
        if self._loop is not None:
            self._loop.stop()

    def shutdown(self, details: AveException | str | None = None) -> None:
        """End `run`, telling every client why.

        Args:
            details: the exception that clients get, or its message; an `Exit` if it is text. None tells nothing.
        """
        if details is not None:
            self._farewell, self._is_exiting = details, True
        self.stop()

    def stop_listening(self) -> None:
        """Accept no more clients and close the listening socket; those that are here are served on."""
        listener = self.hand_over()
        if listener is not None:
            listener.close()

    def hand_over(self) -> sockets.socket | None:
        """Accept no more clients and return the listening socket, open: another `Control` takes it as `socket`.

        Clients that connect meanwhile wait in it; none is refused.
        """
        return None if self._server is None else self._server.stop_listening()

    def take_over(self, listener: sockets.socket) -> None:
        """Accept clients from a listening socket: of another `Control`, or the one that `hand_over` returned."""
        self._require_server().listen(listener)

    def retire(self, seconds: float) -> None:
        """Accept no more clients, and end `run` when those that are here have gone.

        Each is let go after its next reply, and connects anew for its next call; who calls no more is waited for.

        Args:
            seconds: after which `run` ends in any case.
        """
        self.stop_listening()
        if self._loop is not None:
            self._loop.patience(seconds, lambda _: self.stop()).begin(self)
            self._require_server().retire(self.stop)

    def call_soon(self, act: Callable[[], object]) -> None:
        """Have `run` call something between two requests; from any thread. What is above is not for other threads.

        Raises:
            UsageError: it is not serving.
        """
        if self._loop is None:
            raise UsageError(f"{self.proc_name} is not serving")
        self._loop.call(act)

    # For classes that extend this

    def idle(self) -> None:
        """Be called when nothing happened for `interval` seconds."""

    def new_connection(self, connection: Any, authkey: str | bytes | None) -> None:
        """Be called when a client's handshake is over; `authkey` is the key it proved to know, or None."""

    def lost_connection(self, connection: Any, authkey: str | bytes | None) -> None:
        """Be called when such a client, or a connection of `add_connection`, is gone, whoever ended it."""

    def joined_process(self, pid: int, status: int) -> None:
        """Be called when a process of `join_later` has ended, with its status as `os.waitpid` gives it."""

    def add_connection(self, connection: Any, authkey: str | bytes | None) -> None:
        """Serve a connection that is open already, without a handshake.

        Args:
            connection: a connected socket, or something with such a `socket`. Its peer is a `RemoteControl` that was
                given a `sock`. It is what the hooks are called with.
            authkey: what the peer may call; as if it had proved to know this key.
        """
        server = self._require_server()
        sock = connection if isinstance(connection, sockets.socket) else connection.socket
        server.add(sock, _as_bytes(authkey)).handle = connection

    def remove_connection(self, connection: Any) -> None:
        """Serve a connection no more, without closing it or calling `lost_connection`."""
        server = self._require_server()
        for peer in [peer for peer in server.peers if peer.handle is connection]:
            server.remove(peer)

    def join_later(self, process: Process) -> None:
        """Wait for a process beside everything else; `joined_process` is called when it has ended."""
        if not isinstance(process, Process):
            raise UsageError(f"not a Process or subclass: {process}")
        if process is self:
            raise UsageError("cannot defer join of self")
        loop = self._loop
        if loop is None or process.pid is None:
            raise UsageError(f"{self.proc_name} is not serving, or {process.proc_name} was not started")
        descriptor = os.pidfd_open(process.pid)

        def joined(_mask: int) -> None:
            loop.forget(descriptor)
            os.close(descriptor)
            self._guarded(lambda: self.joined_process(process.pid or 0, process.join()))

        loop.watch(descriptor, joined)

    # Inside

    def _leave(self) -> None:
        if self._loop is not None:
            self._loop.stop()

    def _check_exposure(self, *, quiet: bool) -> None:
        has_key = bool(self._keys.known)
        if quiet and self._insecure:
            return
        tls.check_exposure(
            str(self.host), self.proc_name, has_tls=self._tls is not None, insecure=self._insecure, has_key=has_key
        )

    def _require_server(self) -> Server:
        if self._server is None:
            raise UsageError(f"{self.proc_name} is not serving")
        return self._server

    def _say_farewell(self, server: Server) -> None:
        if self._farewell is None:
            return
        details = self._farewell
        if not isinstance(details, AveException):
            details = Exit(str(details))
        message = encode({"exception": details.details})
        for peer in [*server.peers]:
            server.tell(peer, message)
            peer.half_close()

    def _guarded(self, hook: Any, *args: Any) -> None:
        """Call what a class may have put in the place of a hook; its errors are its own."""
        try:
            hook(*args)
        except Exception as error:  # noqa: BLE001 - a service must survive its hooks
            self.log(f"ERROR: {type(error).__name__} in a hook: {error}")

    def _why_not(self, method: methods.Method, key: bytes | None) -> str:
        """Return why a caller with this key may not call a method; nothing if it may."""
        if method.auth and not key:
            return "not authenticated to make this call"
        if method.accounts is not None and not self._keys.belongs_to(key, method.accounts):
            return "not authorized to make this call"
        return ""


Control._methods = {}


class _Keys:
    """The keys of a service, as they were given and as bytes."""

    def __init__(self, authkey: Any, alt_keys: Any) -> None:
        if not isinstance(authkey, (str, bytes, type(None))):
            raise UsageError("authkey must be a regular string or None")
        if not isinstance(alt_keys, (dict, type(None))):
            raise UsageError("alt_keys must be a dictionary")
        if not all(isinstance(key, (str, bytes, type(None))) for key in (alt_keys or {}).values()):
            raise UsageError("alt keys must be regular strings or None")
        self._accounts = {name: _as_bytes(key) for name, key in (alt_keys or {}).items()}
        given = [key for key in (authkey, *(alt_keys or {}).values()) if key is not None]
        self.known: list[bytes] = [*dict.fromkeys(key for key in map(_as_bytes, given) if key is not None)]
        self.given: dict[bytes | None, Any] = {_as_bytes(key): key for key in reversed(given)}

    def belongs_to(self, key: bytes | None, accounts: Iterable[str]) -> bool:
        """Tell whether a key that was proved is that of one of the accounts."""
        wanted = [self._accounts.get(name) for name in accounts]
        return key is not None and any(one is not None and hmac.compare_digest(one, key) for one in wanted)


class _Service(Service):
    """What the server knows of a `Control`: it keeps the two apart, so that a class may name its methods freely."""

    def __init__(self, control: Control, loop: Loop) -> None:
        self._control = control
        self._waiting = loop.patience(WAITING_S, lambda _: flush(control.home))
        self._share = tracing.rate(control.home) if control._is_traced else 0.0
        # what `answered` needs for a record of the call
        self._served: Any = None

    def keys(self) -> list[bytes]:
        return self._control._keys.known

    def welcomes(self) -> bool:
        return not self._control.rejecting

    def established(self, peer: Peer) -> None:
        control = self._control
        control._guarded(control.new_connection, peer.handle, control._keys.given.get(peer.key))

    def lost(self, peer: Peer) -> None:
        control = self._control
        control._guarded(control.lost_connection, peer.handle, control._keys.given.get(peer.key, peer.key))

    def answer(self, peer: Peer, message: memoryview) -> bytes | None:
        control = self._control
        control.current_connection = peer.handle
        started = time.perf_counter() if self._share else 0.0
        number, blob, request = None, None, None
        try:
            blob = read_blob(message)
            number = blob.get("id") if peer.session.numbered and isinstance(blob, dict) else None
            request = read_request(blob, control, control._methods, control._why_not, peer.key)
            reply = perform(request)
        except Refusal as refusal:
            reply = {"exception": str(refusal)}
        except Exit as end:
            reply = {"exception": {key: value for key, value in end.details.items() if key != "trace"}}
            control.shutdown(end)
        wants_reply = request is None or request.wants_reply
        if number is not None:
            reply["id"] = number
        written = write_reply(reply, control._limit - MAC_SIZE) if wants_reply else b""
        if request is not None and self._share:
            duration = time.perf_counter() - started
            self._served = duration, peer.peer, request.context, message, blob, written, reply
        return written if wants_reply else None

    def answered(self) -> None:
        if self._served is not None:
            served, self._served = self._served, None
            self._trace(*served)

    def _trace(
        self,
        duration: float,
        peer: str,
        call: context.Call | None,
        message: memoryview,
        blob: dict[str, Any],
        written: bytes,
        reply: dict[str, Any],
    ) -> None:
        """Keep a record of a call that was served, if this one is traced."""
        span = (call.span if call else "") or tracing.new_span()
        if tracing.sampled(span, self._share):
            outcome = "ok" if "result" in reply else "exception"
            said = reply if written else {}
            guid = call.guid if call else ""
            keep(guid, self._control.home, "server", peer, span, "", duration, outcome, message, blob, written, said)
            if not self._waiting.due:
                self._waiting.begin(self)


def _as_bytes(key: str | bytes | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key


def _address_of(listener: sockets.socket) -> tuple[str, int | None]:
    address = listener.getsockname()
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else ("", None)


def _raise_limit() -> None:
    """Allow as many descriptors as the system lets us have, for thousands of clients."""
    import resource  # noqa: PLC0415 - for servers alone

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int | None) -> sockets.socket:
    assert port is not None
    try:
        family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
        return sockets.create_server((host or "127.0.0.1", port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AveException(f"cannot listen on {shown((host, port))}: {error}") from error
