"""Peers that die in the middle, come back as others, ask for what is not theirs: no crash, no hang, no leak."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import threading
import time

import pytest
from scale import dice, scaled
from wires import (
    HANG_S,
    KEY,
    KEYS,
    Target,
    connect,
    end_of,
    false_service,
    greet,
    hello,
    messages_of,
    rss,
    shaken,
    soon,
)

from ave.exceptions import AveException, ConnectionClosed, ConnectionTimeout, Overflow
from ave.network import Control, RemoteControl, disconnect, find_free_port
from ave.network.codec import encode
from ave.network.methods import method_table
from ave.testing import wait_until


def request(method, *vargs):
    return encode({"method": method, "params": {"vargs": list(vargs), "kwargs": {}}, "id": 0})


@pytest.fixture
def target(serve, fds):
    """A service; neither it nor this process has more descriptors at the end than it had."""
    control = serve(Target, **KEYS)
    with RemoteControl(("", control.port), KEY, HANG_S) as remote:
        theirs, ours = remote.fds(), fds()
        yield control
        wait_until(lambda: remote.fds() == theirs, what="the service to give its descriptors back")
        wait_until(lambda: fds() == ours, what="this process to give its descriptors back")


def reset(sock):
    """Close as a process does that is killed with data unread: the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# Dying in the middle


@pytest.mark.parametrize("go", [socket.socket.close, reset], ids=["closed", "reset"])
def test_peers_that_die_at_any_byte_leave_nothing(go, target, call):
    random = dice(f"die {go.__name__}")
    healthy = call(target, KEY, HANG_S)
    for number in range(scaled(1000)):
        sock = connect(target)
        first, handshake = hello(messages_of(sock.recv(4096))[0])
        if number % 2:
            sock.sendall(first)
            handshake.finish(memoryview(messages_of(sock.recv(4096))[0]))
            first = b"".join(handshake.session.seal(request("do", "x" * 300)))
        sock.sendall(first[: random.randrange(len(first))])
        go(sock)
        if number % 10 == 0:
            assert healthy.echo(number) == number
    assert healthy.seen() == []
    disconnect(healthy)


def test_peers_that_die_while_they_are_answered_leave_nothing(target, call):
    random = dice("die answered")
    healthy = call(target, KEY, HANG_S)
    for number in range(scaled(200)):
        connection = shaken(target)
        connection.put(request("large", 1 << random.randrange(24)), soon())
        connection.put(request("large", 1 << 20), soon())
        if number % 2:
            connection.socket.recv(random.randrange(1, 65536))
        reset(connection.socket)
        assert healthy.echo(number) == number
    disconnect(healthy)


