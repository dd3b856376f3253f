"""S5: who sends a byte a second, or none, or takes none, costs the others nothing and is gone soon."""

from __future__ import annotations

import os
import random
import resource
import selectors
import socket
import statistics
import threading
import time

import pytest
from scale import SCALE, scaled
from wires import HANG_S, KEY, KEYS, Target, connect, hello, messages_of, rss, shaken

from ave.network import RemoteControl, server
from ave.network.codec import encode
from ave.testing import wait_until

pytestmark = pytest.mark.slow

#: Seconds after which the last dribbler is gone.
CLOSED_S = 10.0


@pytest.fixture(autouse=True)
def many_descriptors():
    """Let both sides have as many as they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Healthy:
    """A process of its own with many clients of two services, which call in turn until they are told to stop."""

    def __init__(self, controls, clients):
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._read)
            code = 1
            try:
                self._work([control.port for control in controls], clients, write)
                code = 0
            finally:
                os._exit(code)
        os.close(write)

    def _work(self, ports, clients, write):
        remotes = [
            [RemoteControl(("", port), KEY, HANG_S, require_auth=True) for port in ports] for _ in range(clients)
        ]
        while True:
            taken, until = [[] for _ in ports], time.monotonic() + 0.5
            while time.monotonic() < until:
                for number, both in enumerate(remotes):
                    for remote, into in zip(both, taken, strict=True):
                        began = time.perf_counter()
                        if remote.echo(number) != number:
                            raise AssertionError("a wrong answer")
                        into.append(time.perf_counter() - began)
                time.sleep(0.01)
            try:
                os.write(write, b" ".join(b"%.6f" % percentile(times) for times in taken) + b"\n")
            except BrokenPipeError:
                return

    def p99s(self):
        """Return the 99th percentiles, in seconds, of each half second since the last time, for either service."""
        os.set_blocking(self._read, False)
        try:
            return [tuple(map(float, line.split())) for line in os.read(self._read, 65536).splitlines()]
        except BlockingIOError:
            return []

    def stop(self):
        """Tell them to stop; AssertionError if any call failed."""
        os.close(self._read)
        _, status = os.waitpid(self._pid, 0)
        assert status == 0


def percentile(values, share=0.99):
    return sorted(values)[int(share * (len(values) - 1))]


class Dribbler:
    """A connection that sends what it has at a byte a second.

    Attributes:
        lived: seconds until the peer closed, None while it has not.
    """

    def __init__(self, sock, data, phase):
        sock.setblocking(False)
        self.socket = sock
        self.lived = None
        self._data = data
        # with its first byte, if it has one
        self._began = self._next = time.monotonic() + (phase if data else 0.0)
        self._at = 0

    def dribble(self):
        if self.lived is None and time.monotonic() >= self._next:
            self._next += 1.0
            try:
                self.socket.send(self._data[self._at : self._at + 1])
            except OSError:
                self.close()
            self._at += 1

    def look(self):
        try:
            if not self.socket.recv(65536):
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self):
        self.lived = time.monotonic() - self._began
        self.socket.close()


def request(method, *vargs):
    return encode({"method": method, "params": {"vargs": list(vargs), "kwargs": {}}, "id": 0})


def before_hello(control):
    """Dribble the answer to the greeting."""
    sock = connect(control)
    return sock, hello(messages_of(sock.recv(4096))[0])[0]


def after_hello(control):
    """Dribble a request."""
    connection = shaken(control)
    return connection.socket, b"".join(connection.session.seal(request("do", "x" * 500)))


def stranger(control):
    """Dribble a request without having known a key."""
    connection = shaken(control, "wrong")
    return connection.socket, b"".join(connection.session.seal(request("do", "x" * 500)))


def nothing(control):
    """Dribble no byte at all."""
    return connect(control), b""


def drive(dribblers, is_over):
    """Let every dribbler send when its second is over, and note when it is closed."""
    selector = selectors.DefaultSelector()
    for dribbler in dribblers:
        selector.register(dribbler.socket, selectors.EVENT_READ, dribbler)
    while not is_over():
        for key, _ in selector.select(0.01):
            key.data.look()
            if key.data.lived is not None:
                selector.unregister(key.fileobj)
        for dribbler in dribblers:
            dribbler.dribble()
    selector.close()


def test_s5_those_who_dribble_hinder_nobody_and_are_gone_in_ten_seconds(serve, call):
    control, quiet = serve(Target, **KEYS), serve(Target, **KEYS)
    remote = call(control, KEY)
    descriptors = remote.fds()
    healthy = Healthy((control, quiet), scaled(50))
    dribblers = []
    for number in range(scaled(500)):
        make = (before_hello, after_hello, before_hello, after_hello, stranger, nothing)[number % 6]
        dribblers.append(Dribbler(*make(control), random.random()))
    healthy.p99s()
    deadline = time.monotonic() + 3 * CLOSED_S
    drive(dribblers, lambda: all(one.lived for one in dribblers) or time.monotonic() > deadline)
    p99s = healthy.p99s()
    healthy.stop()
    assert all(one.lived is not None for one in dribblers)
    wait_until(lambda: remote.fds() == descriptors)
    assert remote.seen() == []
    if SCALE >= 10:
        assert max(one.lived for one in dribblers) <= CLOSED_S
        # against a service without a crowd at the same moments, whatever else the machine does
        crowded, alone = map(statistics.median, zip(*p99s, strict=True))
        assert crowded <= 2.0 * alone, p99s


def test_s5_a_crowd_of_half_open_connections_keeps_nobody_out_and_is_gone(serve, call):
    control = serve(Target, **KEYS)
    remote = call(control, KEY)
    descriptors = remote.fds()
    healthy = Healthy((control,), 1)
    crowd = []
    for number in range(scaled(1000, server.UNAUTHENTICATED_MAX + 50)):
        crowd.append(connect(control))
        if number % 10 == 0:
            # the client of `healthy`, and one that comes and goes
            assert remote.fds() - descriptors <= server.UNAUTHENTICATED_MAX + 2
            with RemoteControl(("", control.port), KEY, HANG_S, require_auth=True) as late:
                assert late.echo(number) == number
    selector = selectors.DefaultSelector()
    for sock in crowd:
        sock.setblocking(False)
    deadline = time.monotonic() + 3 * CLOSED_S
    while crowd and time.monotonic() < deadline:
        crowd = [sock for sock in crowd if not is_closed(sock)]
        selector.select(0.02)
    selector.close()
    healthy.stop()
    wait_until(lambda: remote.fds() == descriptors)
    left = len(crowd)
    for sock in crowd:
        sock.close()
    assert left == 0


def is_closed(sock):
    """Read what is there; close, and tell so, when the peer has."""
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    sock.close()
    return True


@pytest.mark.parametrize("reads", [False, True], ids=["nothing", "a byte at a time"])
def test_s5_those_who_take_no_replies_fill_no_memory_and_are_gone(reads, serve, call, monkeypatch):
    if SCALE < 10:
        monkeypatch.setattr(server, "STALL_S", 1.0)
    control = serve(Target, **KEYS)
    remote = call(control, KEY)
    remote.large(1 << 20)
    descriptors, memory = remote.fds(), rss(control.pid)
    stalled = []
    for _ in range(scaled(50)):
        connection = shaken(control)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(100):
            connection.put(request("large", 1 << 20), time.monotonic() + HANG_S)
        stalled.append(connection)
    assert remote.echo(1) == 1
    assert rss(control.pid) - memory <= len(stalled) * (5 << 20) + (20 << 20)
    gone = threading.Event()

    def sip():
        while not gone.wait(0.1):
            for connection in stalled:
                try:
                    connection.socket.recv(1)
                except OSError:
                    pass

    sipping = threading.Thread(target=sip)
    if reads:
        sipping.start()
    try:
        wait_until(lambda: remote.fds() == descriptors, 3 * server.STALL_S)
    finally:
        gone.set()
        if reads:
            sipping.join()
        for connection in stalled:
            connection.close()
    assert remote.echo(2) == 2
