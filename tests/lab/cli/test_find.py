"""`ave find` and `ave tail`: records by what is known of them, and as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from calling import GUID, PROGRAM, SECOND, shown, started

from ave.lab.stores import EmbeddedStore
from ave.record import Record
from ave.testing import wait_until


def ids(ran) -> list[int]:
    return [int(json.loads(line)["id"].rpartition("-")[2]) for line in ran.out.splitlines()]


@pytest.fixture
def filled(store, made):
    store.put(
        [
            made("event", {"name": "job.start", "exe": "/lab/nightly/run"}),
            made("verdict", {"suite": "s", "name": "a", "result": "passed"}, at=1),
            made("verdict", {"suite": "s", "name": "b", "result": "failure", "message": "No Route\nto host"}, at=2),
            made("event", {"name": "job.end", "status": 5, "result": "vcsjob.FAILURES"}, at=3),
            made("shout", {"title": "other"}, at=4, guid="run-another-one", host="lab2", source="panotti"),
        ]
    )


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("--oldest", [1, 2, 3, 4, 5]),
        ("--limit 2", [5, 4]),
        ("--oldest --limit 2", [1, 2]),
        ("--kind verdict", [3, 2]),
        ("--kind verdict --kind shout", [5, 3, 2]),
        (f"--guid {GUID}", [4, 3, 2, 1]),
        ("--host lab2", [5]),
        ("--source panotti", [5]),
        ("--job nightly", [4, 3, 2, 1]),
        ("--job nightly --kind verdict --result passed", [2]),
        ("--result failure", [3]),
        ("--result FAILURES", [4]),
        ("--text route", [3]),
        ("--since 2026-11-22T12:00:03Z", [5, 4]),
        ("--since 2026-11-22T12:00:01Z --until 2026-11-22T13:00:03+01:00", [3, 2]),
        ("--until 2026-11-22T12:00:01", [1]),
        ("--since 2026-11-22 --until 2026-11-23", [5, 4, 3, 2, 1]),
    ],
)
def test_every_condition_holds_for_what_is_found(ave, filled, conditions, found):
    ran = ave("find", "--json", *conditions.split())
    assert (ids(ran), ran.code, ran.err) == (found, 0, "")


@pytest.mark.parametrize(
    ("age", "found"), [("90s", [1]), ("30m", [1]), ("2h", [1, 2]), ("1.5 d", [1, 2, 3]), ("2w", [1, 2, 3, 4])]
)
def test_times_may_be_ages(ave, store, made, age, found):
    for number, ago_s in enumerate((30, 7000, 100_000, 1_000_000), 1):
        record = made("shout", {"number": number})
        store.put([Record(**record.as_dict() | {"time": time.time_ns() - ago_s * SECOND})])
    assert ids(ave("find", "--json", "--since", age)) == found


def test_times_without_a_zone_are_local(filled, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ran = started("find", "--json", "--since", "2026-11-22T21:00:03")
    assert ids(ran) == [5, 4]


@pytest.mark.parametrize("wrong", ["yesterday", "", "2h30", "2026-13-01", "-2h", "9" * 30 + "d", "0001-01-01"])
def test_a_time_that_is_none_is_a_usage_error(ave, filled, wrong):
    ran = ave("find", f"--since={wrong}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "is neither a time" in ran.err
    assert "`ave find --help` tells more" in ran.err


def test_each_record_is_one_line(ave, filled):
    assert (
        ave("find", "--oldest").out
        == f"""\
