"""A TCP proxy on a free loopback port that does to a connection what networks do.

    with Proxy(server.port) as proxy:
        store = open_store(f"elasticsearch://127.0.0.1:{proxy.port}", ...)
        proxy.fault = Fault(reset_after=5000)

What is said by `fault` holds for all that comes through from then on, on old connections, too.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

#: Bytes carried at once.
PIECE = 16384

#: Seconds after which a connection looks whether it is to end, and that a side may take to read a piece.
LOOK_S = 0.2
SEND_S = 10.0

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
        to_port: of the server.
        fault: what is wrong at the moment.
        times: how often it may still happen that a connection is ended by the fault; None for always.
        carried: bytes that went through, by the side they went to.
        came: when each connection came, in seconds of the monotonic clock.
        asked: when a client began to speak, at first or after an answer.
        happened: how often the fault ended something.
    """

    def __init__(self, to_port):
        self.fault = Fault()
        self.times = None
        self.carried = {CLIENT: 0, SERVER: 0}
        self.came = []
        self.asked = []
        self.happened = 0
        self.to_port = to_port
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._run(self._accept)

    def __enter__(self):
        return self

    def end(self):
        """Carry nothing from now on."""
        self._ending.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __exit__(self, *_error):
        self.end()
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
            self.came.append(time.monotonic())
            if self.fault.refuse:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.to_port), 5)
            except OSError:
                _reset(client)
                continue
            self._run(self._carry, client, server)

    def _carry(self, client, server):
        """Carry one connection, both ways in one thread: no socket is closed under another one's feet."""
        ways = {client: _Way(server, SERVER), server: _Way(client, CLIENT)}
        for end in ways:
            end.settimeout(SEND_S)
        with client, server:
            goes_on = True
            while goes_on and ways and not self._ending.is_set():
                if self.fault.black_hole:
                    self._ending.wait(0.01)
                    continue
                ready, _, _ = select.select(list(ways), [], [], LOOK_S)
                for source in ready:
                    if not self.fault.black_hole and goes_on:
                        goes_on = self._pass_on(source, ways)

    def _pass_on(self, source, ways):
        """Carry what came from one side; tell whether there still is a connection."""
        way = ways[source]
        try:
            data = source.recv(PIECE)
        except OSError:
            _reset(way.target)
            return False
        if not data:
            _finish(way.target)
            del ways[source]
            return True
        self._note(way, ways)
        fault = self.fault
        if fault.latency_s:
            self._ending.wait(fault.latency_s)
        ends = fault.to == way.side and fault.limit is not None and self.times != 0
        data = data[: max(0, fault.limit - way.count)] if ends else data
        way.count += len(data)
        self.carried[way.side] += len(data)
        self._send(way.target, data, fault.bytes_per_s if fault.to == way.side else 0)
        if not ends or way.count < fault.limit:
            return True
        self.happened += 1
        if self.times is not None:
            self.times -= 1
        if fault.reset_after is not None:
            _reset(source)
            _reset(way.target)
        elif fault.half_close_after is not None:
            _finish(way.target)
            del ways[source]
            return True
        return False

    def _note(self, way, ways):
        """Note that a client begins to speak: so far it was the server that did, or nobody."""
        if way.side == SERVER and not way.speaks:
            self.asked.append(time.monotonic())
        for one in ways.values():
            one.speaks = one is way

    def _send(self, target, data, bytes_per_s):
        step = max(1, bytes_per_s // 10) if bytes_per_s else len(data) or 1
        for begin in range(0, len(data), step):
            with suppress(OSError):
                target.sendall(data[begin : begin + step])
            if bytes_per_s and self._ending.wait(0.1):
                return


class _Way:
    """One way of a connection: where to, which side that is, how many bytes went there, if it is whose turn it is."""

    def __init__(self, target, side):
        self.target = target
        self.side = side
        self.count = 0
        self.speaks = False


def _finish(target):
    """Send nothing more there."""
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _reset(connection):
    with suppress(OSError):
        # with no time to linger, close sends a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
