"""What a scheduler says for a run: its work in this process, in others and over RPC, and links both ways."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ave import context, scheduler
from ave.exceptions import AveException, UsageError
from ave.lab.config import bootstrap
from ave.network import Control, RemoteControl, find_free_port
from ave.panotti import shout
from ave.scheduler import link, new_guid, work
from ave.testing import read_spool
from tests.forgetting import forget

ROOT = str(Path(__file__).parents[1])
GUID = "run-0123456789"
OTHER = "flash-0123456789"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home in which shouts are wanted, and no run around the test."""
    for name in ("VCSJOB_GUID", "TRACEPARENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setattr(scheduler, "_told", set())
    bootstrap(str(tmp_path))
    return tmp_path


@pytest.fixture
def kept(home):
    """A function that returns what the spool has, in order of time."""
    return lambda: sorted(read_spool(str(home / ".ave" / "spool")).records, key=lambda record: record.time)


@pytest.fixture
def events(kept):
    """A function that returns the GUID and body of each event."""
    return lambda: [(record.guid, record.body) for record in kept() if record.kind == "event"]


class Bench(Control):
    """A service that does a part of somebody's work."""

    @Control.rpc
    def erase(self):
        shout(None, {"title": "erasing"})
        with work(None, "erase") as erase:
            erase.log("gone")
            return erase.span

    @Control.rpc
    def refuse(self):
        raise AveException("no such handset")


@pytest.fixture
def bench():
    control = Bench(find_free_port())
    control.start(synchronize=True)
    yield RemoteControl(("", control.port), timeout=10)
    os.kill(control.pid, signal.SIGKILL)
    control.join()


# Work


def test_work_is_told_with_its_start_end_outcome_duration_and_log(kept):
    with work(GUID, "flash", handset="yuga", build=1234) as flash:
        flash.log("erasing\nwriting\r\n")
        flash.log(b"\xff done")
        flash.dimensions["speed"] = 7.5
    start, *log, end = kept()
    assert {record.guid for record in kept()} == {GUID}
    assert {record.source for record in kept()} == {"scheduler"}
    assert start.body == {
        "name": "work.start",
        "work": "flash",
        "span": flash.span,
        "dimensions": {"handset": "yuga", "build": 1234},
    }
    assert [(record.kind, record.body) for record in log] == [
        ("log", {"stream": "flash", "text": text, "span": flash.span}) for text in ("erasing", "writing", "\\xff done")
    ]
    assert 0 < end.body.pop("duration") < 10
    assert end.body == {
        "name": "work.end",
        "work": "flash",
        "span": flash.span,
        "outcome": "ok",
        "dimensions": {"handset": "yuga", "build": 1234, "speed": 7.5},
    }


def test_an_exception_is_recorded_as_failure_and_goes_on(events):
    with pytest.raises(ZeroDivisionError) as raised, work(GUID, "flash"):
        raise ZeroDivisionError("of the handset")
    assert raised.value.args == ("of the handset",)
    end = events()[-1][1]
    assert end["outcome"] == "failed"
    details = end["exception"]
    assert (details["type"], details["message"]) == ("ZeroDivisionError", "of the handset")
    assert details["trace"][-1][3] == 'raise ZeroDivisionError("of the handset")'


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_the_block_ends_the_work(events, error):
    with pytest.raises(error), work(GUID, "flash"):
        raise error
    assert events()[-1][1]["outcome"] == "failed"


def test_an_exception_that_cannot_even_be_described_goes_on_as_it_is(events):
    class Rude(AveException):
        def __init__(self):
            pass

        def __str__(self):
            raise ValueError

    with pytest.raises(Rude), work(GUID, "flash"):
        raise Rude
    assert events()[-1][1]["exception"]["type"] == "Rude"


def test_an_outcome_may_be_said(events):
    with work(GUID, "flash") as flash:
        flash.outcome = "not needed"
    assert events()[-1][1]["outcome"] == "not needed"


def test_in_the_block_the_run_is_the_current_one_and_afterwards_no_more(kept):
    with work(GUID, "flash"):
        shout(None, {"title": "writing"})
        assert context.current_guid() == GUID
    assert context.current_guid() is None
    shout(None, {"title": "not of this run"})
    assert [record.guid for record in kept() if record.kind == "shout"] == [GUID]


def test_work_may_be_a_part_of_other_work_even_for_another_run(events):
    with work(GUID, "prepare") as prepare:
        with work(None, "flash") as flash:
            pass
        with work(OTHER, "charge") as charge:
            pass
    told = [(guid, body["name"], body["work"], body.get("parent")) for guid, body in events()]
    assert told == [
        (GUID, "work.start", "prepare", None),
        (GUID, "work.start", "flash", prepare.span),
        (GUID, "work.end", "flash", prepare.span),
        (OTHER, "work.start", "charge", prepare.span),
        (OTHER, "work.end", "charge", prepare.span),
        (GUID, "work.end", "prepare", None),
    ]
    assert len({prepare.span, flash.span, charge.span}) == 3


def test_threads_work_for_runs_of_their_own(events):
    barrier = threading.Barrier(4)

    def prepare(number):
        with work(f"{GUID}-{number}", "flash"):
            barrier.wait(10)
            shout(None, {"number": number})
            assert context.current_guid() == f"{GUID}-{number}"

    threads = [threading.Thread(target=prepare, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((guid, body["name"]) for guid, body in events()) == [
        (f"{GUID}-{number}", name) for number in range(4) for name in ("work.end", "work.start")
    ]


def test_tasks_work_for_runs_of_their_own(kept):
    async def prepare(number):
        with work(f"{GUID}-{number}", "flash"):
            await asyncio.sleep(0)
            shout(None, {"number": number})

    async def prepare_all():
        await asyncio.gather(*map(prepare, range(3)))

    asyncio.run(prepare_all())
    shouts = [(record.guid, record.body["number"]) for record in kept() if record.kind == "shout"]
    assert sorted(shouts) == [(f"{GUID}-{number}", number) for number in range(3)]


def test_work_may_end_in_another_context_than_it_began_in(events):
    flash = work(GUID, "flash")
    contextvars.copy_context().run(flash.__enter__)
    flash.__exit__(None, None, None)
    assert [body["name"] for _, body in events()] == ["work.start", "work.end"]


def test_work_is_entered_once(events):
    flash = work(GUID, "flash")
    with flash:
        pass
    with pytest.raises(UsageError, match="the work 'flash' has begun before"), flash:
        raise AssertionError("never reached")
    assert len(events()) == 2


# In other processes


def test_a_forked_child_that_leaves_the_block_does_not_end_the_work(kept):
    parent = os.getpid()
    try:
        with work(GUID, "flash") as flash:
            child = os.fork()
            if child == 0:
                flash.log("said by the child")
                with work(None, "erase"):
                    sys.exit(0)
            os.waitpid(child, 0)
    finally:
        if os.getpid() != parent:
            os._exit(0)
    told = [(record.pid, record.body.get("name", record.kind), record.body.get("work")) for record in kept()]
    assert told == [
        (parent, "work.start", "flash"),
        (child, "log", None),
        (child, "work.start", "erase"),
        (child, "work.end", "erase"),
        (parent, "work.end", "flash"),
    ]


CHILD = """
import vcsjob
from ave.panotti import shout
from ave.scheduler import work
shout(vcsjob.get_guid(), {"title": "from the child"})
with work(None, "erase") as erase:
    shout(None, {"title": "from its part of the work"})
    erase.log("gone")
"""


@pytest.mark.parametrize("guid", [GUID, "körning-0123456789"])
def test_a_program_started_in_the_block_joins_in(kept, tmp_path, monkeypatch, guid):
    monkeypatch.setenv("AVE_HOME", "/nowhere")
    with work(guid, "flash", home=str(tmp_path)) as flash:
        subprocess.run([sys.executable, "-c", CHILD], env=flash.environment(), check=True)
    assert {record.guid for record in kept()} == {guid}
    erase = next(record for record in kept() if record.body.get("work") == "erase")
    assert erase.body["parent"] == flash.span
    assert erase.pid != os.getpid()
    assert sorted(record.kind for record in kept()) == ["event"] * 4 + ["log"] + ["shout"] * 2
    assert "VCSJOB_GUID" not in os.environ, "this process's own environment stays as it is"


def test_work_that_has_not_begun_has_no_environment_to_give():
    with pytest.raises(UsageError, match="the work 'flash' has not begun; enter it first"):
        work(GUID, "flash").environment()


def test_work_of_no_run_starts_programs_of_no_run(monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    with work("", "flash") as flash:
        assert "VCSJOB_GUID" not in flash.environment()


def test_work_without_a_guid_is_that_of_the_job_that_does_it(events, monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    with work(None, "flash"):
        pass
    assert [guid for guid, _ in events()] == [GUID] * 2


def test_a_service_works_for_the_run_it_is_called_for(kept, bench):
    with work(GUID, "flash") as flash:
        span = bench.erase()
    told = [record for record in kept() if record.source != "rpc"]
    assert {record.guid for record in told} == {GUID}
    assert [record.body["title"] for record in told if record.kind == "shout"] == ["erasing"]
    erase = next(record.body for record in told if record.body.get("work") == "erase")
    assert erase["span"] == span
    assert erase["parent"] not in {"", flash.span}, "between the two is the call"


def test_a_service_started_in_the_block_does_not_serve_that_run_for_ever(kept):
    with work(GUID, "install"):
        control = Bench(find_free_port())
        control.start(synchronize=True)
    try:
        with RemoteControl(("", control.port), timeout=10) as remote:
            remote.erase()
    finally:
        os.kill(control.pid, signal.SIGKILL)
        control.join()
    assert {record.body.get("work") for record in kept()} == {"install"}


def test_a_call_that_fails_in_the_block_is_told_by_both_under_the_run(kept, bench):
    with pytest.raises(AveException), work(GUID, "flash"):
        bench.refuse()
    [call] = [record for record in kept() if record.kind == "exception"]
    end = kept()[-1].body
    assert call.guid == GUID
    assert end["exception"]["message"] == call.body["exception"]["message"] == "no such handset"


KILLED = """
import sys, time
from ave.scheduler import work
with work(sys.argv[1], "flash"):
    print("begun", flush=True)
    time.sleep(600)
"""


def test_of_a_scheduler_that_is_killed_the_start_is_kept(events):
    process = subprocess.Popen([sys.executable, "-c", KILLED, GUID], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.communicate()
    assert [body["name"] for _, body in events()] == ["work.start"]


# Links


def test_a_link_is_kept_under_both_runs(events):
    link(GUID, OTHER, "flashed by")
    assert events() == [
        (GUID, {"name": "link", "other": OTHER, "relation": "flashed by"}),
        (OTHER, {"name": "link", "other": GUID, "relation": "flashed by", "inverse": True}),
    ]


def test_a_link_without_a_guid_is_that_of_the_current_run(events):
    with work(GUID, "prepare"):
        link(None, OTHER, "flashed by")
    assert [guid for guid, body in events() if body["name"] == "link"] == [GUID, OTHER]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GUID, GUID, "repeats"), f"a run cannot be linked to itself: {GUID}"),
        ((GUID, None, "repeats"), "a link needs the GUID of another run and a relation to it, found None"),
        ((GUID, OTHER, ""), "a link needs the GUID of another run and a relation to it, found ''"),
        ((17, OTHER, "repeats"), "a GUID is a text of at least 10 characters, found 17"),
    ],
)
def test_a_link_that_makes_no_sense_is_refused(events, arguments, message):
    with pytest.raises(UsageError) as raised:
        link(*arguments)
    assert str(raised.value) == message
    assert events() == []


# The border to the work


@pytest.mark.parametrize("name", ["", None, 7])
def test_work_has_a_name(name):
    with pytest.raises(UsageError, match="the name of work must be a text, found"):
        work(GUID, name)


def test_a_short_guid_is_told_once_and_the_work_is_done(kept, capfd):
    for _ in range(2):
        with work("short", "flash") as flash:
            flash.log("text")
        link("short", OTHER, "flashed by")
        link(GUID, "short", "flashed by")
    assert kept() == []
    assert capfd.readouterr().err == (
        "ave.scheduler: nothing is kept of the run 'short': its GUID has fewer than 10 characters\n"
    )


def test_a_spool_that_takes_nothing_hinders_no_work_and_is_told_once(tmp_path, capfd):
    (tmp_path / "file").touch()
    with work(GUID, "flash", home=str(tmp_path / "file")) as flash:
        flash.log("a line")
        done = True
    link(GUID, OTHER, "flashed by", home=str(tmp_path / "file"))
    assert done
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("ave.scheduler: not kept: ")


@pytest.mark.parametrize("text", ["", b"", None])
def test_nothing_to_log_is_no_record(kept, text):
    with work(GUID, "flash") as flash:
        flash.log(text)
    assert len(kept()) == 2


def test_without_room_for_its_log_the_end_of_the_work_is_kept_still(home, kept, capfd):
    config = home / ".ave" / "config" / "panotti.json"
    config.write_text(json.dumps({"enabled": True, "spool": {"quota_bytes": 200_000}}))
    forget()
    with work(GUID, "flash") as flash:
        for _ in range(300):
            flash.log("x" * 1000)
    told = capfd.readouterr().err
    assert told.startswith("ave.scheduler: not kept: ")
    assert told.count("\n") == 1
    kinds = [record.kind for record in kept()]
    assert 0 < kinds.count("log") < 300
    assert kinds.count("event") == 2


def test_secrets_among_the_dimensions_are_masked(events):
    with work(GUID, "flash", api_token="s3cret-value"):
        pass
    assert "s3cret" not in str(events())


def test_guids_are_new_and_tell_their_time_and_name():
    guids = {new_guid() for _ in range(1000)} | {new_guid("nightly") for _ in range(1000)}
    assert len(guids) == 2000
    assert sum(guid.startswith("nightly-2") for guid in guids) == 1000
    assert min(map(len, guids)) >= 10


def test_its_import_costs_little():
    heavy = {"typing", "dataclasses", "subprocess", "logging", "uuid", "ave.network", "vcsjob"}
    code = f"import sys, ave.scheduler; print(*{heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"
