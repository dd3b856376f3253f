"""Connections: a socket, the frames that come out of it, and the session that seals and opens them.

`Connection` never waits; a loop asks it when its socket is ready. `BlockingConnection` waits, each time until a
deadline for the whole message, however its bytes come.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque

from ave.exceptions import ConnectionClosed, ConnectionRefused, ConnectionTimeout
from ave.network.address import shown, tune
from ave.network.frames import FRAME_LIMIT, HANDSHAKE_LIMIT, Frames, framed
from ave.network.handshake import OpenSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["RETRY_S", "BlockingConnection", "Connection", "remaining"]

#: Bytes that one read asks for; more while a long message is under way.
READ_SIZE = 64 * 1024
READ_SIZE_MAX = 1024 * 1024

#: Seconds between two tries to reach somebody who does not listen yet.
RETRY_S = 0.02

#: What a socket that does not wait raises when there is nothing to do; with TLS there are names of its own for it.
NOT_NOW: tuple[type[Exception], ...] = (BlockingIOError, InterruptedError)


class Connection:
    """One end of a connection, as a loop uses it.

    Attributes:
        socket: does not wait.
        peer: the other end's address, for people.
        frames: what came and was not taken.
        session: seals what goes out, opens what comes in.
    """

    def __init__(self, sock: socket.socket, limit: int = FRAME_LIMIT) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.peer = _peer_of(sock)
        self.frames = Frames(limit)
        self.session = OpenSession()
        self._outgoing: deque[memoryview] = deque()
        self._flags = 0
        self._tls_pending = getattr(sock, "pending", None)

    def fileno(self) -> int:
        """Return the number of the descriptor, -1 once closed."""
        return self.socket.fileno()

    def read(self) -> bool:
        """Take what the socket has; False if the peer closed or is gone."""
        size = READ_SIZE if self.frames.limit > HANDSHAKE_LIMIT else HANDSHAKE_LIMIT
        if self.frames.size and (missing := self.frames.missing()) > size:
            size = min(missing, READ_SIZE_MAX)
        try:
            data = self.socket.recv(size)
        except NOT_NOW:
            return True
        except OSError as error:
            return _is_tls_wait(error)
        if data:
            self.frames.feed(data)
        return bool(data)

    def next(self) -> memoryview | None:
        """Return the content of the next whole message; ProtocolError if the peer's bytes are none."""
        if not self.frames.size:
            return None
        message = self.frames.next()
        return None if message is None else self.session.open(message)

    def send(self, message: bytes) -> bool:
        """Queue a message and send what the socket takes at once; False if the peer is gone."""
        is_there = self._send(self.session.seal(message))
        self.session.prepare()
        return is_there

    def send_open(self, message: bytes) -> bool:
        """Do as `send`, without the session: for the messages of the handshake."""
        return self._send([framed(message)])

    def _send(self, parts: list[bytes]) -> bool:
        if not self._outgoing and len(parts) == 1:
            # nearly every reply goes whole, by this one call
            try:
                sent = self.socket.send(parts[0], self._flags)
            except NOT_NOW:
                sent = 0
            except OSError as error:
                if not _is_tls_wait(error):
                    return False
                sent = 0
            if sent < len(parts[0]):
                self._outgoing.append(memoryview(parts[0])[sent:])
            return True
        self._outgoing.extend(map(memoryview, parts))
        return self.flush()

    def flush(self) -> bool:
        """Send what is queued, as much as the socket takes; False if the peer is gone."""
        try:
            while self._outgoing:
                part = self._outgoing[0]
                sent = self.socket.send(part, self._flags)
                if sent < len(part):
                    self._outgoing[0] = part[sent:]
                else:
                    self._outgoing.popleft()
        except NOT_NOW:
            return True
        except OSError as error:
            return _is_tls_wait(error)
        return True

    def waiting(self) -> int:
        """Return how many bytes are queued because the peer does not take them."""
        return sum(map(len, self._outgoing)) if self._outgoing else 0

    def has_more(self) -> bool:
        """Tell whether TLS holds bytes that the socket will not announce any more."""
        return self._tls_pending is not None and self._tls_pending() > 0

    def shake_tls(self) -> str | None:
        """Go on with TLS's handshake; return "read" or "write" for what it waits for, None when it is done."""
        try:
            self.socket.do_handshake()  # type: ignore[attr-defined]
        except OSError as error:
            if not _is_tls_wait(error):
                raise
            return "write" if "Write" in type(error).__name__ else "read"
        return None

    def cork(self, *, is_corked: bool) -> None:
        """Keep back the end of what is sent from now on; `half_close` lets it go, and the peer gets both at once."""
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_corked)
        except OSError:
            pass  # no TCP, or gone

    def half_close(self) -> None:
        """Say that no more will come, so that the peer still reads what was sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Close. Safe to call twice."""
        self.socket.close()


