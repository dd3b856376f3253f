"""R6: ave-logd may die anywhere; what it left is taken up by the next start, with nothing lost and nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from forked import (  # noqa: F401 - some are fixtures
    CALLS,
    GUID,
    around_call,
    at_point,
    balances,
    configure,
    die,
    drain,
    fork,
    job,
    kept,
    logd,
    nothing_lost_nothing_twice,
    points,
    segments,
    stored,
)
from scale import SCALE, dice, scaled

from ave import home as homes
from ave.lab.logd.letters import DeadLetters
from ave.testing import wait_until
from tests.lab.logd.segments import footer, header, name, record, write

#: Times that each point is the one at which ave-logd dies, counted from its first reach; the promise names 5.
REPEATS = 1 if SCALE < 5 else 5

STORES = (".ave/lab.db", "search.db")


@pytest.fixture
def scene(home, logd):  # noqa: F811
    """Make a spool in which an ave-logd that drains it comes past every point, with two stores to bring it to."""
    spool = homes.ave(str(home), "spool")

    def make():
        shutil.rmtree(spool, ignore_errors=True)
        for database in STORES:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{home}/{database}{suffix}").unlink(missing_ok=True)
        text = "x" * 30_000
        write(spool, 1, header(), *(record(seq, body={"n": seq, "text": text}) for seq in range(1, 21)), footer(20))
        write(spool, 2, header(), record(1, of=name(2)), record(2, of=name(2), time=10**30), footer(2))
        write(spool, 3, header(), record(1, of=name(3)), b"damage\n", record(3, of=name(3)), footer(3))
        return spool

    configure(home, "elasticsearch", url="sqlite:///$HOME/search.db")
    return make


def check(home, spool):
    """Assert that everything of the scene is where it belongs, once."""
    expected = {f"{name(1)}-{seq}" for seq in range(1, 21)} | {f"{name(2)}-1", f"{name(3)}-1", f"{name(3)}-3"}
    for database in STORES:
        there = stored(home, database)
        assert {id_ for id_, (kind, _) in there.items() if kind == "shout"} == expected
        # a gap is told at least once
        assert {body["first"] for kind, body in there.values() if kind == "gap"} == {2}
    for store in os.listdir(f"{spool}/dead"):
        assert [letter.record.id for letter in DeadLetters(spool, store).read()] == [f"{name(2)}-2"]
    assert len(os.listdir(f"{spool}/dead")) == 2
    assert segments(home) == []
    found = balances(home, gaps=[(name(3), 2, 2)])
    assert [row.emitted for row in found.rows if row.kind == "shout"] == [24]


@pytest.fixture
def dies(home, scene, logd, drain):  # noqa: F811
    """Let ave-logd die by a fault, and another one go on; tell whether the first one died at all."""

    def run(fault):
        spool = scene()
        first = logd("--once", fault=fault)
        code = first.wait()
        assert code in {-signal.SIGKILL, 0}, first.said()
        drain()
        check(home, spool)
        return code == -signal.SIGKILL

    return run


def test_r6_there_are_enough_points():
    assert len(points()) == len(set(points())), "a name stands for one place"
    assert len(points()) + 2 * len(CALLS) >= 25


@pytest.mark.slow
@pytest.mark.parametrize("count", range(1, REPEATS + 1))
@pytest.mark.parametrize("point", points())
def test_r6_it_may_die_at_every_point(point, count, dies):
    died = dies(at_point(point, count))
    assert died or count > 1, f"void: {point} was never reached"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_r6_it_may_die_around_every_file_operation(call, when, dies):
    assert dies(around_call([call], 1, **{when: die})), f"void: {call} was never called"


@pytest.mark.slow
def test_r6_it_may_die_before_any_file_operation(dies):
    random = dice("R6 operations")
    numbers = random.sample(range(2, 200), min(198, scaled(150)))
    died = [dies(around_call(CALLS, n, before=die)) for n in numbers]
    assert sum(died) >= len(numbers) // 2, "void: there are not as many operations"


@pytest.mark.slow
def test_r6_it_may_die_at_any_moment_while_jobs_emit(home, logd, drain, job):  # noqa: F811
    random = dice("R6 random")
    jobs = [job(f"job-{number}", pace_s=0.001) for number in range(3)]
    for _ in range(scaled(300)):
        before = len(kept(home))
        serving = logd()
        age = random.uniform(0, 0.3)
        wait_until(lambda: len(kept(home)) > before and _age(serving.pid) > age)  # noqa: B023 - it runs here and now
        serving.send(signal.SIGKILL)
        assert serving.wait() == -signal.SIGKILL
    for one in jobs:
        one.send(signal.SIGTERM)
        assert one.wait() == 0, one.said()
    drain()
    assert len(kept(home)) > scaled(300)
    nothing_lost_nothing_twice(home)
    assert segments(home) == []
    balances(home)


def _age(pid):
    """Return for how many seconds a process has been there (proc(5), stat: starttime)."""
    with open(f"/proc/{pid}/stat") as stat, open("/proc/uptime") as uptime:
        began = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return float(uptime.read().split()[0]) - began
