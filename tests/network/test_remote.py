"""What a client sees: results, the right exceptions, time-outs, and services that come and go."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time

import pytest
from services import KEYS, Bench, Wire

from ave.exceptions import (
    AuthError,
    AveException,
    ConnectionClosed,
    ConnectionRefused,
    ConnectionTimeout,
    Exit,
    Overflow,
    ProtocolError,
    RunError,
    Timeout,
    UsageError,
)
from ave.network import Control, RemoteControl, disconnect, find_free_port
from ave.network.frames import framed
from ave.network.handshake import ServerHandshake
from ave.testing import wait_until


@pytest.fixture
def bench(serve):
    return serve(Bench, **KEYS)


def test_values_travel(bench, call):
    remote = call(bench)
    assert remote.echo(1, "xå", None, a=[True, {"b": 1.5}]) == [[1, "xå", None], {"a": [True, {"b": 1.5}]}]
    assert remote.badbytes() == {"t": [1, 2.5, True, None], "k�": "v�", "n": 1}
    assert remote.none() is None


def test_names_with_an_underscore_are_never_calls(bench, call):
    remote = call(bench)
    for name in ("_echo", "__len__", "__deepcopy__"):
        with pytest.raises(AttributeError, match=name):
            getattr(remote, name)
    assert remote._connection is None


@pytest.mark.parametrize(
    ("key", "allowed"), [("secret", ["authed"]), ("adm", ["authed", "pre"]), ("wrong", []), (None, [])]
)
def test_a_key_opens_what_it_is_for(bench, call, key, allowed):
    remote = call(bench, key)
    assert remote.echo() == [[], {}]
    for method, text in (("authed", "authenticated"), ("pre", "authorized"), ("pre_unknown", "authorized")):
        if method in allowed:
            assert getattr(remote, method)() == method
        else:
            with pytest.raises(AveException, match=f"not {text} to make this call"):
                getattr(remote, method)()


@pytest.mark.parametrize("key", ["wrong", None])
def test_who_requires_to_be_let_in_does_not_call_otherwise(bench, call, key):
    with pytest.raises(AuthError, match="does not know the key it was shown"):
        call(bench, key, require_auth=True).echo()
    assert call(bench, b"secret", require_auth=True).authed() == "authed"


def test_a_method_of_an_account_without_a_key_lets_nobody_in(serve, call):
    class NoKeys(Control):
        @Control.rpc
        @Control.preauth("nokey", "nobody")
        def pre(self):
            raise AssertionError("never called")

    with pytest.raises(AveException, match="not authorized to make this call"):
        call(serve(NoKeys, alt_keys={"nokey": None})).pre()


def test_an_exception_comes_with_its_type_and_the_servers_trace(bench, call):
    with pytest.raises(AveException) as raised:
        call(bench).boom("bäng")
    assert type(raised.value) is AveException
    assert raised.value.details["type"] == "ValueError"
    assert raised.value.details["message"] == "bäng"
    [[file, line, function, source]] = raised.value.details["trace"]
    assert (os.path.basename(file), function, source) == ("services.py", "boom", "raise ValueError(m)")
    assert str(raised.value) == (
        f'bäng\nServer side traceback:\n  File "{file}", line {line}, in boom\n    raise ValueError(m)\n'
    )


def test_the_details_of_an_ave_exception_come_whole(bench, call):
    trace = [["elsewhere.py", 1, "f", "f()"]]
    with pytest.raises(AveException) as raised:
        call(bench).ave({"message": "m", "extra": [1], "trace": trace})
    assert raised.value.details == {"type": "AveException", "message": "m", "extra": [1], "trace": trace}


def test_well_known_exceptions_come_as_themselves(bench, call):
    remote = call(bench)
    with pytest.raises(RunError) as raised:
        remote.runerr()
    assert {
        "cmd": ["ls"],
        "out": "output",
        "ptyout": "output",
        "message": "failed",
    }.items() <= raised.value.details.items()
    assert raised.value.details["trace"]
    with pytest.raises(Timeout, match="too slow"):
        remote.timeout()


def test_wrong_arguments_have_no_trace(bench, call):
    with pytest.raises(AveException, match="none") as raised:
        call(bench).none(1, 2)
    assert raised.value.details["type"] == "TypeError"
    assert raised.value.details["trace"] == []


def test_a_result_that_is_no_json_is_an_exception_and_the_connection_lasts(bench, call):
    remote = call(bench)
    with pytest.raises(AveException, match="INTERNAL ERROR: OBJECT IS NOT JSON COMPATIBLE: <object object"):
        remote.obj()
    assert remote.count_up() == 1


def test_arguments_that_are_no_json_are_never_sent(bench, call):
    remote = call(bench)
    with pytest.raises(UsageError, match="the arguments of echo: OBJECT IS NOT JSON COMPATIBLE: "):
        remote.echo(object())
    assert remote.echo() == [[], {}]


def test_a_reply_over_the_limit_is_an_exception_and_the_connection_lasts(serve, call):
    remote = call(serve(Bench, limit=10_000))
    with pytest.raises(Overflow, match="the reply of 10020 bytes is over the limit of 9968"):
        remote.large(10_000)
    assert remote.large(9_000) == "x" * 9_000


def test_a_request_over_the_limit_ends_the_connection_and_the_next_call_makes_another(serve, call):
    remote = call(serve(Bench, limit=10_000))
    with pytest.raises((Overflow, ConnectionClosed)):
        remote.length("x" * 20_000)
    assert remote.length("x" * 100) == 100


def test_who_is_not_authenticated_may_send_no_long_messages_where_there_are_keys(bench, serve, call):
    assert call(bench, "secret").length("x" * 10_000) == 10_000
    assert call(serve(Bench)).length("x" * 10_000) == 10_000
    with pytest.raises(Overflow, match="over the limit of 4096"):
        call(bench).length("x" * 5_000)


def test_large_values_pass_both_ways(bench, call):
    text = "x" * 5_000_000
    assert call(bench, "secret").echo(text) == [[text], {}]


def test_a_call_that_takes_too_long_times_out_and_its_reply_answers_no_later_call(bench, call):
    remote = call(bench, timeout=0.3)
    with pytest.raises(ConnectionTimeout, match="did not answer in time") as raised:
        remote.sleep(0.5)
    assert isinstance(raised.value, Timeout)
    remote._timeout = 10
    assert remote.count_up() == 1


def test_a_message_that_is_not_taken_in_time_times_out_and_the_object_works_on(bench, call):
    remote = call(bench, "secret", timeout=10)
    remote.count_up()
    remote._timeout = 0.05
    blocker = call(bench)
    blocker.sleep(0.5, __async__=True)
    with pytest.raises(ConnectionTimeout, match="did not take the message in time"):
        remote.length("x" * 10_000_000)
    remote._timeout = 10
    assert remote.count_up() == 2


def test_nobody_listening_is_refused_at_once_or_waited_for():
    port = find_free_port()
    with (
        RemoteControl(("", port), None, 5, optimist=False) as remote,
        pytest.raises(ConnectionRefused, match=f"{port}"),
    ):
        remote.echo()
    begin = time.monotonic()
    with RemoteControl(("", port), None, 0.3) as remote, pytest.raises(ConnectionTimeout, match="in time"):
        remote.echo()
    assert 0.2 < time.monotonic() - begin < 3


def test_an_optimist_finds_the_service_that_starts_late(serve, call):
    port = find_free_port()
    results = []
    with RemoteControl(("", port), None, 10) as remote:
        thread = threading.Thread(target=lambda: results.append(remote.echo(1)))
        thread.start()
        serve(Bench, port=port)
        thread.join(10)
    assert results == [[[1], {}]]


def test_an_asynchronous_call_returns_at_once_and_is_carried_out(bench, call):
    remote = call(bench)
    assert remote.sleep(0.2, __async__=True) is None
    assert remote.count_up(__async__=True) is None
    assert remote.count_up() == 2


def test_the_refusal_of_an_asynchronous_call_answers_no_later_call(bench, call):
    remote = call(bench)
    for _ in range(3):
        assert remote.nosuch(__async__=True) is None
        assert remote.boom(__async__=True) is None
    assert remote.count_up() == 1
    remote.nosuch(__async__=True)
    wait_until(lambda: remote._connection._readable.poll(0), what="the refusal to come")
    connection = remote._connection
    assert remote.count_up() == 2
    assert remote._connection is connection


def test_a_service_that_was_restarted_between_two_calls_is_called_again(serve, call):
    first = serve(Bench)
    remote = call(first)
    assert remote.count_up() == 1
    first.terminate()
    first.join(10)
    serve(Bench, port=first.port)
    assert remote.count_up() == 1


def test_a_service_that_said_good_bye_between_two_calls_is_called_again(serve, call):
    first = serve(Wire)
    remote, other = call(first), call(first)
    assert remote.none() is None
    with pytest.raises(Exit):
        other.exit()
    first.join(10)
    serve(Wire, port=first.port)
    assert remote.echo() == [[], {}]


def test_a_call_that_was_sent_is_never_sent_again(serve, call):
    first = serve(Bench)
    remote = call(first)
    with pytest.raises(ConnectionClosed):
        remote.die()
    assert first.join(10) == 3 << 8
    again = serve(Bench, port=first.port)
    assert remote.counted() == 0
    assert again.is_alive()


def test_a_service_that_ends_while_a_call_waits_says_so(serve, call):
    control = serve(Bench)
    with pytest.raises(Exit, match="bye"):
        call(control).exit()
    assert control.join(10) == 256


def test_threads_share_one_object(bench, call):
    remote = call(bench, timeout=30)
    wrong, threads = [], []
    for number in range(8):
        threads.append(
            threading.Thread(
                target=lambda number=number: wrong.extend(
                    [n for n in range(50) if remote.echo(number, n) != [[number, n], {}]]
                )
            )
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert remote.count_up() == 1


def test_a_forks_child_has_a_connection_of_its_own(bench, call):
    remote = call(bench)
    assert remote.count_up() == 1
    holder = threading.Thread(target=lambda: remote.sleep(0.3))
    holder.start()
    wait_until(lambda: remote._is_busy)
    child = os.fork()
    if child == 0:
        os._exit(0 if remote.count_up() == 2 else 1)
    holder.join(10)
    assert os.waitpid(child, 0)[1] == 0
    assert remote.count_up() == 3


def test_a_call_made_by_a_signal_handler_during_a_call_is_refused(bench, call):
    remote = call(bench)
    remote._is_busy = True
    with pytest.raises(UsageError, match="in the middle of a call"):
        remote.echo()


def test_an_interrupted_call_leaves_no_reply_behind(bench, call, monkeypatch):
    remote = call(bench)
    assert remote.count_up() == 1
    with monkeypatch.context() as patch:
        patch.setattr(type(remote._connection), "get", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            remote.count_up()
    assert remote._connection is None, "for an original's reply would not say which call it answers"
    assert remote.counted() == 2


def test_leaving_the_block_closes_the_connection_and_another_call_opens_one(bench, fds):
    before = fds()
    with RemoteControl(("localhost", bench.port), None, 10) as remote:
        remote.echo()
        assert fds() > before
    assert fds() == before
    assert remote.echo() == [[], {}]
    disconnect(remote)
    assert fds() == before


def test_no_failure_leaks_a_descriptor(bench, fds):
    port = find_free_port()
    before = fds()
    for _ in range(5):
        for address, options in (
            (("", bench.port), {"require_auth": True, "authkey": "wrong"}),
            (("", port), {"optimist": False}),
        ):
            with RemoteControl(address, timeout=5, **options) as remote, pytest.raises(AveException):
                remote.echo()
    assert fds() == before


@pytest.fixture
def fake():
    """A function that starts a server which sends given messages to each client, then waits for it to go."""
    threads = []

    def start(*parts):
        listener = socket.create_server(("127.0.0.1", 0))

        def run():
            with listener, listener.accept()[0] as sock:
                sock.settimeout(10)
                try:
                    for part in parts:
                        sock.sendall(part)
                    while sock.recv(4096):
                        pass
                except ConnectionError:
                    pass  # the client has gone without reading all of it

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return listener.getsockname()[1]

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "parts",
    [
        [framed(b"x" * 5000)],
        [b"\xff\xff\xff\xff"],
        [b"\0\0\0\0"],
        [framed(b"HTTP/1.1 400 Bad Request")],
        [framed(ServerHandshake([], "x", legacy=False).greeting), framed(b'{"authenticated": true}')],
        [framed(ServerHandshake([], "x", legacy=False).greeting), framed(b'{"ave":2,"authenticated":1}')],
    ],
    ids=lambda parts: repr(parts[-1][4:40]),
)
def test_a_peer_that_is_no_service_ends_in_an_error_at_once(fake, parts):
    with RemoteControl(("", fake(*parts)), "k", 10) as remote, pytest.raises((ProtocolError, AuthError)):
        remote.echo()


def test_a_peer_that_says_nothing_times_out(fake):
    with RemoteControl(("", fake()), "k", 0.2) as remote, pytest.raises(ConnectionTimeout):
        remote.echo()


def test_a_peer_that_dribbles_does_not_stretch_the_time_of_a_call():
    listener = socket.create_server(("127.0.0.1", 0))

    def dribble():
        sock, _ = listener.accept()
        with sock:
            for byte in framed(ServerHandshake([], "x", legacy=False).greeting):
                try:
                    sock.sendall(bytes([byte]))
                except OSError:
                    return
                if stop.wait(0.05):
                    return

    stop = threading.Event()
    thread = threading.Thread(target=dribble)
    thread.start()
    begin = time.monotonic()
    with RemoteControl(("", listener.getsockname()[1]), None, 0.5) as remote, pytest.raises(ConnectionTimeout):
        remote.echo()
    assert time.monotonic() - begin < 2
    stop.set()
    thread.join(10)
    listener.close()


def test_an_exception_survives_being_pickled():
    for error in (RunError(["ls"], "out", "failed"), AveException({"type": "X", "message": "m", "trace": []})):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert again.details == error.details
