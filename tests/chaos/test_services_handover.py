"""L3: a restart is invisible to clients, whatever process dies in the middle of it, and never do two work."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from scale import dice, scaled

from ave import io
from ave.exceptions import AveException, ConnectionClosed, ConnectionRefused
from ave.lab.daemon import served
from ave.network import RemoteControl, disconnect, find_free_port
from ave.testing import wait_until
from tests.lab.daemon.ovens import OvenService, end, gone, is_running

pytestmark = pytest.mark.slow

#: Where the two processes pass, in the order of time; see ave.lab.daemon.handover.
NEW = ("connected", "taken", "ready", "accepting", "working")
OLD = ("given", "paused", "rested")


class Client(threading.Thread):
    """Calls without pause: on one connection that it keeps, or on a new one each time.

    Attributes:
        cut: calls that were under way when the process that served them was killed; they were made again.
    """

    def __init__(self, port, *, keeps):
        super().__init__(daemon=True)
        self.remote = RemoteControl(("", port), None, 30, optimist=False)
        self.keeps = keeps
        self.calls = self.cut = 0
        self.failed = []
        self.pids = []
        self.ending = threading.Event()
        self.start()

    def run(self):
        while not self.ending.is_set():
            try:
                self.called(self.remote.pid())
            except ConnectionClosed:
                self.cut += 1
            except Exception as error:
                self.failed.append(error)
            if not self.keeps:
                disconnect(self.remote)
        disconnect(self.remote)

    def called(self, pid):
        self.calls += 1
        if pid not in self.pids[-1:]:
            self.pids.append(pid)


@pytest.fixture
def oven(home):
    """A service that serves, and one client of each kind that calls it."""
    service = OvenService(str(home))
    service.port = find_free_port()
    service.start()
    clients = [Client(service.port, keeps=True), Client(service.port, keeps=False)]
    wait_until(lambda: all(client.calls for client in clients))
    service.clients = clients
    yield service
    for client in clients:
        client.ending.set()
        client.join(30)
    end(service)
    assert [error for client in clients for error in client.failed] == []
    assert "TWO" not in service.notes.read_text()


def more_calls(oven):
    """Wait until each client has got a reply to a call that it made from now on."""
    wanted = [client.calls + 2 for client in oven.clients]
    wait_until(lambda: all(client.calls >= count for client, count in zip(oven.clients, wanted, strict=True)), 30)


def serving(oven):
    """Return the pid of who serves, once every client sees the same."""
    more_calls(oven)
    wait_until(lambda: len({client.pids[-1] for client in oven.clients}) == 1, 30)
    return oven.clients[0].pids[-1]


def served_by(oven, pid):
    """Wait until all clients are served by a process, and its work has begun."""
    wait_until(lambda: serving(oven) == pid, 30)
    wait_until(lambda: oven.notes.read_text().split()[-2:] == ["begin", str(pid)], 30)


def test_l3_restarts_refuse_and_fail_no_call_and_never_do_two_work(oven):
    pids = [serving(oven)]
    for _ in range(scaled(500)):
        pids.append(oven.start(take_over=True))
    served_by(oven, pids[-1])
    for pid in pids[:-1]:
        gone(pid)
    assert sum(client.cut for client in oven.clients) == 0
    assert len(set(pids)) == scaled(500) + 1
    words = oven.notes.read_text().split()
    assert words[::2] == [*["begin", "end"] * scaled(500), "begin"]
    assert words[1::2] == [str(pid) for pair in zip(pids, pids, strict=True) for pid in pair][:-1]


def kill_at(monkeypatch, point):
    """Let processes that are forked from now on be killed at a point."""
    here = os.getpid()

    def reached(name):
        if name == f"handover-{point}" and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(io, "reached", reached)


@pytest.mark.parametrize("point", NEW)
def test_l3_a_new_one_that_is_killed_leaves_the_old_one_serving(point, oven, monkeypatch):
    for _ in range(scaled(20, 1)):
        old = serving(oven)
        with monkeypatch.context() as patch:
            kill_at(patch, point)
            with pytest.raises(AveException, match="ended before it answered"):
                oven.start(take_over=True)
        served_by(oven, old)
        assert is_running(old)
        if point in {"connected", "taken", "ready"}:
            assert sum(client.cut for client in oven.clients) == 0, "it had no clients yet"
    oven.start(take_over=True)
    gone(old)


@pytest.mark.parametrize("point", OLD)
def test_l3_an_old_one_that_is_killed_leaves_the_rest_to_the_new_one(point, oven, monkeypatch):
    for n in range(scaled(20, 1)):
        with monkeypatch.context() as patch:
            kill_at(patch, point)
            old = oven.start(take_over=True)
        new = oven.start(take_over=True)
        served_by(oven, new)
        assert not is_running(old)
        # a call is cut off only if that very process served it
        assert sum(client.cut for client in oven.clients) <= (n + 1) * len(oven.clients)


@pytest.mark.parametrize("broken", ["prepare", "begin"])
def test_l3_a_new_one_that_fails_to_start_says_why_and_leaves_the_old_one_serving(broken, oven):
    old = serving(oven)
    oven.broken = broken
    why = {"prepare": "the oven is cold", "begin": "there is no flour"}[broken]
    for _ in range(3):
        with pytest.raises(AveException, match=why):
            oven.start(take_over=True)
    served_by(oven, old)
    assert sum(client.cut for client in oven.clients) == 0
    oven.broken = ""
    new = oven.start(take_over=True)
    served_by(oven, new)


def test_l3_a_new_one_that_is_told_to_end_while_it_waits_does_so_at_once(oven, monkeypatch):
    old = serving(oven)

    def reached(name):
        if name == "handover-ready":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(io, "reached", reached)
    with RemoteControl(("", oven.port), None, 30) as remote:
        remote.pid()
        baking = threading.Thread(target=remote.bake, args=(3,))
        baking.start()
        with pytest.raises(AveException, match="told to end before it had taken over"):
            oven.start(take_over=True)
        assert baking.is_alive(), "the old one was still busy, so the new one waited for it"
        baking.join()
    served_by(oven, old)


def test_l3_an_old_one_that_is_too_busy_to_hand_over_says_so_and_serves_on(oven, monkeypatch):
    monkeypatch.setattr(served, "HAND_S", 0.2)
    old = oven.start(take_over=True)
    served_by(oven, old)
    with RemoteControl(("", oven.port), None, 30) as remote:
        remote.pid()
        baking = threading.Thread(target=remote.bake, args=(2,))
        baking.start()
        with pytest.raises(AveException, match=r"does not hand over: a method of ave-oven takes longer than 0\.2 s"):
            oven.start(take_over=True)
        baking.join()
    served_by(oven, old)
    monkeypatch.undo()


def test_l3_kills_at_any_moment_end_with_one_that_serves(oven):
    random = dice("L3")
    for _ in range(scaled(40)):
        old = serving(oven)
        starter = os.fork()
        if starter == 0:
            try:
                oven.start(take_over=True)
            finally:
                os._exit(0)
        threading.Event().wait(random.uniform(0, 0.2))  # the moment is what is drawn
        if random.random() < 0.5:
            os.kill(old, signal.SIGKILL)
        os.waitpid(starter, 0)
        more_calls(oven)
    for client in oven.clients:
        # nobody listens if the old one is killed before it has handed the socket over
        client.failed = [error for error in client.failed if not isinstance(error, ConnectionRefused)]
