"""A TCP proxy on a free loopback port that does to a connection what networks do.

    with Proxy(server.port) as proxy:
        store = open_store(f"elasticsearch://127.0.0.1:{proxy.port}", ...)
        proxy.fault = Fault(reset_after=5000)

What is said by `fault` holds for all that comes through from then on, on old connections, too.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

#: Bytes carried at once.
PIECE = 16384

#: Seconds after which a pump looks whether it is to end.
LOOK_S = 0.2

CLIENT, SERVER = "client", "server"


@dataclass(frozen=True)
class Fault:
    """What happens to what comes through; counts are of bytes per connection.

    Attributes:
        to: towards which side bytes are counted and slow: `client` gets the answers, `server` the requests.
        latency_s: seconds that every piece is late, both ways.
        bytes_per_s: how fast it goes, one piece of a tenth of a second after the other.
        reset_after: after so many bytes both sides get a reset.
        cut_after: after so many bytes both connections are closed in order, as if that were all.
        half_close_after: after so many bytes nothing more is sent that way; the other way stays open.
        black_hole: nothing is carried, and nobody is told.
        refuse: new connections are reset at once.
    """

    to: str = CLIENT
    latency_s: float = 0.0
    bytes_per_s: int = 0
    reset_after: int | None = None
    cut_after: int | None = None
    half_close_after: int | None = None
    black_hole: bool = False
    refuse: bool = False

    @property
    def limit(self):
        """After how many bytes something happens, if anything."""
        limits = [self.reset_after, self.cut_after, self.half_close_after]
        return next((limit for limit in limits if limit is not None), None)


class Proxy:
    """Carries connections to a port of this machine.

    Attributes:
        port: where it listens.
        fault: what is wrong at the moment.
        times: how often it may still happen that a connection is ended by the fault; None for always.
        carried: bytes that went through, by the side they went to.
        connections: how many there were.
    """

    def __init__(self, to_port):
        self.fault = Fault()
        self.times = None
        self.carried = {CLIENT: 0, SERVER: 0}
        self.connections = 0
        self.happened = 0
        self._to_port = to_port
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._run(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._ending.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def heal(self):
        """Let all go well from now on."""
        self.fault, self.times = Fault(), None

    def _run(self, what, *args):
        thread = threading.Thread(target=what, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.fault.refuse:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._to_port), 5)
            except OSError:
                _reset(client)
                continue
            pair = _Pair(client, server)
            self._run(self._pump, pair, client, server, SERVER)
            self._run(self._pump, pair, server, client, CLIENT)

    def _pump(self, pair, source, target, side):
        count = 0
        while not self._ending.is_set() and not pair.is_over:
            data = _received(source)
            if data is None:
                continue
            while data is not None and self.fault.black_hole and not self._ending.wait(0.01):
                pass
            if not data:
                break
            fault = self.fault
            if fault.latency_s:
                self._ending.wait(fault.latency_s)
            ends = fault.to == side and fault.limit is not None and self.times != 0
            room = max(0, fault.limit - count) if ends else len(data)
            self._send(target, data[:room], fault.bytes_per_s if fault.to == side else 0)
            count += min(room, len(data))
            self.carried[side] += min(room, len(data))
            if ends and count >= fault.limit:
                self._end(pair, target, fault)
                return
        pair.finish(target)

    def _send(self, target, data, bytes_per_s):
        step = max(1, bytes_per_s // 10) if bytes_per_s else len(data) or 1
        for begin in range(0, len(data), step):
            with suppress(OSError):
                target.sendall(data[begin : begin + step])
            if bytes_per_s and self._ending.wait(0.1):
                return

    def _end(self, pair, target, fault):
        self.happened += 1
        if self.times is not None:
            self.times -= 1
        if fault.reset_after is not None:
            pair.reset()
        elif fault.cut_after is not None:
            pair.close()
        else:
            pair.finish(target)


class _Pair:
    """The two connections of a client."""

    def __init__(self, client, server):
        self._sockets = (client, server)
        self._finished = 0
        self._lock = threading.Lock()
        self.is_over = False
        for end in self._sockets:
            end.settimeout(LOOK_S)

    def finish(self, target):
        """Send nothing more to `target`; when both ways are finished, close."""
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            self._finished += 1
            if self._finished == 2:
                self.close()

    def close(self):
        self.is_over = True
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def reset(self):
        self.is_over = True
        for end in self._sockets:
            _reset(end)


def _received(source):
    """Return what came, b"" at the end, None if there was nothing yet."""
    try:
        return source.recv(PIECE)
    except TimeoutError:
        return None
    except OSError:
        return b""


def _reset(connection):
    with suppress(OSError):
        # with no time to linger, close sends a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
