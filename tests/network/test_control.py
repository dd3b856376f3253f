"""What a service can do: hooks, hand-over, added connections, deferred joins, its process, its limits."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time

import pytest
from original import Client, frame
from services import KEYS, Bench, Wire

from ave.exceptions import AveException, ConnectionTimeout, Exit, Restarting, Timeout, UsageError
from ave.network import Control, RemoteControl, find_free_port, server
from ave.network.process import Process
from ave.testing import wait_until


@pytest.fixture
def here():
    """A function that serves in a thread of this process, where a test can look inside."""
    running = []

    def start(kind, *args, **options):
        control = kind(find_free_port(), *args, **options)
        control.initialize()
        thread = threading.Thread(target=control.run)
        thread.start()
        running.append((control, thread))
        return control

    yield start
    for control, thread in running:
        control.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": 0}, "client port must be integer >= 1"),
        ({"port": "80"}, "client port must be integer >= 1"),
        ({"port": True}, "client port must be integer >= 1"),
        ({"authkey": 5}, "authkey must be a regular string or None"),
        ({"alt_keys": ["k"]}, "alt_keys must be a dictionary"),
        ({"alt_keys": {"a": 5}}, "alt keys must be regular strings or None"),
        ({"interval": "1"}, "the interval .* must be expressed as an integer, a float, or None"),
        ({"host": "0.0.0.0", "authkey": "k"}, "0.0.0.0 is not this machine, so tls must be given"),
        ({"host": "0.0.0.0"}, "0.0.0.0 is not this machine, so tls and authkey must be given"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(options, text):
    with pytest.raises(UsageError, match=text):
        Bench(**{"port": 4000, **options})


def test_a_client_does_not_leave_this_machine_without_tls():
    with pytest.raises(UsageError, match=r"lab\.example is not this machine, so tls must be given"):
        RemoteControl(("lab.example", 4000))


def test_doing_without_tls_is_told_at_every_start(serve, call, capfd):
    control = serve(Bench, authkey="k", host="0.0.0.0", insecure=True)
    assert call(control, "k").authed() == "authed"
    assert "ave-Bench: INSECURE: speaking to 0.0.0.0 without tls" in capfd.readouterr().err


def test_a_port_that_is_taken_is_told_to_who_starts(serve):
    control = serve(Bench)
    with pytest.raises(AveException, match=f"ave-Bench could not start: .*{control.port}.*in use"):
        Bench(control.port).start(synchronize=True)


def test_hooks_are_told_who_comes_and_goes_and_with_which_key(serve, call):
    control = serve(Bench, **KEYS)
    watcher = call(control)
    assert watcher.seen() == [["new", None]]
    call(control, b"adm").pre()
    with RemoteControl(("", control.port), "secret", 10) as other:
        other.authed()
    with socket.create_connection(("127.0.0.1", control.port)) as stranger:
        stranger.recv(4096)
    wait_until(lambda: len(watcher.seen()) >= 4)
    assert watcher.seen() == [["new", None], ["new", "adm"], ["new", "secret"], ["lost", "secret"]]


def test_idle_is_called_when_it_is_quiet_and_not_otherwise(serve, call):
    control = serve(Bench, interval=0.05)
    remote = call(control)
    time.sleep(0.2)
    assert ["idle"] in remote.seen()
    quiet = call(serve(Bench))
    assert quiet.seen() == [["new", None]]


def test_a_hook_that_raises_hurts_nobody(serve, call):
    class Clumsy(Bench):
        def new_connection(self, connection, authkey):
            raise ValueError("clumsy")

        lost_connection = new_connection

        def idle(self):
            raise ValueError("clumsy")

    control = serve(Clumsy, interval=0.001)
    for _ in range(3):
        with RemoteControl(("", control.port), None, 10) as remote:
            assert remote.none() is None


def test_a_rejecting_service_accepts_nobody_but_serves_who_is_here(here, call):
    control = here(Bench)
    remote = call(control)
    assert remote.none() is None
    control.rejecting = True
    with RemoteControl(("", control.port), None, 0.3) as other, pytest.raises(AveException):
        other.none()
    assert remote.none() is None
    control.rejecting = False
    assert call(control).none() is None


class Handing(Bench):
    @Control.rpc
    def leave_the_door(self):
        self.stop_listening()

    @Control.rpc
    def restart(self):
        self.shutdown(Restarting("back soon"))


def test_who_stops_listening_serves_on(serve, call):
    remote = call(serve(Handing))
    remote.leave_the_door()
    assert remote.count_up() == 1
    with RemoteControl(remote._dialler._address, None, 5, optimist=False) as other, pytest.raises(AveException):
        other.none()


def test_an_exit_message_can_be_any_exception(serve, call):
    control = serve(Handing)
    waiting = call(control)
    waiting.none()
    connection = waiting._connection
    remote = call(control, timeout=0.3)
    remote.restart()
    with pytest.raises((ConnectionTimeout, Restarting)):
        remote.none()
    assert json.loads(bytes(connection.get(time.monotonic() + 10)))["exception"] == {
        "type": "Restarting",
        "message": "back soon",
    }
    assert control.join(10) == 256


def test_a_listening_socket_is_given_and_handed_over_without_refusing_anybody(here):
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    port = listener.getsockname()[1]
    with pytest.raises(UsageError):
        Bench(None)
    first = Bench(None, socket=listener)
    assert first.port == port
    first.initialize()
    thread = threading.Thread(target=first.run)
    thread.start()
    old = RemoteControl(("", port), None, 10, optimist=False)
    assert old.count_up() == 1
    handed = first.hand_over()
    new = RemoteControl(("", port), None, 10, optimist=False)
    results = []
    caller = threading.Thread(target=lambda: results.append(new.count_up()))
    caller.start()
    second = Bench(None, socket=handed)
    second.start(synchronize=True)
    caller.join(10)
    assert results == [1]
    assert old.count_up() == 2
    for remote in (old, new):
        remote._drop()
    first.stop()
    thread.join(10)
    second.terminate()
    assert second.join(10) == 15 << 8


class Adding(Bench):
    def initialize(self):
        super().initialize()
        self.gone = []
        ours, self.theirs = socket.socketpair()
        self.add_connection(ours, "secret")

    def lost_connection(self, connection, authkey):
        self.gone.append((connection, authkey))


def test_a_connection_can_be_added_and_is_served_with_the_key_it_was_given(here):
    control = here(Adding, **KEYS)
    remote = RemoteControl(("", control.port), None, 10, sock=control.theirs)
    assert remote.authed() == "authed"
    with pytest.raises(AveException, match="not authorized"):
        remote.pre()
    remote._drop()
    wait_until(lambda: control.gone)
    assert control.gone[0][1] == "secret"
    with pytest.raises(AveException, match="closed the connection"):
        remote.none()


def test_a_connection_can_be_removed_and_stays_open(here):
    control = here(Adding)
    [peer] = control._server.peers
    ours = peer.handle
    control.remove_connection(ours)
    control.remove_connection(ours)
    assert control._server.peers == set()
    ours.sendall(b"still here")
    assert control.theirs.recv(100) == b"still here"
    assert control.gone == []
    ours.close()
    control.theirs.close()


class Joining(Bench):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.joined = []

    @Control.rpc
    def spawn(self, code):
        process = Process(os._exit, (code,))
        process.start()
        self.join_later(process)
        return process.pid

    @Control.rpc
    def results(self):
        return self.joined

    def joined_process(self, pid, status):
        self.joined.append([pid, status])


def test_processes_are_joined_beside_everything_else(serve, call):
    remote = call(serve(Joining))
    pids = [remote.spawn(code) for code in (0, 7)]
    wait_until(lambda: len(remote.results()) == 2)
    assert sorted(remote.results()) == sorted([[pids[0], 0], [pids[1], 7 << 8]])


def test_what_is_no_process_cannot_be_joined(here):
    control = here(Bench)
    for what, text in ((5, "not a Process"), (control, "cannot defer join of self"), (Process(), "was not started")):
        with pytest.raises(UsageError, match=text):
            control.join_later(what)


# The process


def test_a_process_ends_with_its_exit_code_and_gives_the_raw_status():
    process = Process(lambda: 3)
    with pytest.raises(UsageError, match="was not started by this process"):
        process.join()
    process.start()
    assert process.join() == process.join() == 3 << 8
    assert not process.is_alive()
    with pytest.raises(UsageError, match="was started already"):
        process.start()


def test_joining_has_a_time_limit_and_terminate_ends_a_process():
    process = Process(signal.pause)
    process.start()
    with pytest.raises(Timeout, match=r"still runs after 0\.05 s"):
        process.join(0.05)
    process.terminate()
    assert process.join(10) == 15 << 8
    process.terminate()


def test_terminate_ends_a_service_even_if_the_exception_is_lost_in_a_finalizer(serve):
    class Last:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    class Forgetful(Control):
        @Control.rpc
        def forget(self):
            Last()

    service = serve(Forgetful)
    RemoteControl(("", service.port)).forget()
    assert service.join(10) == 15 << 8


def test_terminate_ends_the_sleep_of_a_service_that_the_signal_did_not_interrupt(serve):
    class Deaf(Control):
        def initialize(self):
            super().initialize()
            threading.Thread(target=signal.pause, daemon=True).start()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # so that the other thread gets it

    service = serve(Deaf)
    service.terminate()
    assert service.join(10) == 15 << 8


def test_an_error_in_the_target_is_logged_and_ends_the_process(capfd):
    process = Process(lambda: 1 / 0, logging=True, proc_name="ave-test")
    process.start()
    assert process.join() == 1 << 8
    assert "ave-test" in (said := capfd.readouterr().err)
    assert "Exception in target():\nTraceback" in said
    assert "ZeroDivisionError" in said


def test_the_process_keeps_no_descriptor_of_its_parent(serve, call):
    ours, theirs = socket.socketpair()
    call(serve(Bench)).none()
    theirs.close()
    assert ours.recv(1) == b""
    ours.close()


def test_the_process_bears_its_name_and_dies_with_its_parent(serve):
    outer = os.fork()
    if outer == 0:
        control = Bench(find_free_port(), proc_name="ave-orphan")
        control.start(synchronize=True)
        with open(f"/proc/{control.pid}/comm") as comm:
            os._exit(control.pid % 251 if comm.read() == "ave-orphan\n" else 255)
    status = os.waitpid(outer, 0)[1]
    assert status >> 8 != 255
    wait_until(lambda: not _lives("ave-orphan"))


def _lives(name):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                content = stat.read()
        except OSError:
            continue
        if f"({name})" in content and content.rpartition(")")[2].split()[0] != "Z":
            return True
    return False


def test_sigterm_ends_a_service_in_the_middle_of_a_method(serve, call):
    control = serve(Bench)
    call(control).sleep(30, __async__=True)
    time.sleep(0.05)
    control.terminate()
    assert control.join(5) == 15 << 8


# The limits


@pytest.fixture
def quick(monkeypatch):
    """Deadlines of a tenth of a second."""
    for name in ("HANDSHAKE_S", "MESSAGE_S", "STALL_S", "LINGER_S"):
        monkeypatch.setattr(server, name, 0.1)


def connect(control):
    return socket.create_connection(("127.0.0.1", control.port), timeout=10)


def is_closed(sock):
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_a_handshake_that_is_never_finished_is_ended(quick, serve):
    control = serve(Bench)
    with connect(control) as silent, connect(control) as dribbling:
        dribbling.sendall(b"\0")
        assert is_closed(silent)
        assert is_closed(dribbling)


def test_a_message_that_dribbles_is_ended_and_a_long_one_that_comes_is_not(quick, monkeypatch, serve, call):
    monkeypatch.setattr(server, "RATE", 1000)
    control = serve(Bench, legacy=True)
    with Client(control.port) as dribbler, Client(control.port) as sender:
        dribbler.send_raw(b"\0\0\0\xffx")
        message = frame(json.dumps({"method": "length", "params": {"vargs": ["x" * 4000], "kwargs": {}}}).encode())
        for at in range(0, len(message), 500):
            sender.send_raw(message[at : at + 500])
            time.sleep(0.05)
        assert json.loads(sender.receive()) == {"result": 4000}
        assert is_closed(dribbler.socket)
        assert call(control).none() is None


def test_a_connection_that_is_idle_between_messages_is_left_alone(quick, serve, call):
    remote = call(serve(Bench))
    remote.none()
    connection = remote._connection
    time.sleep(0.4)
    remote.none()
    assert remote._connection is connection


def test_a_peer_that_stops_reading_is_dropped_and_hinders_nobody(quick, serve, call):
    control = serve(Bench, legacy=True)
    with Client(control.port) as stalled:
        for _ in range(20):
            stalled.send(b'{"method": "large", "params": {"vargs": [1000000], "kwargs": {}}}')
        remote = call(control)
        remote.none()
        wait_until(lambda: ["lost", None] in remote.seen(), what="the peer to be dropped")


def test_while_a_method_runs_the_time_of_others_stands_still(quick, serve, call):
    control = serve(Bench, legacy=True)
    with connect(control) as half_open, Client(control.port) as sender:
        half_open.recv(4096)
        message = frame(b'{"method": "none", "params": {"vargs": [], "kwargs": {}}}')
        sender.send_raw(message[:3])
        call(control).sleep(0.5)
        sender.send_raw(message[3:])
        assert json.loads(sender.receive()) == {"result": None}


def test_a_thousand_half_open_connections_hinder_nobody_and_leave_nothing(serve, call):
    control = serve(Bench, **KEYS)
    remote = call(control, "secret")
    before = remote.fds()
    half_open = [connect(control) for _ in range(1000)]
    assert call(control, "secret").authed() == "authed"
    assert remote.fds() - before <= server.UNAUTHENTICATED_MAX + 1
    for sock in half_open:
        sock.close()
    wait_until(lambda: remote.fds() <= before + 1)


def test_those_who_know_no_key_crowd_out_only_one_another(serve, call):
    control = serve(Bench, **KEYS)
    member = call(control, "secret")
    member.authed()
    connection = member._connection
    strangers = [call(control) for _ in range(server.UNAUTHENTICATED_MAX + 20)]
    for stranger in strangers:
        stranger.none()
    assert strangers[0].none() is None
    assert member.authed() == "authed"
    assert member._connection is connection


def test_when_descriptors_run_out_the_server_serves_on(serve, call):
    class Poor(Bench):
        def initialize(self):
            import resource

            super().initialize()
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8,) * 2)

    control = serve(Poor)
    remote = call(control)
    remote.none()
    crowd = [connect(control) for _ in range(30)]
    assert remote.none() is None
    members = [call(control) for _ in range(3)]
    for member in members:
        assert member.none() is None
    for sock in crowd:
        sock.close()


def test_an_exception_of_a_method_that_cannot_be_printed_is_still_a_reply(serve, call):
    class Unprintable(Exception):
        def __str__(self):
            raise ValueError

    class Odd(Control):
        @Control.rpc
        def fail(self):
            raise Unprintable

        @Control.rpc
        def recurse(self):
            return self.recurse()

    remote = call(serve(Odd))
    with pytest.raises(AveException, match="unprintable Unprintable"):
        remote.fail()
    with pytest.raises(AveException, match="recursion") as raised:
        remote.recurse()
    assert raised.value.details["type"] == "RecursionError"
    assert len(raised.value.details["trace"]) == 100


def test_an_exit_message_of_a_service_that_runs_here_reaches_its_clients(here, call):
    control = here(Wire)
    remote = call(control)
    remote.none()
    connection = remote._connection
    control.shutdown("good night")
    assert json.loads(bytes(connection.get(time.monotonic() + 10))) == {
        "exception": {"type": "Exit", "message": "good night"}
    }
    with pytest.raises(Exit, match="bye"):
        call(here(Wire)).exit()


def test_find_free_port_gives_the_first_that_is_free():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert find_free_port(port, port + 100) > port
        with pytest.raises(OSError, match="in use"):
            find_free_port(port, port + 1)
