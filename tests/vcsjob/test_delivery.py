"""Waiting until a run is delivered, by the real `ave wait`, with and without a daemon that delivers."""

import signal
import subprocess
import sys

import pytest

import vcsjob
from ave.lab import config
from vcsjob import delivery

GUID = "guid-0123456789"
PROGRAM = "#!{python}\nimport sys\nsys.path[:0] = {path!r}\nfrom ave.lab.{module} import main\nsys.exit(main())\n"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A directory with the programs of this source tree, beside what says it is the Python that runs."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, module in (("ave", "cli"), ("ave-logd", "logd")):
        (directory / name).write_text(PROGRAM.format(python=sys.executable, path=sys.path, module=module))
        (directory / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(directory / "python"))
    return directory


@pytest.fixture
def logd(programs, home):
    """A daemon at work."""
    home.mkdir()
    config.bootstrap(str(home))
    with subprocess.Popen([programs / "ave-logd", "--foreground"]) as daemon:
        yield daemon
        daemon.send_signal(signal.SIGTERM)


@pytest.mark.usefixtures("logd")
def test_when_it_returns_the_run_can_be_asked_for(tree, programs, capfd):
    assert tree.run("exit 5", guid=GUID, wait_delivered=60) == vcsjob.FAILURES
    assert capfd.readouterr().err == ""
    shown = subprocess.run([programs / "ave", "show", GUID], capture_output=True, text=True, check=True)
    assert "FAILURES" in shown.stdout


def test_a_time_out_is_told_and_changes_no_result(tree, programs, home, capfd):
    home.mkdir()
    config.bootstrap(str(home))
    assert tree.run("exit 5", guid=GUID, wait_delivered=0.1) == vcsjob.FAILURES
    told = capfd.readouterr().err
    assert told.startswith("vcsjob: WARNING: it is not known to be delivered: ")
    assert "is not complete after 0.1" in told


@pytest.mark.parametrize("program", [None, "no program at all", "#!/bin/sh\necho says why >&2; exit 2\n"])
def test_a_program_that_is_not_there_or_fails_is_told_and_changes_no_result(
    tree, tmp_path, monkeypatch, capfd, program
):
    if program:
        (tmp_path / "ave").write_text(program)
        (tmp_path / "ave").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert tree.run("exit 5", guid=GUID, wait_delivered=1) == vcsjob.FAILURES
    told = capfd.readouterr().err
    assert told.startswith("vcsjob: WARNING: it is not known to be delivered: ")
    assert told.count("\n") == 1
    assert ("says why" in told) == bool(program and program.startswith("#!"))


def test_a_program_that_hangs_is_given_up(tree, tmp_path, monkeypatch, capfd):
    (tmp_path / "ave").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ave").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(delivery, "EXTRA_S", 0.1)
    assert tree.run("exit 5", guid=GUID, wait_delivered=0.1) == vcsjob.FAILURES
    assert "timed out after 0.2 seconds" in capfd.readouterr().err


def test_the_job_has_ended_in_the_story_before_it_waits(tree, events, monkeypatch):
    seen = []
    monkeypatch.setattr(delivery, "wait", lambda guid, seconds: seen.append((guid, seconds, events()[-1][2]["name"])))
    tree.run("true", guid=GUID, wait_delivered=7)
    assert seen == [(GUID, 7, "job.end")]


@pytest.mark.parametrize("guid", [None, "", "short"])
def test_what_is_not_recorded_is_not_waited_for(tree, tmp_path, monkeypatch, guid):
    (tmp_path / "ave").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    (tmp_path / "ave").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert tree.run("exit 5", guid=guid, wait_delivered=60) == vcsjob.FAILURES
    assert not (tmp_path / "asked").exists()
