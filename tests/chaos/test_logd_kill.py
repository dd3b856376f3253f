"""R6: ave-logd may die anywhere; what it left is taken up by the next start, with nothing lost and nothing twice."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from forked import (
    CALLS,
    GUID,
    around_call,
    assert_balances,
    assert_nothing_lost_nothing_twice,
    at_point,
    die,
    kept,
    points,
    segments,
    stored,
)
from scale import SCALE, dice, scaled
from scene import assert_scene_is_stored

from ave import spool as emit
from ave.record import segment_of
from ave.testing import wait_until

pytestmark = pytest.mark.slow

#: Times that each point is the one at which ave-logd dies, counted from its first reach; the promise names 5.
REPEATS = 1 if SCALE < 5 else 5


@pytest.fixture
def dies(home, scene, logd, drain):
    """Let ave-logd die by a fault, and another one go on; tell whether the first one died at all."""

    def run(fault):
        spool = scene()
        first = logd("--once", fault=fault)
        code = first.wait()
        assert code in {-signal.SIGKILL, 0}, first.said()
        drain()
        assert_scene_is_stored(home, spool)
        return code == -signal.SIGKILL

    return run


def test_r6_there_are_enough_points():
    assert len(points()) == len(set(points())), "a name stands for one place"
    assert len(points()) + 2 * len(CALLS) >= 25


@pytest.mark.parametrize("count", range(1, REPEATS + 1))
@pytest.mark.parametrize("point", points())
def test_r6_it_may_die_at_every_point(point, count, dies):
    died = dies(at_point(point, count))
    assert died or count > 1, f"void: {point} was never reached"


@pytest.mark.parametrize("when", ["after"] if SCALE < 5 else ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_r6_it_may_die_around_every_file_operation(call, when, dies):
    assert dies(around_call([call], 1, **{when: die})), f"void: {call} was never called"


def test_r6_it_may_die_before_any_file_operation(dies):
    random = dice("R6 operations")
    numbers = random.sample(range(2, 200), min(198, scaled(150)))
    died = [dies(around_call(CALLS, n, before=die)) for n in numbers]
    assert sum(died) >= len(numbers) // 2, "void: there are not as many operations"


def test_r6_what_it_removed_is_not_taken_for_lost_even_if_the_cursors_are(home, scene, logd, drain):
    spool = scene()
    assert logd("--once", fault=at_point("segment-unlinked", 1)).wait() == -signal.SIGKILL
    shutil.rmtree(f"{spool}/cursors")
    drain()
    assert_scene_is_stored(home, spool)


def test_r6_it_may_die_at_any_moment_while_jobs_emit(home, logd, drain, job):
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
    assert_nothing_lost_nothing_twice(home)
    assert segments(home) == []
    assert_balances(home)


def test_r6_a_job_that_is_silent_for_long_goes_on_in_the_segment_it_has(home, logd, drain):
    for n in range(3):
        emit.append("shout", GUID, {"n": n}, source="test", home=str(home))
        drain()  # all that is there is delivered and in the books: what is final goes
        assert sorted(body["n"] for _, body in stored(home).values()) == list(range(n + 1))
    assert len({segment_of(found) for found in stored(home)}) == len(segments(home)) == 1
    emit.close()
    drain()
    assert segments(home) == []
    assert_balances(home)


def _age(pid):
    """Return for how many seconds a process has been there (proc(5), stat: starttime)."""
    with open(f"/proc/{pid}/stat") as stat, open("/proc/uptime") as uptime:
        began = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return float(uptime.read().split()[0]) - began
