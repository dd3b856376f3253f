"""`ave show`: the story of a run, in order of time, with the totals right and nothing in it acting on the terminal."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calling import GUID, MEASURED, NOON, SECOND, shown, started

from ave.lab.cli import course
from ave.record import KINDS, Record
from ave.testing import wait_until

HOSTILE = "\x1b[31mred\x1b[0m \x9b2J [red]markup[/red] \u202egnp.exe\u202c \r\x07 :smile:"


def start(made, at=0.0, **more):
    return made(
        "event",
        {"name": "job.start", "exe": "/lab/nightly/run", "log": "/lab/job.log", "profiles": None},
        at=at,
        **more,
    )


def end(made, at=9.0, status=0, **body):
    return made("event", {"name": "job.end", "status": status, "duration": 12.3456, **body}, at=at)


def verdict(made, name, result="passed", at=1.0, **body):
    return made("verdict", {"suite": "radio", "name": name, "result": result, "attempt": 1, **body}, at=at)


def test_the_story_is_in_order_of_time_and_ends_with_result_duration_and_totals(ave, store, made):
    trace = [["radio.py", 3, "play", "tune(self)"], ["tuner.py", 14, "tune", None]]
    store.put(
        [
            end(made, status=5),
            start(made),
            made("shout", {"title": "Flashed", "build": 1234}, at=0.5),
            *(verdict(made, f"test_{number}", at=1 + number / 100) for number in range(7)),
            verdict(made, "test_plays", "failure", at=1.5, message="noise\nis not music", duration=0.25),
            verdict(made, "test_later", "skipped", at=1.6),
            made("exception", {"exception": {"type": "OSError", "message": "gone", "trace": trace}}, at=2),
            made("artifact", {"op": "put", "key": "screen.png", "size": 2048, "type": "image/png"}, at=3),
        ]
    )
    ran = ave("show", GUID)
    assert (
        ran.out
        == f"""\
GUID: {GUID}

2026-11-22 (UTC+0000)
12:00:00.000  start       /lab/nightly/run
                          log: /lab/job.log
                          on lab1, pid 4711
12:00:00.500  shout       Flashed
                          build: 1234
12:00:01.000  verdicts    7 passed, 1 failure, 1 skipped
12:00:01.500  failure     radio :: test_plays (0.25 s)
                          noise
                          is not music
12:00:02.000  exception   OSError: gone
                            radio.py:3 in play
                              tune(self)
                            tuner.py:14 in tune
12:00:03.000  artifact    screen.png (image/png, 2 KiB)
12:00:09.000  end         FAILURES after 12.3 s