2026-11-22 12:00:00.000  start       {GUID}  lab1  /lab/nightly/run
2026-11-22 12:00:01.000  passed      {GUID}  lab1  s :: a
2026-11-22 12:00:02.000  failure     {GUID}  lab1  s :: b | No Route | to host
2026-11-22 12:00:03.000  end         {GUID}  lab1  FAILURES
2026-11-22 12:00:04.000  shout       run-another-one  lab2  other
"""
    )


def test_a_line_ends_where_the_terminal_does(filled):
    lines = shown("find", "--kind", "verdict", columns=60).out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("…")


def test_none_found_is_the_answer_no(ave, filled):
    ran = ave("find", "--text", "nobody said this")
    assert (ran.code, ran.out, ran.err) == (1, "", "ave: no record is like that\n")


def test_a_store_that_is_away_is_told_and_the_others_answer(ave, home, filled):
    with open(f"{home}/.ave/config/decibel.json", "w") as file:
        json.dump({"enabled": True, "url": "sqlite:///$HOME/verdicts"}, file)
    os.mkdir(f"{home}/verdicts")
    ran = ave("find", "--kind", "shout", "--json")
    assert (ids(ran), ran.code) == ([5], 0)
    assert ran.err.startswith("ave: warning: what is in the store")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_story_that_lacks_what_a_store_has_is_told_and_exit_code_1(ave, home, filled, options):
    whole = ave("show", GUID, *options)
    with open(f"{home}/.ave/config/decibel.json", "w") as file:
        json.dump({"enabled": True, "url": "sqlite:///$HOME/verdicts"}, file)
    os.mkdir(f"{home}/verdicts")
    ran = ave("show", GUID, *options)
    assert (ran.out, whole.code, ran.code) == (whole.out, 0, 1)
    assert ran.err.startswith("ave: warning: what is in the store")
    assert ran.err.count("\n") == 1


def test_no_store_at_all_is_the_answer_no(ave, home):
    os.mkdir(f"{home}/.ave/lab.db")
    for command in (("show", GUID), ("find",)):
        ran = ave(*command)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith(f"ave: {home}/.ave/lab.db: ")
        assert ran.err.count("\n") == 1


# ave tail


class Tail:
    """`ave tail` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([*PROGRAM, "tail", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.written = b""

    def lines(self) -> list[str]:
        self.written += self.process.stdout.read() or b""
        return self.written.decode().splitlines()

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, told = self.process.communicate(timeout=10)
        return self.process.returncode, told.decode()


@pytest.fixture
def tail():
    """Start `ave tail`; what is still running at the end is ended."""
    tails = []

    def start(*arguments: str) -> Tail:
        tails.append(Tail(*arguments))
        return tails[-1]

    yield start
    for each in tails:
        each.process.kill()
        each.process.communicate()


def recent(made, number: int, **other) -> Record:
    return Record(**made("shout", {"n": number}, **other).as_dict() | {"time": time.time_ns()})


def test_tail_begins_with_the_last_records_and_goes_on_with_new_ones(tail, store, made):
    store.put([made("shout", {"n": number}, at=number) for number in range(5)])
    following = tail("--lines", "2")
    wait_until(lambda: len(following.lines()) == 2)
    for number in (10, 11):
        store.put([recent(made, number)])
        wait_until(lambda number=number: following.lines()[-1].endswith(f"n: {number}"))
    assert [line.rpartition("  ")[2] for line in following.lines()] == ["n: 3", "n: 4", "n: 10", "n: 11"]
    assert following.end() == (0, "")


def test_tail_of_a_run_leaves_the_others_out(tail, store, made):
    store.put([made("shout", {"n": 0}), made("shout", {"n": 1}, guid="run-another-one")])
    following = tail(GUID, "--json")
    wait_until(lambda: len(following.lines()) == 1)
    store.put([recent(made, 2, guid="run-another-one"), recent(made, 3)])
    wait_until(lambda: len(following.lines()) == 2)
    assert [json.loads(line)["body"]["n"] for line in following.lines()] == [0, 3]
    assert list(json.loads(following.lines()[0])) == list(Record.FIELDS)


def test_tail_waits_for_a_store_that_is_away(tail, home, made):
    os.mkdir(f"{home}/.ave/lab.db")
    following = tail()
    told = following.process.stderr
    assert b"does not answer, trying on" in told.readline()
    os.rmdir(f"{home}/.ave/lab.db")
    store = EmbeddedStore(f"sqlite:///{home}/.ave/lab.db")
    store.put([recent(made, 7)])
    store.close()
    wait_until(lambda: following.lines() and following.lines()[-1].endswith("n: 7"))
    assert following.end() == (0, "")
