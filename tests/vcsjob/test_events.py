"""The two records of a run, and that they are never the reason for a job not to run."""

import json
import os
import time

import pytest

import vcsjob
from ave.exceptions import UsageError
from ave.testing import read_spool
from vcsjob.joblog import JobLog

GUID = "guid-0123456789"


def test_a_run_with_a_guid_tells_its_start_and_its_end(tree, events, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    assert tree.run("exit 5", guid=GUID, env=["TZ"], job={"profiles": [{"type": "w"}]}) == vcsjob.FAILURES
    (guid, source, start), (_, _, end) = events()
    assert (guid, source) == (GUID, "vcsjob")
    assert start == {
        "name": "job.start",
        "exe": f"{tree.dir}/job",
        "profiles": [{"type": "w"}],
        "environment": {"TZ": "UTC", "LANG": "C.UTF-8"},
        "log": str(tree.log_path),
    }
    assert 0 < end.pop("duration") < 10
    assert end == {"name": "job.end", "status": 5, "result": "vcsjob.FAILURES"}


def test_a_secret_the_job_may_see_stays_out_of_the_record(tree, events, monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "s3cret-value")
    tree.run('echo "$DEPLOY_TOKEN"', guid=GUID, env=["DEPLOY_TOKEN"])
    assert tree.output == b"s3cret-value\r\n"
    assert "s3cret-value" not in str(events())


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 100", {"status": 100}),
        ("kill -9 $$", {"status": vcsjob.KILLED, "result": "vcsjob.KILLED", "signal": 9}),
        ("sleep 60", {"status": vcsjob.TIMEOUT, "result": "vcsjob.TIMEOUT", "timeout": 0.5}),
    ],
)
def test_the_end_tells_how(tree, events, script, told):
    tree.run(script, guid=GUID, timeout=0.5)
    end = events()[-1][2]
    del end["duration"]
    assert end == {"name": "job.end", **told}


def test_a_job_that_could_not_be_started_has_an_end_with_the_reason(tree, events):
    tree.run("", interpreter="/no/such/interp", guid=GUID)
    names, end = [body["name"] for *_, body in events()], events()[-1][2]
    assert names == ["job.start", "job.end"]
    assert (end["status"], end["result"]) == (vcsjob.NORUN, "vcsjob.NORUN")
    assert end["reason"].startswith("[Errno 2] No such file or directory")


def test_the_start_is_told_before_anything_the_job_says_is_logged(tree, events, monkeypatch):
    seen = []
    write = JobLog.write
    monkeypatch.setattr(JobLog, "write", lambda log, data: seen.append((data[:2], events())) or write(log, data))
    began = time.time_ns()
    tree.run("echo hi; date +%s%N", guid=GUID)
    assert [body["name"] for *_, body in dict(seen)[b"hi"]] == ["job.start"]
    start = read_spool(f"{os.environ['AVE_HOME']}/.ave/spool").records[0]
    assert began <= start.time < int(tree.output.split()[1])


def test_a_loss_of_output_is_told_before_the_end(tree, events):
    tree.add("job", "#!/bin/sh\necho 12345678; exit 5\n")
    full = vcsjob.execute_job(str(tree.dir), {"path": "job"}, log_path="/dev/full", guid=GUID)
    assert full == vcsjob.FAILURES
    lost, end = (body for *_, body in events()[1:])
    header = len(
        json.dumps({"environment": {"LANG": "C.UTF-8"}, "exe": f"{tree.dir}/job", "guid": GUID, "profiles": None})
    )
    assert lost == {
        "name": "log.lost",
        "log": "/dev/full",
        "bytes": len("vcsjob: ") + header + len("\n12345678\r\n"),
        "reason": "[Errno 28] No space left on device",
    }
    assert (end["name"], end["status"]) == ("job.end", 5)


def test_a_log_that_lost_nothing_is_not_spoken_of(tree, events):
    tree.run("echo fine", guid=GUID)
    assert [body["name"] for *_, body in events()] == ["job.start", "job.end"]


@pytest.mark.parametrize("guid", [None, ""])
def test_a_run_without_a_guid_tells_nothing(tree, events, capfd, guid):
    assert tree.run("true", guid=guid) == vcsjob.OK
    assert events() == []
    assert capfd.readouterr().err == ""


def test_a_short_guid_runs_but_is_not_recorded_and_stderr_says_why(tree, events, capfd):
    assert tree.run("echo $VCSJOB_GUID", guid="short") == vcsjob.OK
    assert tree.output == b"short\r\n"
    assert events() == []
    assert capfd.readouterr().err == (
        "vcsjob: WARNING: no records are kept of this run: its guid 'short' has fewer than 10 characters\n"
    )


def test_a_refused_call_tells_nothing(tree, events):
    with pytest.raises(UsageError):
        vcsjob.execute_job(str(tree.dir), {"path": "nope"}, guid=GUID)
    assert events() == []


def test_a_spool_that_cannot_be_made_stops_nothing_and_is_told_once(tree, home, capfd):
    home.mkdir()
    (home / ".ave").write_text("a file where a directory should be")
    assert tree.run("echo ran; exit 5", guid=GUID) == vcsjob.FAILURES
    assert tree.output == b"ran\r\n"
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"vcsjob: WARNING: job.start of {GUID} is not recorded: ")


def test_a_fault_in_the_spool_itself_stops_nothing(tree, monkeypatch, capfd):
    def fail(*_, **__):
        raise ZeroDivisionError("of its own making")

    monkeypatch.setattr("ave.spool.append", fail)
    assert tree.run("exit 5", guid=GUID) == vcsjob.FAILURES
    assert capfd.readouterr().err.count("of its own making") == 1


def test_a_home_that_does_not_exist_stops_nothing(tree, monkeypatch, capfd):
    monkeypatch.setenv("AVE_HOME", "/proc/no/such/home")
    assert tree.run("exit 5", guid=GUID) == vcsjob.FAILURES
    assert capfd.readouterr().err.count("\n") == 1
