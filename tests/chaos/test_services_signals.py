"""Signals, starts, stops and restarts in all orders, several at once: never two serve, and the next start works."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from contextlib import suppress

import pytest
from scale import dice, scaled

from ave import spool as emit
from ave.exceptions import AveException
from ave.lab.audit import audit
from ave.lab.config import bootstrap
from ave.lab.daemon import command, pidfile
from ave.lab.logd.program import LogdService
from ave.network import RemoteControl, find_free_port
from ave.testing import wait_until
from tests.lab.daemon.ovens import OvenService, end, is_running

pytestmark = pytest.mark.slow

GUID = "20261122-nightly-17"

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1)


@pytest.fixture
def oven(home):
    service = OvenService(str(home))
    service.port = find_free_port()
    yield service
    end(service)


def forked(act):
    """Do something in a process of its own; whether it works is not asked."""
    pid = os.fork()
    if pid == 0:
        try:
            with suppress(AveException):
                act()
        finally:
            os._exit(0)
    return pid


def sound(oven):
    """Assert that the next start works, whatever was before, and that what it starts serves."""
    command.stop(oven, 5.0)
    pid = oven.start()
    with RemoteControl(("", oven.port), None, 20, optimist=False) as remote:
        assert remote.pid() == pid
    assert "TWO" not in oven.notes.read_text()


def named(oven):
    """Send a signal to whoever serves at this moment."""

    def send(number):
        process = pidfile.serving(oven.path("pid"))
        if process is not None:
            with process:
                process.send(number)

    return send


@pytest.mark.parametrize(
    "numbers", [*itertools.permutations(SIGNALS[:4], 2)], ids=lambda two: "-".join(n.name for n in two)
)
def test_two_signals_in_every_order_leave_one_that_ends_or_serves(numbers, oven):
    pid = oven.start()
    for number in numbers:
        os.kill(pid, number) if is_running(pid) else None
    wait_until(lambda: not is_running(pid), 20)
    sound(oven)


def test_everything_at_once_ends_with_a_home_in_which_the_next_start_works(oven):
    random = dice("services")
    send = named(oven)
    for _ in range(scaled(60)):
        acts = [
            oven.start,
            lambda: oven.start(take_over=True),
            lambda: oven.start(take_over=True),
            lambda: command.stop(oven, 2.0),
            *(lambda number=number: send(number) for number in SIGNALS),
        ]
        children = []
        for act in random.choices(acts, k=5):
            children.append(forked(act))
            threading.Event().wait(random.uniform(0, 0.1))  # the moment is what is drawn
        for pid in children:
            os.waitpid(pid, 0)
        assert "TWO" not in oven.notes.read_text() if oven.notes.exists() else True
    sound(oven)


def test_a_signal_that_comes_during_a_restart_reaches_who_serves_in_the_end(oven):
    random = dice("services restart")
    for _ in range(scaled(40)):
        old = oven.start(take_over=True)
        starter = forked(lambda: oven.start(take_over=True))
        threading.Event().wait(random.uniform(0, 0.1))  # as above
        command.stop(oven, 5.0)
        os.waitpid(starter, 0)
        assert not is_running(old)
        command.stop(oven, 5.0)  # the start may have been the later of the two
        assert not pidfile.is_locked(oven.path("pid"))


def test_r22_signals_and_restarts_of_a_daemon_lose_nothing(home):
    random = dice("services R22")
    bootstrap(str(home))
    service = LogdService(str(home))
    job = forked(lambda: shouting(str(home)))
    try:
        for _ in range(scaled(300)):
            with suppress(AveException):
                service.start(take_over=True)
            for _ in range(random.randrange(3)):
                named(service)(random.choice([signal.SIGHUP, signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1]))
        os.kill(job, signal.SIGTERM)
        os.waitpid(job, 0)
        command.stop(service)
        service.start()
        wait_until(lambda: audit(str(home), GUID).waiting == 0, 30)
        found = audit(str(home), GUID)
        assert found.ok
        assert sum(row.emitted for row in found.rows) > scaled(300)
    finally:
        end(service)


def shouting(home):
    """Emit until SIGTERM."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    for n in itertools.count():
        emit.append("shout", GUID, {"n": n}, source="test", home=home)
        signal.sigtimedwait([], 0.002)
        if ended:
            emit.close()
            return
