"""Jobs that do what jobs should not: none hangs vcsjob, loses output, or changes a result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import harsh_jobs
import pytest
from harsh_jobs import Jobs
from scale import scaled

import vcsjob
from ave.exceptions import UsageError
from ave.lab.processes import start_of
from ave.testing import children, wait_until
from vcsjob import terminal

ROOT = str(Path(__file__).parents[2])
GUID = "20261122-harsh-jobs"


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path)


@pytest.fixture
def short_silence(monkeypatch):
    monkeypatch.setattr(terminal, "SILENCE_S", 0.2)


def is_alive(pid):
    return start_of(pid) is not None


def gone(pids):
    assert pids
    wait_until(lambda: not any(map(is_alive, pids)), what="the children to die")


class TestFloods:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", harsh_jobs.KINDS)
    def test_all_of_a_flood_is_in_the_log_in_order_and_memory_stays_flat(self, jobs, home, kind):
        count = scaled(500 if kind == "lines" else 200) * 1_000_000 // 65_536
        jobs.write(harsh_jobs.flood(kind, count), sys.executable)
        (home / ".ave" / "config").mkdir(parents=True, mode=0o700)
        (home / ".ave" / "config" / "panotti.json").write_text('{"console": true}')
        ended = subprocess.run(
            [sys.executable, harsh_jobs.__file__, str(jobs.root), GUID],
            env={"PYTHONPATH": ROOT, "AVE_HOME": str(home)},
            capture_output=True,
            check=True,
        )
        result, grown_kib, _ = map(int, ended.stdout.split())
        assert (result, ended.stderr) == (vcsjob.OK, b"")
        assert harsh_jobs.first_difference(jobs.log_path, kind, count) == -1
        assert grown_kib < 8 * 1024

    def test_the_end_of_a_flood_by_many_is_there(self, jobs):
        script = "for n in 1 2 3 4; do (seq 100000 | sed s/^/$n:/) & done; wait; echo the end"
        assert jobs.run(script) == vcsjob.OK
        lines = jobs.output.split(b"\r\n")
        assert lines[-2:] == [b"the end", b""]
        for n in b"1234":
            # writes of one process come in order; those of several are cut where the terminal was full
            assert lines.count(b"%c:100000" % n) <= 1
        assert len(b"".join(lines)) == len("the end") + 4 * sum(len(f"1:{n}") for n in range(1, 100_001))

    def test_nul_bytes_and_no_line_end_at_all(self, jobs):
        assert jobs.run("head -c 1000000 /dev/zero") == vcsjob.OK
        assert jobs.output == bytes(1_000_000)


class TestChildren:
    def test_two_hundred_of_them_are_hung_up_with_the_job(self, jobs):
        script = f"for n in $(seq 200); do sleep 100 & echo $! >> {jobs.root}/pids; done; exit 3"
        assert jobs.run(script) == 3
        assert len(jobs.pids("pids")) == 200
        gone(jobs.pids("pids"))

    def test_two_hundred_that_ignore_signals_die_when_time_runs_out(self, jobs):
        script = f"""
            trap '' TERM HUP INT
            for n in $(seq 200); do (while :; do sleep 100; done) & echo $! >> {jobs.root}/pids; done
            while :; do sleep 100; done
        """
        assert jobs.run(script, timeout=1.5) == vcsjob.TIMEOUT
        gone(jobs.pids("pids"))

    def test_what_two_hundred_say_at_the_end_is_there(self, jobs):
        script = "trap '' HUP; for n in $(seq 200); do (sleep 0.2; echo child $n) & done; echo done"
        assert jobs.run(script) == vcsjob.OK
        lines = jobs.output.split(b"\r\n")
        # on a busy machine, the first one speaks before the last one is there
        assert sorted(lines) == sorted([b"", b"done", *(b"child %d" % n for n in range(1, 201))])

    @pytest.mark.usefixtures("short_silence")
    def test_a_daemon_that_keeps_the_terminal_costs_a_silence_and_is_left_alone(self, jobs):
        # a session of its own is what a daemon asks for, and so it outlives its job
        script = f"setsid sh -c 'echo $$ > {jobs.root}/pids; exec sleep 100' &"
        assert jobs.run(f"{script}\nwhile [ ! -s {jobs.root}/pids ]; do sleep 0.01; done; exit 4") == 4
        [daemon] = jobs.pids("pids")
        assert is_alive(daemon)
        os.kill(daemon, signal.SIGKILL)

    def test_a_daemon_that_let_go_of_the_terminal_costs_nothing(self, jobs, monkeypatch):
        monkeypatch.setattr(terminal, "SILENCE_S", 60)
        monkeypatch.setattr(terminal, "DRAIN_S", 60)
        script = f"setsid sh -c 'echo $$ > {jobs.root}/pids; exec sleep 100' < /dev/null > /dev/null 2>&1 &"
        assert jobs.run(f"{script}\nwhile [ ! -s {jobs.root}/pids ]; do sleep 0.01; done; exit 4") == 4
        [daemon] = jobs.pids("pids")
        assert is_alive(daemon)
        os.kill(daemon, signal.SIGKILL)

    @pytest.mark.slow
    def test_a_child_that_floods_after_the_end_is_read_for_five_seconds(self, jobs):
        began = time.monotonic()
        assert jobs.run("trap '' HUP; yes & echo main; exit 6", interpreter="/bin/bash") == 6
        assert terminal.DRAIN_S <= time.monotonic() - began < 4 * terminal.DRAIN_S
        assert jobs.output.startswith(b"main\r\n") or b"\r\nmain\r\n" in jobs.output
        assert len(jobs.output) > 1_000_000

    @pytest.mark.usefixtures("short_silence")
    def test_none_is_left_to_be_waited_for(self, jobs):
        had = children()
        for script in (
            "sleep 100 &",
            "trap '' HUP; sleep 1 &",
            "set -m; sleep 100 &",
            "exec >&- 2>&- <&-; sleep 100 &",
        ):
            assert jobs.run(script, interpreter="/bin/bash") == vcsjob.OK
        assert children() <= had


class TestSignals:
    def test_a_job_that_ignores_sigterm_is_killed_when_time_runs_out(self, jobs):
        script = f"trap 'echo no' TERM INT HUP; echo $$ > {jobs.root}/pids; while :; do sleep 0.05; done"
        assert jobs.run(script, timeout=0.5) == vcsjob.TIMEOUT
        gone(jobs.pids("pids"))

    def test_a_job_that_kills_its_whole_group_is_killed(self, jobs):
        assert jobs.run("sleep 100 & kill -KILL 0") == vcsjob.KILLED

    def test_a_job_cannot_reach_its_scheduler_with_a_signal_to_its_group(self, jobs):
        assert jobs.run("trap '' TERM; kill -TERM 0; exit 3") == 3


class TestWhatIsNoJob:
    @pytest.fixture
    def odd(self, jobs):
        jobs.write("echo ran")
        (jobs.dir / "bare").write_text("echo ran\n")
        (jobs.dir / "empty").write_bytes(b"")
        (jobs.dir / "damaged").write_bytes(b"\x7fELF" + bytes(60))
        for name in ("bare", "empty", "damaged"):
            (jobs.dir / name).chmod(0o755)
        (jobs.dir / "plain").write_text("#!/bin/sh\necho ran\n")
        (jobs.dir / "dir").mkdir()
        (jobs.dir / "out").symlink_to("/bin/echo")
        (jobs.dir / "nowhere").symlink_to("missing")
        os.mkfifo(jobs.dir / "pipe")
        return jobs

    def execute(self, jobs, path):
        return vcsjob.execute_job(str(jobs.dir), {"path": path}, log_path=str(jobs.log_path), guid=GUID)

    @pytest.mark.parametrize("path", ["bare", "empty", "damaged"])
    def test_a_file_that_no_kernel_runs_is_not_run_and_both_log_and_story_say_why(self, odd, spool, path):
        from ave.testing import read_spool

        assert self.execute(odd, path) == vcsjob.NORUN
        assert odd.output.startswith(b"[Errno 8] Exec format error: ")
        end = read_spool(spool).records[-1].body
        assert (end["name"], end["result"]) == ("job.end", "vcsjob.NORUN")
        assert end["reason"].encode() + b"\n" == odd.output

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("plain", "file is not executable: "),
            ("dir", "no such file: "),
            ("pipe", "no such file: "),
            ("nowhere", "no such file: "),
            ("out", "job path is not inside the job tree: "),
            ("../jobs2/job", "job path is not inside the job tree: "),
            ("../../../../../../../../../bin/echo", "job path is not inside the job tree: "),
        ],
    )
    def test_what_may_not_run_is_refused_before_anything_is_touched(self, odd, spool, path, message):
        odd.log_path.write_text("an earlier run")
        with pytest.raises(UsageError, match=f"^{message}"):
            self.execute(odd, path)
        assert odd.log_path.read_text() == "an earlier run"
        assert not os.path.exists(spool)
