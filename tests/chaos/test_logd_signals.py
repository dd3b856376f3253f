"""R22: SIGTERM at any moment loses nothing and ends within 5 s; a broken configuration changes nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from itertools import count
from pathlib import Path
from threading import Event

import pytest
from forked import DATABASE, assert_balances, assert_nothing_lost_nothing_twice, kept, segments, stored, write_settings
from scale import dice, scaled

from ave import home as homes
from ave import spool as emit
from ave.lab import config
from ave.lab.daemon.signals import Signals
from ave.lab.stores.embedded import EmbeddedStore
from ave.testing import wait_until

pytestmark = pytest.mark.slow

PROGRAM = str(Path(__file__).parents[2] / "daemons" / "ave-logd")


def locked(home):
    """Keep the store locked as long as the result is open."""
    db = sqlite3.connect(f"{home}/{DATABASE}", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    return closing(db)


def pause(random, longest):
    """Let a random time pass: the moment is what is drawn."""
    until = time.monotonic() + random.uniform(0, longest)
    wait_until(lambda: time.monotonic() >= until)


def test_r22_a_sigterm_at_any_moment_loses_nothing_and_ends_in_time(home, logd, job, drain):
    random = dice("R22")
    jobs = [job(f"job-{number}", pace_s=0.002) for number in range(3)]
    serving = logd()
    wait_until(lambda: stored(home))
    slowest = 0.0
    for n in range(scaled(300)):
        with locked(home) if n % 30 == 7 else nullcontext():
            for _ in range(random.randrange(4)):
                pause(random, 0.05)
                serving.send(signal.SIGHUP)
            pause(random, 0.1)
            began = time.monotonic()
            serving.send(signal.SIGTERM)
            assert serving.wait() == 0, serving.said()
            slowest = max(slowest, time.monotonic() - began)
        serving = logd()
    serving.send(signal.SIGTERM)
    assert serving.wait() == 0
    assert slowest <= 5.0
    for one in jobs:
        one.send(signal.SIGTERM)
        assert one.wait() == 0
    drain()
    assert_nothing_lost_nothing_twice(home)
    assert segments(home) == []
    assert_balances(home)


def test_r22_a_store_that_hangs_does_not_hold_up_the_end(home, logd, job, drain):
    def hang(_store, _batch):
        sys.stderr.write("it hangs\n")
        Event().wait()

    def fault():
        EmbeddedStore.put = hang

    job("job", 200).wait()
    serving = logd(fault=fault)
    wait_until(lambda: "it hangs" in serving.said())
    began = time.monotonic()
    serving.send(signal.SIGTERM)
    assert serving.wait() == 0, serving.said()
    assert time.monotonic() - began <= 5.0
    # it is the work itself that gives up on the store, and then brings its books to an end
    assert "embedded does not answer; ending without it" in serving.said()
    drain()
    assert len(stored(home)) == 200
    assert_nothing_lost_nothing_twice(home)
    assert segments(home) == []
    assert_balances(home)


def test_r22_a_storm_of_signals_is_weathered(home, logd):
    serving = logd()
    wait_until(lambda: "serving" in serving.said())
    for _ in range(scaled(20_000)):
        serving.send(signal.SIGHUP)
        time.sleep(0)
    serving.send(signal.SIGTERM)
    assert serving.wait(5) == 0


def test_r22_a_signal_may_come_at_any_step_of_the_wait_for_signals(fork):
    """A lock that a handler needs and the wait holds would never be free: the two are one thread."""

    def hang_up_at(step, signals):
        """Wait for signals, and send one before this step of the wait; return what came, and whether it got there."""
        steps = count(1)

        def trace(frame, event, _):
            frame.f_trace_opcodes = frame.f_code is Signals.wait.__code__
            if event == "opcode" and next(steps) == step:
                signal.raise_signal(signal.SIGHUP)
            return trace

        signals.ring()  # something else wakes it meanwhile
        sys.settrace(trace)
        came = signals.wait(0)
        sys.settrace(None)
        return came | signals.wait(0), next(steps) > step

    def work():
        signals = Signals()
        signals.install()
        for step in count(1):
            came, is_sent = hang_up_at(step, signals)
            assert came == ({signal.SIGHUP} if is_sent else set()), step
            if not is_sent:
                assert step > 30
                break

    one = fork(work)
    assert one.wait(20) == 0, one.said()


def test_r22_the_program_itself_ends_well_however_early_it_is_told(home, job, drain):
    random = dice("R22 program")
    config.bootstrap(str(home))
    job("job", 200).wait()
    for _ in range(scaled(60)):
        command = [sys.executable, PROGRAM, "--home", str(home)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
            wait_until(lambda: _takes_signals(program.pid))
            pause(random, 0.4)
            program.send_signal(signal.SIGHUP)
            pause(random, 0.1)
            program.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, said = program.communicate()
            assert program.returncode == 0, said
            assert time.monotonic() - began <= 5.0
    drain()
    assert len(stored(home)) == 200
    assert_nothing_lost_nothing_twice(home)
    assert_balances(home)


def _takes_signals(pid):
    """Tell whether a process has said what becomes of SIGHUP: it blocks or catches it (proc(5), status)."""
    with open(f"/proc/{pid}/status") as status:
        masks = [int(line.split()[1], 16) for line in status if line.startswith(("SigBlk:", "SigCgt:"))]
    return any(mask >> (signal.SIGHUP - 1) & 1 for mask in masks)


BROKEN = {
    "no JSON": ("panotti", "{"),
    "unknown key": ("logd", '{"retries": 1}'),
    "wrong type": ("panotti", '{"enabled": "yes"}'),
    "unknown store": ("decibel", '{"url": "pigeon://x"}'),
}


def contents(home):
    """Return all that is in the spool: its directories, and its files with their contents."""
    found = Path(homes.ave(str(home), "spool")).rglob("*")
    return {path: path.is_file() and path.read_bytes() for path in found}


@pytest.mark.parametrize("broken", BROKEN)
def test_r22_a_start_with_a_broken_configuration_touches_no_spool_file(broken, home, logd, drain):
    emit.append("shout", "20261122-nightly-17", {"n": 1}, source="test", home=str(home))
    emit.close()
    before = contents(home)
    write_settings(home, *BROKEN[broken])
    for arguments in ([], ["--once"]):
        one = logd(*arguments)
        assert one.wait() == 2
        assert one.said().startswith(f"ave-logd: {homes.config_file(BROKEN[broken][0], str(home))}: ")
    assert contents(home) == before
    os.unlink(homes.config_file(BROKEN[broken][0], str(home)))
    write_settings(home, "panotti", '{"enabled": true}')
    drain()
    assert len(stored(home)) == 1


@pytest.mark.parametrize("broken", BROKEN)
def test_r22_a_reload_of_a_broken_configuration_keeps_the_old_one(broken, home, logd, job):
    serving = logd()
    working = job("job", pace_s=0.002)
    wait_until(lambda: stored(home))
    before = homes.read(homes.config_file("panotti", str(home)))
    assert before["enabled"]
    write_settings(home, *BROKEN[broken])
    serving.send(signal.SIGHUP)
    wait_until(lambda: "the old configuration stays" in serving.said())
    more = len(kept(home)) + 50
    wait_until(lambda: len(stored(home)) >= more)
    working.send(signal.SIGTERM)
    assert working.wait() == 0
    wait_until(lambda: segments(home) == [])
    serving.send(signal.SIGTERM)
    assert serving.wait() == 0
    os.unlink(homes.config_file(BROKEN[broken][0], str(home)))
    write_settings(home, "panotti", '{"enabled": true}')
    assert_nothing_lost_nothing_twice(home)
    assert_balances(home)