class BlockingConnection(Connection):
    """One end of a connection that its user waits for. Every deadline is a time of `time.monotonic`, or None for ever.

    After any error the connection is of no more use: only part of a message may have passed.
    """

    def __init__(self, sock: socket.socket, limit: int = FRAME_LIMIT) -> None:
        super().__init__(sock, limit)
        if self._tls_pending is None:
            # reading may wait by itself, which spares a call to ask; TLS mixes reading and writing
            sock.setblocking(True)
            self._flags = socket.MSG_DONTWAIT
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)

    @classmethod
    def connect(cls, address: tuple[str, int], deadline: float | None, *, patient: bool) -> BlockingConnection:
        """Connect to a TCP address.

        Args:
            patient: try again until the deadline while nobody listens.

        Raises:
            ConnectionRefused: nobody listens, or there is no such host.
            ConnectionTimeout: there was no connection in time.
        """
        address = (address[0] or "127.0.0.1", address[1])
        while True:
            try:
                sock = _reach(address, remaining(deadline))
            except TimeoutError as error:
                raise ConnectionTimeout(f"no connection to {shown(address)} in time") from error
            except OSError as error:
                if not (patient and isinstance(error, ConnectionError)):
                    raise ConnectionRefused(f"no connection to {shown(address)}: {error}") from error
                if deadline is not None and time.monotonic() + RETRY_S >= deadline:
                    raise ConnectionTimeout(f"no connection to {shown(address)} in time: {error}") from error
                time.sleep(RETRY_S)
                continue
            tune(sock)
            return cls(sock)

    def put(self, message: bytes, deadline: float | None) -> None:
        """Send a whole message; ConnectionTimeout or ConnectionClosed if it cannot be sent whole."""
        is_there = self.send(message)
        if self._outgoing or not is_there:
            self._finish(deadline, is_there=is_there)

    def put_open(self, message: bytes, deadline: float | None) -> None:
        """Do as `put`, without the session: for the messages of the handshake."""
        self._finish(deadline, is_there=self.send_open(message))

    def _finish(self, deadline: float | None, *, is_there: bool) -> None:
        while is_there and self._outgoing:
            writable = select.poll()
            writable.register(self.socket, select.POLLOUT)
            left = _milliseconds(deadline)
            if left == 0 or not writable.poll(left):
                raise ConnectionTimeout(f"{self.peer} did not take the message in time")
            is_there = self.flush()
        if not is_there:
            raise ConnectionClosed(f"{self.peer} closed the connection")

    def get(self, deadline: float | None) -> memoryview:
        """Wait for the next whole message and return its content.

        Raises:
            ConnectionTimeout: it was not there in time.
            ConnectionClosed: the peer closed the connection.
            ProtocolError: what came is no message of this session.
        """
        may_wait = deadline is None and self._tls_pending is None
        while (message := self.next()) is None:
            if not may_wait:
                left = _milliseconds(deadline)
                if left == 0 or not (self.has_more() or self._readable.poll(left)):
                    raise ConnectionTimeout(f"{self.peer} did not answer in time")
            if not self.read():
                raise ConnectionClosed(f"{self.peer} closed the connection")
        return message

    def is_quiet(self) -> bool:
        """Tell whether nothing waits to be read, not even that the peer has closed the connection."""
        return not (self.frames.size or self.has_more() or self._readable.poll(0))

    def get_now(self) -> memoryview | None:
        """Return the next message if it is there already, None if not; otherwise as `get`."""
        message = self.next()
        if message is None and (self.has_more() or self._readable.poll(0)):
            if not self.read():
                raise ConnectionClosed(f"{self.peer} closed the connection")
            message = self.next()
        return message


def _reach(address: tuple[str, int], timeout: float | None) -> socket.socket:
    sock = socket.create_connection(address, timeout)
    if sock.getsockname() == sock.getpeername():
        # nobody listens, and of all local ports the kernel chose the one we wanted to reach
        sock.close()
        raise ConnectionRefusedError("nobody listens there")
    return sock


def remaining(deadline: float | None) -> float | None:
    """Return the seconds left, never 0, which a socket would take for: do not wait at all."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.000_001)


def _milliseconds(deadline: float | None) -> float | None:
    """Return the milliseconds left, 0 when the time is over."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.0) * 1000


def _peer_of(sock: socket.socket) -> str:
    try:
        return shown(sock.getpeername())
    except OSError:
        return "a peer that is gone"


def _is_tls_wait(error: OSError) -> bool:
    """Tell whether TLS only waits; its errors cannot be named without loading TLS."""
    names: Any = {kind.__name__ for kind in type(error).__mro__}
    return not names.isdisjoint({"SSLWantReadError", "SSLWantWriteError"})