def test_processes_that_are_killed_while_they_call_leave_nothing(target, call):
    random = dice("kill")
    for _ in range(scaled(100)):
        pid = os.fork()
        if pid == 0:
            remote = RemoteControl(("", target.port), KEY)
            while True:
                remote.echo("x" * 100_000)
        time.sleep(random.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    remote = call(target, KEY, HANG_S)
    assert remote.echo(1) == 1
    disconnect(remote)


# Coming back as others


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_that_restarts_between_two_calls_is_called_again(how, fds):
    port, before = find_free_port(), None
    with RemoteControl(("", port), KEY, HANG_S) as remote:
        for number in range(scaled(100)):
            control = Target(port, **KEYS)
            control.start(synchronize=True)
            try:
                assert remote.do(number) == ["did", number]
                assert remote.seen() == [number]
                before = before or fds()
                assert fds() == before
            finally:
                os.kill(control.pid, how)
                control.join()


class Mortal(Target):
    """Dies while it serves, after it has done its work."""

    @Control.rpc
    def die(self, what):
        with open(what, "a") as file:
            file.write("died\n")
        os._exit(1)


def test_a_call_that_its_service_did_not_survive_is_not_made_again(tmp_path, call):
    port = find_free_port()
    done = tmp_path / "done"
    for number in range(scaled(50)):
        dying = Mortal(port, **KEYS)
        dying.start(synchronize=True)
        with RemoteControl(("", port), KEY, HANG_S, optimist=number % 2 == 0) as remote:
            assert remote.echo(1) == 1
            with pytest.raises(ConnectionClosed):
                remote.die(str(done))
        dying.join()
        assert done.read_text().count("died") == number + 1


# Asking for what is not theirs


LOOKALIKES = ["do ", " do", "DO", "do\0", "d\u043e", "do()", "do.__func__", "__class__.__init__", "", "self", "rpc"]


def test_no_attribute_but_the_marked_methods_can_be_called(target, call):
    marked = {name for name, method in method_table(Target).items() if method is not None}
    assert marked == {"do", "seen", "echo", "fail", "large", "fds", "exit"}
    names = {*dir(Target), *vars(target), *dir(object), *vars(Control), "__dict__", "__del__", *LOOKALIKES} - marked
    assert len(names) > 60
    connection = shaken(target)
    for name in sorted(names):
        for vargs in ([], ["x"]):
            connection.put(request(name, *vargs), soon())
            said = json.loads(bytes(connection.get(soon())))["exception"]
            assert said in {f"not an RPC: {name}", f"no such RPC: {name}"}
    connection.put(request("seen"), soon())
    assert json.loads(bytes(connection.get(soon())))["result"] == []
    connection.close()


def test_a_client_never_sends_a_name_of_its_own(target, call):
    remote = call(target, KEY)
    for name in ("_private", "__enter_", "__len__", "_ipython_canary_method_should_not_exist_"):
        with pytest.raises(AttributeError):
            getattr(remote, name)
    assert remote._connection is None


# Too large


def test_replies_around_the_limit_arrive_or_are_an_exception_and_the_connection_lasts(serve, call):
    limit = 10_000
    remote = call(serve(Target, **KEYS, limit=limit), KEY)
    remote.echo(1)
    connection, too_large = remote._connection, 0
    for size in range(limit - 100, limit + 10):
        try:
            assert remote.large(size) == "x" * size
        except Overflow as error:
            assert "is over the limit of" in str(error)
            too_large += 1
    assert 10 < too_large < 100
    assert remote._connection is connection


def test_a_reply_over_the_clients_own_limit_costs_its_connection_only(target, fds):
    with RemoteControl(("", target.port), KEY, HANG_S, limit=10_000) as remote:
        for _ in range(scaled(100)):
            with pytest.raises(Overflow):
                remote.large(20_000)
            assert remote.echo(1) == 1


def test_gigantic_requests_and_replies_leave_the_service_as_it_was(serve, call):
    control = serve(Target, **KEYS, limit=1 << 20)
    remote = call(control, KEY, 6 * HANG_S)
    remote.large(1000)
    memory = rss(control.pid)
    for size in (2 << 20, 128 << 20):
        with pytest.raises(Overflow):
            remote.large(size)
    with pytest.raises(AveException):
        remote.echo("x" * (16 << 20))
    assert remote.echo(1) == 1
    assert rss(control.pid) <= memory + (32 << 20)


# Services that keep no rules


def flood(connection):
    """Send replies that nobody asked for, faster than any client reads them."""
    greet(connection)
    connection.get(soon())
    pid = os.fork()
    if pid == 0:
        # a process of its own, so that the client's work does not slow it down; it must not hold the client's end
        seal, own = connection.session.seal, connection.fileno()
        try:
            os.closerange(3, own)
            os.closerange(own + 1, 1024)
            while True:
                connection.socket.sendall(b"".join(part for _ in range(1000) for part in seal(b'{"result":0,"id":-1}')))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def trickle(connection):
    """Answer at ten bytes a second, for ever."""
    greet(connection)
    connection.get(soon())
    connection.socket.sendall((1000).to_bytes(4, "big"))
    while True:
        connection.socket.sendall(b"x")
        time.sleep(0.1)


def endless(connection):
    """Begin a reply of 64 MiB and send it at a pace that takes hours."""
    greet(connection)
    connection.get(soon())
    connection.socket.sendall((64 << 20).to_bytes(4, "big"))
    while True:
        connection.socket.sendall(bytes(100))
        time.sleep(0.001)


def nothing(connection):
    """Shake hands and say no more."""
    greet(connection)
    end_of(connection.socket, 2 * HANG_S)


@pytest.mark.parametrize("behave", [flood, trickle, endless, nothing])
def test_no_service_keeps_a_client_longer_than_its_timeout(behave, fds):
    before = fds()
    with false_service(behave) as port:
        for is_asynchronous in (False, True):
            with RemoteControl(("", port), KEY, 0.5) as remote:
                began = time.monotonic()
                if is_asynchronous:
                    remote.echo(1, __async__=True)
                with pytest.raises(ConnectionTimeout):
                    remote.echo(1)
                assert time.monotonic() - began < HANG_S
    wait_until(lambda: fds() == before)


def test_a_service_that_takes_nothing_keeps_a_client_no_longer_than_its_timeout(fds):
    before, gone = fds(), threading.Event()

    def sip(connection):
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greet(connection)
        while not gone.wait(0.01):
            if not connection.socket.recv(20_000):
                return

    with false_service(sip) as port, RemoteControl(("", port), KEY, 0.5) as remote:
        began = time.monotonic()
        with pytest.raises(ConnectionTimeout):
            remote.echo("x" * (60 << 20))
        assert time.monotonic() - began < HANG_S
        disconnect(remote)
        gone.set()
    wait_until(lambda: fds() == before)
