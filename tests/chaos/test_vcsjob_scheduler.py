"""Schedulers that share a process, are killed, or have no disk to log to: each run still ends as it should."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import harsh_jobs
import pytest
from harsh_jobs import Jobs
from scale import scaled

import vcsjob
from ave.lab.cli.story import Story
from ave.testing import read_spool, wait_until

ROOT = str(Path(__file__).parents[2])
GUID = "20261122-scheduler"


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path)


def story_of(spool):
    """Return the last line that `ave show` would write."""
    story = Story()
    for _ in story.tell(read_spool(spool).records):
        pass
    return list(story.end())[-1].text


class TestThreads:
    def test_two_schedulers_in_one_process_do_not_meet(self, tmp_path, spool, monkeypatch):
        rounds, environments, wrong = scaled(100, least=10), [], []
        monkeypatch.setenv("SHARED", "shared")
        monkeypatch.setenv("VCSJOB_GUID", "of the caller itself")
        before = dict(os.environ)

        def schedule(name):
            jobs = Jobs(tmp_path / name)
            jobs.root.mkdir()
            jobs.write('echo "$VCSJOB_GUID $VCSJOB_PROFILES $VCSJOB_LOG_PATH"; exit $(cat "$0.status")')
            for n in range(rounds):
                guid, status = f"20261122-{name}-{n}", (n + len(name)) % 256
                (jobs.dir / "job.status").write_text(str(status))
                job = {"path": "job", "profiles": [{"type": name}]}
                got = vcsjob.execute_job(str(jobs.dir), job, ["SHARED"], str(jobs.log_path), guid)
                said = f'{guid} [{{"type": "{name}"}}] {jobs.log_path}\r\n'
                if (got, jobs.output.decode()) != (status, said):
                    wrong.append((got, status, jobs.output, said))
                environments.append(dict(os.environ))

        threads = [threading.Thread(target=schedule, args=(name,)) for name in ("one", "other")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert all(environment == before for environment in environments)
        events = [(record.guid, record.body["name"]) for record in read_spool(spool).records]
        assert len(events) == len(set(events)) == 4 * rounds

    def test_a_time_out_in_one_thread_leaves_the_other_its_job(self, tmp_path):
        results = {}

        def schedule(name, script, timeout):
            jobs = Jobs(tmp_path / name)
            jobs.root.mkdir()
            results[name] = jobs.run(script, timeout=timeout)

        calls = [("stuck", "sleep 60 & sleep 60", 0.3), ("patient", "sleep 0.8; exit 5", 0)]
        threads = [threading.Thread(target=schedule, args=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {"stuck": vcsjob.TIMEOUT, "patient": 5}


class TestKilled:
    @pytest.fixture
    def scheduler(self, jobs, home):
        """A scheduler in a process of its own, in the middle of a job that ignores what it can."""
        script = f"trap '' TERM; echo $$ > {jobs.root}/pids; echo up; while :; do sleep 0.05; done"
        jobs.write(script)
        process = subprocess.Popen(
            [sys.executable, harsh_jobs.__file__, str(jobs.root), GUID],
            env={"PYTHONPATH": ROOT, "AVE_HOME": str(home)},
        )
        wait_until(lambda: jobs.log_path.exists() and b"up" in jobs.log_path.read_bytes(), what="the job to be up")
        yield process
        process.kill()
        process.wait()

    def test_a_run_whose_scheduler_lives_is_running(self, scheduler, spool):
        assert story_of(spool).startswith("still running, ")

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT])
    def test_a_run_whose_scheduler_was_killed_is_abandoned_and_its_job_hung_up(self, scheduler, jobs, spool, number):
        scheduler.send_signal(number)
        # not waited for, as by a parent that does not care: a zombie
        os.waitid(os.P_PID, scheduler.pid, os.WEXITED | os.WNOWAIT)
        assert story_of(spool).startswith("abandoned, started ")
        assert f"by process {scheduler.pid} on {os.uname().nodename}, which is gone" in story_of(spool)
        [job] = jobs.pids("pids")
        wait_until(lambda: not os.path.exists(f"/proc/{job}"), what="the job to die of the hang-up")
        assert jobs.output == b"up\r\n"

    def test_an_interrupted_one_has_an_end(self, scheduler, spool):
        scheduler.send_signal(signal.SIGINT)
        scheduler.wait()
        assert story_of(spool).startswith("NORUN")


class TestLogs:
    @pytest.mark.parametrize("status", [0, 5, 255])
    def test_a_disk_that_fills_costs_output_and_nothing_else(self, jobs, spool, status, capfd):
        code = f"""
import json, resource, sys
from pathlib import Path
from harsh_jobs import Jobs
jobs = Jobs(Path({str(jobs.root)!r}))
jobs.write("head -c 3000000 /dev/zero; echo end; exit {status}")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
print(jobs.execute(guid={GUID!r}))
"""
        command = [
            sys.executable,
            "-c",
            f"import sys; sys.path[:0] = {[*sys.path, str(Path(__file__).parent)]!r}\n{code}",
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(ended.stdout) == status
        assert ended.stderr.count("\n") == 1
        assert "File too large" in ended.stderr
        assert jobs.log_path.stat().st_size == 1_000_000
        start, lost, end = (record.body for record in read_spool(spool).records)
        header = jobs.log_path.read_bytes().index(b"\n") + 1
        assert (lost["name"], lost["log"]) == ("log.lost", start["log"])
        assert lost["bytes"] == header + 3_000_000 + len("end\r\n") - 1_000_000
        assert end["status"] == status

    @pytest.mark.parametrize("where", ["below a file", "a directory", "no access", "too long"])
    def test_a_log_that_cannot_be_made_costs_output_and_nothing_else(self, jobs, spool, where, capfd):
        (jobs.root / "file").touch()
        (jobs.root / "directory").mkdir()
        path = {
            "below a file": f"{jobs.root}/file/log",
            "a directory": f"{jobs.root}/directory",
            "no access": "/proc/no/log",
            "too long": f"{jobs.root}/{'x' * 300}",
        }[where]
        assert jobs.run(f"echo said; touch {jobs.root}/ran; exit 5", log_path=path, guid=GUID) == 5
        assert (jobs.root / "ran").exists()
        assert capfd.readouterr().err.count("\n") == 1
        names = [record.body["name"] for record in read_spool(spool).records]
        assert names == ["job.start", "log.lost", "job.end"]

    def test_a_log_that_is_taken_away_meanwhile_stops_nothing(self, jobs):
        assert jobs.run(f"echo one; rm {jobs.log_path}; echo two; exit 5") == 5

    def test_a_pipe_for_stderr_that_nobody_reads_any_more_stops_nothing(self, jobs, spool, monkeypatch):
        read_end, write_end = os.pipe()
        os.close(read_end)
        # closing it is the last that fails
        with contextlib.suppress(BrokenPipeError), open(write_end, "w") as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            assert jobs.run("echo said; exit 5", log_path=None, guid=GUID) == 5
            monkeypatch.undo()
        assert [record.body["name"] for record in read_spool(spool).records] == ["job.start", "log.lost", "job.end"]