FAILURES in 12.3 s; 9 tests: 7 passed, 1 failure, 1 skipped; 1 shout, 1 exception, 1 artifact
"""
    )
    assert (ran.code, ran.err) == (0, "")


def last_line(ran):
    return ran.out.splitlines()[-1]


def test_flaky_and_missing_are_derived(ave, store, made):
    store.put(
        [
            made(
                "event", {"name": "collected", "cases": [{"suite": "radio", "name": name} for name in ("a", "b", "c")]}
            ),
            verdict(made, "a", "failure", message="not yet"),
            verdict(made, "a", at=2, attempt=2),
            verdict(made, "b", at=3),
        ]
    )
    ran = ave("show", GUID)
    assert re.search(r"flaky +radio :: a, attempt 2\n", ran.out)
    assert "missing: radio :: c: collected" in ran.out
    assert "3 tests: 1 passed, 1 flaky, 1 missing" in last_line(ran)


def test_pieces_of_a_long_body_are_one_record_and_one_verdict(ave, store, made):
    head = verdict(made, "a", "failure", message="m" * 1024, _marks=[{"path": "message", "was": "long"}])
    more = {
        "_continues": head.id,
        "path": "message",
        "offset": 1024,
        "text": "\nthe end",
        "length": 1032,
        "sha256": "-",
    }
    store.put([head, made("verdict", more, at=1.1), made("verdict", {"_continues": "somebody-1", "fields": {}}, at=2)])
    ran = ave("show", GUID)
    assert "the end" in ran.out
    assert "; 1 test: 1 failure" in last_line(ran)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"status": 0}, "OK in 12.3 s"),
        ({"status": 7, "signal": 9}, "KILLED by signal 9 in 12.3 s"),
        ({"status": 42}, "exit status 42 in 12.3 s"),
        ({"status": 2, "reason": "no such interpreter", "duration": None}, "NORUN in 9 s"),
    ],
)
def test_the_last_line_says_how_the_job_ended(ave, store, made, body, said):
    store.put([start(made), end(made, **body)])
    ran = ave("show", GUID)
    assert last_line(ran) == f"{said}; no tests"
    assert body.get("reason", "") in ran.out


def test_several_jobs_under_one_guid_are_counted(ave, store, made):
    store.put([start(made), end(made), start(made, at=10), end(made, at=15, status=5)])
    assert last_line(ave("show", GUID)) == "2 jobs: 1 OK, 1 FAILURES in 15 s; no tests"


def test_a_run_without_a_job_says_so(ave, store, made):
    store.put([made("shout", {"a": 1}), made("shout", {"a": 2}, at=5)])
    assert last_line(ave("show", GUID)) == "no job, 5 s from the first record to the last; no tests; 2 shouts"


def began(made, pid):
    record = start(made, host=os.uname().nodename, pid=pid)
    return Record(**record.as_dict() | {"time": time.time_ns()})


def test_a_job_whose_process_is_there_is_still_running(ave, store, made):
    store.put([began(made, os.getpid())])
    assert last_line(ave("show", GUID)).startswith("still running, started 0")


def test_a_job_whose_process_is_gone_never_ended(ave, store, made):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    store.put([began(made, done.pid)])
    assert "abandoned, " in last_line(ave("show", GUID))


def test_a_job_whose_process_is_hidden_from_this_user_is_still_running(ave, store, made, monkeypatch):
    def hidden(pid):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), f"/proc/{pid}/stat")

    monkeypatch.setattr(course, "start_of", hidden)
    store.put([began(made, os.getpid())])
    assert last_line(ave("show", GUID)).startswith("still running, ")


def test_a_process_younger_than_the_record_is_another_one(ave, store, made):
    store.put([start(made, host=os.uname().nodename, pid=os.getpid(), at=-(NOON / SECOND) + 1e9)])
    assert "abandoned, " in last_line(ave("show", GUID))


def test_of_several_jobs_the_one_without_an_end_is_found_by_its_process(ave, store, made):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    killed = Record(**began(made, done.pid).as_dict() | {"time": NOON + SECOND})
    host = {"host": killed.host, "pid": 1}
    store.put([start(made, **host), killed, Record(**end(made, at=9).as_dict() | host)])
    ran = ave("show", GUID)
    assert last_line(ran) == "2 jobs: 1 OK, 1 abandoned; no tests"
    assert re.search(rf"\njob: /lab/nightly/run abandoned, started .* by process {done.pid} on ", ran.out)


def test_only_ten_linked_runs_are_summed_up(ave, store, made):
    store.put([link(made, GUID, f"flash-{number:010}") for number in range(12)])
    ran = ave("show", GUID)
    assert ran.out.count("\nlinked: flashed by flash-") == 10
    assert "\nlinked: and 2 more; --linked tells of all\n" in ran.out


def test_work_that_is_a_part_of_other_work_is_indented(ave, store, made):
    store.put(
        [
            work(made, span="1"),
            work(made, at=1, name="erase", span="2", parent="1"),
            work(made, at=2, name="erase", span="2", parent="1", outcome="failed", exception="none"),
            work(made, at=3, span="1", outcome="ok"),
            work(made, at=4, name="later", span="3", parent="1"),
            work(made, at=5, name="loop", span="4", parent="4"),
        ]
    )
    texts = re.findall(r"work        (.*)\n(?: {26}(.*))?", ave("show", GUID).out)
    assert texts == [
        ("flash begins", ""),
        ("  erase begins", ""),
        ("  erase failed", "  none"),
        ("flash ok", ""),
        ("later begins", ""),
        ("                loop begins", ""),
    ]


def test_a_job_on_another_host_is_not_ended_and_no_more_is_known(ave, store, made):
    store.put([start(made, host="far-away")])
    assert re.match(r"not ended, started .* ago by process 4711 on far-away;", last_line(ave("show", GUID)))


def test_output_and_calls_are_told_shortly(ave, store, made):
    lines = [made("stderr", {"stream": "stderr", "text": f"line {number}\n"}, at=number / 10) for number in range(30)]
    calls = [made("trace", {"method": "list", "peer": "h", "outcome": "ok"}, at=number / 10) for number in range(3)]
    figures = [made("measurement", {"table": "boots", "row": {"n": number}}, at=3) for number in range(2)]
    store.put([*lines, *calls, made("metric", {"values": {}}, at=1), *figures])
    ran = ave("show", GUID)
    assert re.findall(r"stderr +(.*)\n", ran.out) == [
        *(f"line {number}" for number in range(5)),
        "20 more lines",
        *(f"line {number}" for number in range(25, 30)),
    ]
    assert re.search(r"trace +3 calls\n", ran.out)
    assert "12:00:03.000  measured    2 measurements\n" in ran.out, "in the column of all others"


def test_what_is_missing_of_the_output_is_said(ave, store, made):
    lost = {"name": "log.lost", "log": "/lab/job.log", "bytes": 4096, "reason": "No space left on device"}
    store.put([made("log", {"text": "end", "left_out": 7}), made("event", lost, at=1)])
    out = ave("show", GUID).out
    assert "log         (7 lines left out) end\n" in out
    assert "lost        4 KiB of the log /lab/job.log: No space left on device\n" in out


def test_a_gap_says_how_much_is_missing_and_why(ave, store, made):
    gap = {"segment": "ab", "first": 3, "last": 14, "count": 12, "kinds": {"shout": 10, "trace": 2}, "reason": "quota"}
    store.put([made("gap", gap)])
    assert "12 not kept (10 shout, 2 trace): quota; ab, 3 to 14" in ave("show", GUID).out


def test_a_new_day_is_said(ave, store, made):
    store.put([made("shout", {"a": 1}), made("shout", {"a": 2}, at=86400)])
    assert re.findall(r"^2026.*", ave("show", GUID).out, re.MULTILINE) == [
        "2026-11-22 (UTC+0000)",
        "2026-11-23 (UTC+0000)",
    ]


def test_a_message_of_ten_thousand_lines_is_cut_and_says_so(ave, store, made):
    message = "\n".join(f"line {number}" for number in range(1000)) + "x" * 5000
    store.put([verdict(made, "a", "failure", message=message)])
    ran = ave("show", GUID)
    assert len(ran.out) < 5000
    assert "960 lines more, all with --json" in ran.out
    assert "line 999x" in ran.out


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("value", [None, 7, "text", [], ["x", [1]], {"a": {"b": None}}, True, -1e308, "\ud800"])
def test_no_body_is_too_strange(ave, store, made, kind, value):
    keys = (
        "name",
        "status",
        "duration",
        "result",
        "message",
        "attempt",
        "kinds",
        "count",
        "table",
        "row",
        "size",
        "op",
        "bytes",
        "left_out",
    )
    bodies = [dict.fromkeys(keys, value), {}, {"exception": {"type": value, "message": value, "trace": value}}]
    bodies += [
        {
            **dict.fromkeys(("cases", "status", "exe", "work", "span", "outcome", "dimensions"), value),
            "name": name,
            "other": value,
            "relation": value,
            "inverse": value,
            "exception": value,
            "ci": value,
            "traceparent": value,
        }
        for name in ("job.start", "job.end", "log.lost", "collected", "work.start", "work.end", "link")
    ]
    bodies.append({"name": "job.start", "ci": dict.fromkeys(("system", "number", "cicd.pipeline.name"), value)})
    store.put([made(kind, json.loads(json.dumps(body).replace("\\ud800", "?"))) for body in bodies])
    ran = ave("show", GUID)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_hostile_text_does_nothing_to_a_terminal(store, made, columns):
    store.put(
        [
            made("shout", {"title": HOSTILE, HOSTILE: HOSTILE}),
            verdict(made, HOSTILE, "failure", message=HOSTILE, trace=HOSTILE),
            made(
                "exception",
                {"exception": {"type": HOSTILE, "message": HOSTILE, "trace": [[HOSTILE, 1, HOSTILE, HOSTILE]]}},
            ),
            made("event", {"name": "job.end", "status": HOSTILE}, host=HOSTILE),
        ]
    )
    for arguments in (("show", GUID), ("find",)):
        ran = shown(*arguments, columns=columns)
        assert set(re.findall(r"\x1b\[?[\d;]*.?", ran.out)) <= {
            "\x1b[1m",
            "\x1b[2m",
            "\x1b[0m",
            "\x1b[36m",
            "\x1b[1;31m",
        }
        # what a colour is written with is all there is of control characters
        assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e]", ran.out)
    assert "[red]markup[/red]" in shown("show", GUID, columns=200).out
    assert r"\u202egnp.exe" in shown("show", GUID, columns=200).out


def test_on_a_terminal_text_is_folded_beside_its_label(store, made):
    store.put([made("shout", {"title": "word " * 40})])
    wide = [line for line in shown("show", GUID, columns=80).out.splitlines() if "word" in line]
    assert len(wide) == 4
    assert all(line.startswith(" " * 26 + "word") for line in wide[1:])
    narrow = [line for line in shown("show", GUID, columns=40).out.splitlines() if "word" in line]
    assert all(line.startswith("  word") and len(line) <= 40 for line in narrow)


def test_colour_is_for_terminals_that_want_it(store, made, monkeypatch):
    store.put([verdict(made, "a", "failure")])
    assert "\x1b[1;31mfailure" in shown("show", GUID).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in started("show", GUID).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in shown("show", GUID).out


# Work, links, builds


def work(made, at=0.0, name="flash", span="1", by=None, **body):
    step = "end" if "outcome" in body else "start"
    return made("event", {"name": f"work.{step}", "work": name, "span": span, **body}, at=at, **by or {})


def test_preparatory_work_is_told_with_its_log_its_duration_and_its_failure(ave, store, made):
    flash = {"dimensions": {"handset": "yuga"}}
    error = {"type": "RunError", "message": "no device", "trace": [["flash.py", 7, "flash", "run(cmd)"]], "cmd": "x"}
    store.put(
        [
            work(made, **flash),
            *(
                made("log", {"stream": "flash", "text": f"block {number}", "span": "1"}, at=1 + number / 10)
                for number in range(12)
            ),
            work(made, at=4, outcome="ok", duration=4.0, **flash),
            work(made, at=5, name="charge", span="2"),
            work(made, at=6, name="charge", span="2", outcome="failed", duration=1.0, exception=error),
            start(made, at=7),
            end(made),
        ]
    )
    ran = ave("show", GUID)
    told = re.sub(r"(?m)^[\d:.]+ +", "", ran.out)
    assert told.endswith(
        """\
