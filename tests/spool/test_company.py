"""append_later: which records wait for others, until when, and what becomes of them at every end of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ave import spool as spools
from ave.exceptions import SpoolFull
from ave.record import seq_of
from ave.spool import writer
from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])
GUID = "guid-of-company"


def later(n, guid=GUID):
    spools.append_later("trace", guid, lambda: f'{{"n":{n}}}', source="test")


def numbers(spool):
    return [record.body["n"] for record in read_spool(spool).records]


@pytest.fixture
def clock(monkeypatch):
    """The time that the spool sees, in a list of one; it stands still."""
    now = [1000.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    return now


def test_a_record_that_comes_alone_is_kept_at_once(spool, clock):
    for n in range(3):
        later(n)
        assert numbers(spool) == list(range(n + 1))
        clock[0] += 0.011


def test_records_that_come_thick_wait_for_a_full_write(spool, clock):
    for n in range(33):
        later(n)
    assert numbers(spool) == list(range(33))
    for n in range(33, 64):
        later(n)
    assert len(numbers(spool)) == 33
    later(64)
    assert numbers(spool) == list(range(65))


def test_no_record_waits_for_more_than_the_next_one_after_200_ms(spool, clock):
    for n in range(22):
        later(n)
        clock[0] += 0.0099
    assert numbers(spool) == [0]
    later(22)
    assert numbers(spool) == list(range(23))


@pytest.mark.parametrize(
    "other",
    [
        lambda: spools.append("log", GUID, {"n": 9}, source="test"),
        lambda: spools.append("log", GUID, {"n": 9, "x": {1: 2}}, source="test"),
        lambda: spools.append_all("log", GUID, [{"n": 9}], source="test"),
    ],
)
def test_every_other_record_comes_behind_those_that_waited(spool, clock, other):
    for n in range(4):
        later(n)
    other()
    assert numbers(spool) == [0, 1, 2, 3, 9]
    assert [seq_of(record.id) for record in read_spool(spool).records] == [1, 2, 3, 4, 5]


def test_each_has_the_time_and_the_run_it_came_with(spool, clock, monkeypatch):
    times = iter(range(10**18, 10**18 + 6))
    with monkeypatch.context() as patch:
        later(-1)
        patch.setattr(writer.time, "time_ns", lambda: next(times))
        for n in range(6):
            later(n, f"guid-of-run-{n // 2}")
        spools.flush()
    found = read_spool(spool).records[1:]
    assert [record.time - 10**18 for record in found] == [0, 1, 2, 3, 4, 5]
    assert [record.guid for record in found] == [f"guid-of-run-{n // 2}" for n in range(6)]


def test_one_whose_body_cannot_be_made_costs_itself_alone_and_is_counted(spool, clock):
    later(0)
    later(1)
    spools.append_later("trace", GUID, lambda: 1 / 0, source="test")
    later(2)
    spools.append("log", GUID, {"n": 3}, source="test")
    found = read_spool(spool).records
    assert [record.body.get("n") for record in found if record.kind != "gap"] == [0, 1, 2, 3]
    [gap] = [record.body for record in found if record.kind == "gap"]
    assert gap["kinds"] == {"trace": 1}


def test_what_there_is_no_room_for_is_counted_and_stops_nobody(spool, settings, clock):
    settings(quota_bytes=1)
    with pytest.raises(SpoolFull):
        later(0)
    later(1)
    later(2)
    with pytest.raises(SpoolFull, match="verdict"):
        spools.append("verdict", GUID, {"n": 3}, source="test")
    assert writer._emitter(None).refused[GUID] == {"trace": 3, "verdict": 1}


def test_the_end_of_the_spool_and_of_the_process_keep_what_waits(spool, clock):
    for n in range(3):
        later(n)
    spools.close()
    assert numbers(spool) == [0, 1, 2]
    code = """
        from ave import spool
        for n in range(3, 9):
            spool.append_later("trace", "guid-of-company", lambda n=n: '{"n":%d}' % n, source="test")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=True, timeout=60)
    assert sorted(numbers(spool)) == list(range(9))


def test_a_forked_child_leaves_to_its_parent_what_waits(spool, clock):
    for n in range(3):
        later(n)
    child = os.fork()
    if child == 0:
        later(10)
        spools.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert sorted(numbers(spool)) == [0, 10]
    spools.close()
    assert sorted(numbers(spool)) == [0, 1, 2, 10]


def test_a_signal_handler_may_keep_records_while_others_are_written(spool, clock):
    def handler(_signal, _frame):
        spools.append("log", GUID, {"n": 7}, source="test")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        later(0)
        for n in range(1, 4):
            later(n)
        spools.append_later("trace", GUID, lambda: os.kill(os.getpid(), signal.SIGUSR1) or '{"n":4}', source="test")
        later(5)
        spools.flush()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sorted(numbers(spool)) == [0, 1, 2, 3, 4, 5, 7]
