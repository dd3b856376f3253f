"""The worked scheduler of the documentation, run as a program with a daemon at work: its decisions and its stories."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ave.lab.config import bootstrap
from ave.testing import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "etc" / "examples" / "scheduler.py"
BIN = Path(sys.executable).parent

REPORTS = """#!/bin/sh
cat >results.xml <<END
<testsuite name="radio">
<testcase classname="radio" name="plays"/>
<testcase classname="radio" name="stops">{child}</testcase>
</testsuite>
END
exec python3 -c '
import sys, vcsjob
from ave.report import verdicts
verdicts("results.xml", vcsjob.get_guid())
sys.exit({status})
'
"""

JOBS = {
    "passes": REPORTS.format(child="", status=0),
    "fails": REPORTS.format(child='<failure message="noise"/>', status=5),
    "lies": REPORTS.format(child='<failure message="noise"/>', status=0),
    "sleeps": "#!/bin/sh\nexec sleep 600\n",
    "dies-once": "#!/bin/sh\nif mkdir died; then kill -9 $$; fi\n",
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A home with a daemon, and a tree of jobs."""
    if not (BIN / "ave").exists():
        pytest.skip("the programs are not installed beside this Python; `make test` installs them")
    for name, value in (("AVE_HOME", tmp_path), ("PATH", f"{BIN}:{os.environ['PATH']}"), ("FLASH", "echo block 17")):
        monkeypatch.setenv(name, str(value))
    bootstrap(str(tmp_path))
    tree = tmp_path / "tree"
    tree.mkdir()
    jobs = [{"path": name, "tags": [name] if name == "sleeps" else [name, "radio"]} for name in JOBS]
    (tree / ".vcsjob").write_text(json.dumps({"executables": jobs}))
    for name, script in JOBS.items():
        (tree / name).write_text(script)
        (tree / name).chmod(0o755)
    daemon = subprocess.Popen([BIN / "ave-logd"], stderr=subprocess.DEVNULL)
    yield tmp_path
    daemon.terminate()
    daemon.wait(timeout=10)


def scheduled(lab, *tags):
    command = [sys.executable, EXAMPLE, "tree", *tags]
    return subprocess.run(command, cwd=lab, capture_output=True, text=True, timeout=120, check=False)


def ave(*arguments):
    done = subprocess.run([BIN / "ave", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def test_every_job_is_decided_on_and_its_story_leads_to_the_work_done_for_it(lab):
    ran = scheduled(lab, "radio")
    assert ran.returncode == 1, ran.stderr
    told = re.findall(r"^(\S+): vcsjob\.(\w+), (.*), so (\w+); ave show (\S+)$", ran.stdout, re.MULTILINE)
    assert [line[:4] for line in told] == [
        ("passes", "OK", "{'passed': 2}", "passed"),
        ("fails", "FAILURES", "{'passed': 1, 'failure': 1}", "failed"),
        ("lies", "OK", "{'passed': 1, 'failure': 1}", "failed"),
        ("dies-once", "KILLED", "{}", "again"),
        ("dies-once", "OK", "{}", "passed"),
    ]
    first, second = (line[4] for line in told[-2:])
    story = ave("show", first)
    assert re.search(r"work +charge begins \(handset: yuga\)", story)
    assert re.search(r"\nlinked: flashed by flash-\S+: work: flash ok after ", story)
    assert re.search(rf"\nlinked: {second} repeats this run: OK in .*; work: charge ok after ", story)
    flash = re.search(r"flashed by (flash-\S+)\n", story)[1]
    whole = ave("show", flash, "--linked")
    assert "block 17" in whole
    assert re.findall(r"^GUID: (\S+)", whole, re.MULTILINE) == [flash, *(line[4] for line in told)]
    for guid in (flash, *(line[4] for line in told)):
        subprocess.run([BIN / "ave", "wait", guid, "--timeout", "30"], check=True)
        assert (
            "balanced: "
            in subprocess.run([BIN / "ave", "audit", guid], capture_output=True, text=True, check=True).stdout
        )


def test_a_flash_that_fails_runs_no_job_and_is_found(lab, monkeypatch):
    monkeypatch.setenv("FLASH", "sh -c 'echo no device; exit 3'")
    ran = scheduled(lab, "passes")
    assert ran.returncode == 1
    assert "returned non-zero exit status 3" in ran.stderr
    assert not list(lab.glob("*.log"))
    find = ("find", "--source", "scheduler", "--json")
    wait_until(lambda: ave(*find).count("\n") == 3, what="the daemon to bring the start, a line of log and the end")
    end, log, _ = (json.loads(line)["body"] for line in ave(*find).splitlines())
    assert (end["outcome"], end["exception"]["type"]) == ("failed", "CalledProcessError")
    assert log["text"] == "no device"


def test_all_passed_is_exit_code_0_and_no_arguments_a_usage(lab):
    assert scheduled(lab, "passes").returncode == 0
    asked = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "scheduler.py TREE [TAG ...]" in asked.stderr


@pytest.mark.parametrize(("flash", "last"), [("sleep 600", "work.start"), ("true", "job.start")])
def test_a_scheduler_that_is_killed_leaves_what_it_did_to_be_found_as_abandoned(lab, monkeypatch, flash, last):
    monkeypatch.setenv("FLASH", flash)
    scheduler = subprocess.Popen([sys.executable, EXAMPLE, "tree", "sleeps"], cwd=lab, start_new_session=True)
    try:
        wait_until(lambda: newest_event()["body"].get("name") == last, what=f"{last} to be stored")
    finally:
        os.killpg(scheduler.pid, signal.SIGKILL)
        scheduler.wait()
    assert "abandoned, started" in ave("show", newest_event()["guid"])


def newest_event():
    line = ave("find", "--kind", "event", "--limit", "1", "--json")
    return json.loads(line) if line else {"body": {}}
