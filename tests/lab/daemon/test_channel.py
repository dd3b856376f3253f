"""The control socket: whose it is, what passes, and what happens when one end goes away."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading

import pytest

from ave.exceptions import ConnectionClosed, ConnectionFailed, ConnectionRefused, ConnectionTimeout, ProtocolError
from ave.lab.daemon import channel
from ave.lab.daemon.channel import Channel, Talk, ask
from ave.testing import wait_until


@pytest.fixture
def path(tmp_path):
    # longer than an address may be
    directory = tmp_path / ("x" * 120)
    directory.mkdir()
    return str(directory / "ave-oven.sock")


@pytest.fixture
def serve(path):
    """Open a channel with this answer; it is closed with the test."""
    opened = []

    def begin(answer=lambda request, talk: talk.say({"heard": request})):
        opened.append(Channel(path, answer))
        opened[-1].open()
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def test_it_answers_and_nobody_else_may_reach_it(serve, path):
    serve()
    assert ask(path, "status") == {"heard": {"what": "status"}}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_an_answer_that_it_cannot_is_an_error(serve, path):
    serve(lambda _request, talk: talk.say({"error": "no"}))
    with pytest.raises(ConnectionFailed, match="no"):
        ask(path, "anything")


def test_another_user_is_turned_away(serve, path, monkeypatch):
    serve()
    real = channel._CREDENTIALS

    class Credentials:
        size = real.size

        @staticmethod
        def unpack(data):
            pid, _, group = real.unpack(data)
            return pid, 4711, group

    monkeypatch.setattr(channel, "_CREDENTIALS", Credentials)
    with pytest.raises(ConnectionFailed, match="not that of user 4711"):
        ask(path, "status")


def test_descriptors_pass(serve, path):
    read, write = os.pipe()
    serve(lambda _request, talk: talk.say({"names": ["out"]}, [write]))
    talk = Talk.begin(path)
    talk.say({"what": "hand-over"})
    assert talk.hear(5) == {"names": ["out"]}
    [passed] = talk.descriptors
    assert not os.get_inheritable(passed)
    os.write(passed, b"through")
    assert os.read(read, 10) == b"through"
    talk.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(passed)
    os.close(read)
    os.close(write)


def test_a_new_one_takes_the_path_and_the_old_one_leaves_it_alone(serve, path):
    old, new = serve(lambda _r, talk: talk.say({"it": "old"})), serve(lambda _r, talk: talk.say({"it": "new"}))
    assert ask(path, "status") == {"it": "new"}
    assert not old.is_there()
    old.close()
    assert new.is_there()
    new.close()
    assert not os.path.exists(path)
    with pytest.raises(ConnectionRefused, match="nobody answers"):
        ask(path, "status")


def test_silence_is_a_time_out_and_an_end_is_noticed(serve, path):
    leave = threading.Event()
    serve(lambda _request, _talk: leave.wait(10))
    talk = Talk.begin(path)
    talk.say({"what": "status"})
    with pytest.raises(ConnectionTimeout):
        talk.hear(0.01)
    leave.set()
    with pytest.raises(ConnectionClosed):
        talk.hear(10)
    talk.close()


def test_the_death_of_a_peer_is_noticed_though_a_child_of_it_holds_the_other_end(path):
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            one = Channel(path, lambda _request, _talk: signal.pause())
            one.open()
            if os.fork() == 0:
                signal.alarm(20)
                signal.pause()
            os.write(say, b"!")
            signal.pause()
        finally:
            os._exit(0)
    os.read(ready, 1)
    talk = Talk.begin(path)
    talk.say({"what": "status"})
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        talk.hear(10)
    os.waitpid(pid, 0)
    talk.close()
    os.close(ready)
    os.close(say)


@pytest.mark.parametrize("noise", [b"", b"no JSON", b"[]", b"\xff" * 1000])
def test_noise_harms_nobody(serve, path, noise):
    serve(lambda request, talk: talk.say({"heard": request}))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock, channel._short(path) as near:
        sock.connect(near)
        sock.send(noise)
        wait_until(lambda: len([thread for thread in threading.enumerate() if thread.name == "channel-talk"]) <= 1)
    assert ask(path, "status") == {"heard": {"what": "status"}}


def test_an_answer_that_is_no_message_is_told(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock, channel._short(path) as near:
        sock.bind(near)
        sock.listen()
        talk = Talk.begin(path)
        peer, _ = sock.accept()
        with peer:
            peer.send(b"no JSON")
            with pytest.raises(ProtocolError, match=r"no JSON: b'no JSON'"):
                talk.hear(5)
        talk.close()


def test_a_peer_that_has_no_number_here_is_answered(serve, path, monkeypatch):
    # in a container, one outside of it is process 0
    monkeypatch.setattr(channel, "Process", lambda _pid: os.pidfd_open(0))
    serve()
    assert ask(path, "status") == {"heard": {"what": "status"}}