work        flash begins (handset: yuga)
log         block 0
log         block 1
log         block 2
log         block 3
log         block 4
log         2 more lines
log         block 7
log         block 8
log         block 9
log         block 10
log         block 11
work        flash ok after 4 s (handset: yuga)
work        charge begins
work        charge failed after 1 s
                          RunError: no device
                            flash.py:7 in flash
                              run(cmd)
                          cmd: x
start       /lab/nightly/run
                          log: /lab/job.log
                          on lab1, pid 4711
end         OK after 12.3 s

OK in 12.3 s; no tests; work: 1 ok, 1 failed
"""
    )


def test_work_that_nobody_ends_any_more_is_abandoned(ave, store, made):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    host = os.uname().nodename
    works = [work(made, span=str(pid), by={"host": host, "pid": pid}) for pid in (done.pid, os.getpid())]
    store.put([Record(**record.as_dict() | {"time": time.time_ns()}) for record in works])
    ran = ave("show", GUID)
    assert re.search(r"\nwork: flash abandoned, started .* ago by process \d+ on .*, which is gone\n", ran.out)
    assert re.search(r"\nwork: flash still running, started .* ago by process", ran.out)
    assert last_line(ran).endswith("; work: 1 abandoned, 1 still running")


def test_a_job_whose_process_is_a_zombie_is_abandoned(ave, store, made):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: f"{dead.pid} (python" in (text := Path(f"/proc/{dead.pid}/stat").read_text()) and ") Z " in text)
    store.put([began(made, dead.pid)])
    assert "abandoned, " in last_line(ave("show", GUID))
    dead.wait()


def link(made, this, other, **body):
    return made("event", {"name": "link", "other": other, "relation": "flashed by", **body}, guid=this)


@pytest.fixture
def linked(store, made):
    store.put(
        [
            link(made, GUID, "flash-0123456789"),
            link(made, "flash-0123456789", GUID, inverse=True),
            work(made, at=-60, by={"guid": "flash-0123456789"}),
            made("shout", {"title": "other"}, guid="run-unlinked-1"),
        ]
    )


def test_the_story_of_either_run_names_the_other(ave, linked):
    this, other = ave("show", GUID), ave("show", "flash-0123456789")
    assert "link        flashed by flash-0123456789\n" in this.out
    assert re.search("\nlinked: flashed by flash-0123456789: work: 1 not ended\nno job, .*\n$", this.out)
    assert f"link        {GUID} flashed by this run\n" in other.out
    assert f"\nlinked: {GUID} flashed by this run: no job yet\n" in other.out


def test_linked_runs_are_told_behind_it_once_each_and_only_those(ave, linked):
    ran = ave("show", GUID, "--linked")
    assert re.findall(r"^GUID: (.*)", ran.out, re.MULTILINE) == [GUID, "flash-0123456789"]
    assert "flash begins" in ran.out
    records = [json.loads(line) for line in ave("show", GUID, "--linked", "--json").out.splitlines()]
    assert [record["guid"] for record in records] == [GUID, "flash-0123456789", "flash-0123456789"]
    assert len(ave("show", GUID, "--json").out.splitlines()) == 1


def test_a_linked_run_of_which_nothing_is_stored_yet_is_said(ave, store, made):
    store.put([link(made, GUID, "flash-not-yet")])
    ran = ave("show", GUID, "--linked")
    assert (ran.code, ran.err) == (0, "ave: nothing is stored of flash-not-yet, which is linked with it\n")


def test_the_start_says_to_which_build_and_trace_it_belongs(ave, store, made):
    ci = {
        "system": "gitlab",
        "cicd.pipeline.name": "radio/app",
        "cicd.pipeline.task.name": "bench",
        "cicd.pipeline.run.url.full": "https://gitlab.lab/-/pipelines/12",
        "number": "7",
        "vcs.ref.head.revision": "1ecfd275",
        "vcs.ref.head.name": "main",
    }
    record = start(made)
    record.body |= {"ci": ci, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    store.put([record])
    assert (
        """
                          build: gitlab, radio/app, bench, number 7
                            https://gitlab.lab/-/pipelines/12
                            commit 1ecfd275 on main
                          trace: 0af7651916cd43dd8448eb211c80319c
                          on lab1, pid 4711
