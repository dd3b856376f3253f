"""Peers that keep no rules: raw connections to a service, false services for clients, and somebody in between."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time

from ave.exceptions import AveException, Exit
from ave.network import Control
from ave.network.connection import BlockingConnection
from ave.network.dial import Dialler
from ave.network.frames import framed
from ave.network.handshake import ClientHandshake, ServerHandshake
from tests.network.services import KEYS

#: Seconds after which a peer hangs.
HANG_S = 5.0

KEY = KEYS["authkey"]


class Target(Control):
    """A service that remembers what it was made to do."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.done = []

    @Control.rpc
    @Control.auth
    def do(self, what):
        self.done.append(what)
        return ["did", what]

    @Control.rpc
    def seen(self):
        return self.done

    @Control.rpc
    def echo(self, value):
        return value

    @Control.rpc
    def fail(self, details):
        raise AveException(details)

    @Control.rpc
    def large(self, size):
        return "x" * size

    @Control.rpc
    def fds(self):
        return len(os.listdir("/proc/self/fd"))

    @Control.rpc
    def exit(self):
        raise Exit("bye")

    def hidden(self):
        self.done.append("hidden")

    @property
    def secret(self):
        self.done.append("secret")

    @staticmethod
    def helper():
        raise AssertionError("nobody may call this")


def connect(control):
    """Connect and say nothing."""
    return socket.create_connection(("127.0.0.1", control.port), timeout=HANG_S)


def shaken(control, key=KEY):
    """Return a connection whose handshake is over."""
    connection = Dialler(("127.0.0.1", control.port), key, optimist=False).dial(soon())
    connection.socket.settimeout(HANG_S)
    return connection


def soon(seconds=HANG_S):
    return time.monotonic() + seconds


def hello(greeting, key=KEY):
    """Return the frame that answers a server's first message, and the handshake it belongs to."""
    handshake = ClientHandshake(key and key.encode(), legacy=False)
    return framed(handshake.hello(memoryview(greeting))), handshake


def end_of(sock, timeout=HANG_S):
    """Read until the peer closes and return what it said; TimeoutError if it does not close in time."""
    said, deadline = bytearray(), soon(timeout)
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = sock.recv(65536)
        except ConnectionError:
            return bytes(said)
        if not data:
            return bytes(said)
        said += data


def push(sock, data):
    """Send what the peer takes before it has enough of it."""
    with contextlib.suppress(OSError):
        sock.sendall(data)


def try_to_say_no_more(sock):
    """Half-close, unless the peer was first."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def messages_of(data):
    """Return the messages of whole frames; what is left over is dropped."""
    found, at = [], 0
    while len(data) - at >= 4:
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def rss(pid):
    """Return the bytes of memory that a process has."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def false_service(behave):
    """Listen, and let `behave(connection)` handle each client that comes; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    failures = []

    def run():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            connection = BlockingConnection(sock)
            sock.settimeout(HANG_S)
            try:
                with sock:
                    behave(connection)
            except (AveException, OSError):
                pass  # the client has gone
            except BaseException as error:
                failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(2 * HANG_S)
    assert not thread.is_alive()
    assert not failures, failures


def greet(connection, key=KEY):
    """Be an honest server as far as the handshake goes."""
    handshake = ServerHandshake([key.encode()], "ave-False", legacy=False)
    connection.put_open(handshake.greeting, soon())
    connection.put_open(handshake.answer(connection.get(soon())), soon())
    connection.session = handshake.session
    return connection


class Between:
    """Somebody between clients and a service, who takes every frame and gives on what it likes.

    Args:
        port: of the service.
        meddle: `meddle(side, number, frame)` returns the list of frames that go on; `side` is "client" or "server",
            who sent it, and `number` counts the frames of that side in one connection. An entry may also be a pair of
            who gets it and the frame.

    Attributes:
        seen: a list for each connection: (side, frame) in the order in which they came.
    """

    def __init__(self, port, meddle=lambda _side, _number, frame: [frame]):
        self.seen = []
        self._meddle = meddle
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_error):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(2 * HANG_S)
            assert not thread.is_alive()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _carry(self, client):
        seen = []
        self.seen.append(seen)
        with client, socket.create_connection(("127.0.0.1", self._to), timeout=HANG_S) as server:
            sockets = {"client": client, "server": server}
            came = {"client": b"", "server": b""}
            count = {"client": 0, "server": 0}
            while True:
                ready, _, _ = select.select([client, server], [], [], HANG_S)
                if not ready:
                    return
                for side, sock in sockets.items():
                    if sock not in ready:
                        continue
                    try:
                        data = sock.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    came[side] += data
                    while (size := _whole(came[side])) is not None:
                        frame, came[side] = came[side][:size], came[side][size:]
                        seen.append((side, frame))
                        other = "server" if side == "client" else "client"
                        for item in self._meddle(side, count[side], frame):
                            to, what = item if isinstance(item, tuple) else (other, item)
                            push(sockets[to], what)
                        count[side] += 1


def _whole(data):
    """Return the size of the first frame, None if it is not all there."""
    if len(data) < 4:
        return None
    size = 4 + int.from_bytes(data[:4], "big")
    return size if len(data) >= size else None