"""
        in ave("show", GUID).out
    )


# JSON


def test_json_is_one_record_per_line_with_all_fields_in_order_and_nothing_else(ave, store, made):
    records = [start(made), made("shout", {"å": [1, {"b": None}]}, at=1), end(made)]
    store.put(records)
    ran = ave("show", GUID, "--json")
    decoded = [json.loads(line) for line in ran.out.splitlines()]
    assert decoded == [record.as_dict() for record in records]
    assert all(tuple(fields) == Record.FIELDS for fields in decoded)
    assert (ran.code, ran.err) == (0, "")


def test_json_on_a_terminal_is_ascii(store, made):
    store.put([made("shout", {"a": HOSTILE + "å"})])
    written = shown("show", GUID, "--json").out
    assert written.rstrip("\n").isprintable()
    assert written.isascii()
    assert json.loads(written)["body"] == {"a": HOSTILE + "å"}


def test_a_run_that_nothing_is_known_of_is_not_found(ave, home):
    for more in ((), ("--json",)):
        ran = ave("show", "run-unknown-1", *more)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("ave: nothing is stored of run-unknown-1; `ave audit run-unknown-1` tells")


@pytest.fixture
def large(store, made):
    """A run of 100,000 records."""
    body = {"text": "x" * 200}
    for _ in range(20):
        store.put([made("shout", body, at=1) for _ in range(5000)])


@pytest.mark.slow
def test_the_first_line_of_a_hundred_thousand_does_not_wait_for_the_others(large):
    ours = started("show", "run-unknown-1", "--json", program=MEASURED)
    line = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" show {GUID} --json | head -1', "-", *MEASURED],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert json.loads(line.stdout)["guid"] == GUID
    # a page of 4,000 records; all of them would be 100 MB
    assert int(line.stderr) - int(ours.err.split()[-1]) < 20_000
    # whoever reads has seen enough: that is no error
    assert line.returncode == 0


@pytest.mark.slow
def test_a_whole_story_takes_no_memory_for_its_records(large, store, made):
    ours = started("show", "run-unknown-1", program=MEASURED)
    ran = started("show", GUID, program=MEASURED)
    assert last_line(ran).endswith("100000 shouts")
    assert int(ran.err) - int(ours.err.split()[-1]) < 20_000
