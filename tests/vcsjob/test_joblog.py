"""Where the output goes, and what becomes of a run whose log cannot be written."""

import contextlib
import io
import os
import re
import resource

import pytest

import vcsjob
from ave.exceptions import UsageError
from vcsjob.joblog import JobLog


def test_the_log_is_emptied_first(tree):
    tree.log_path.parent.mkdir()
    tree.log_path.write_text("of an earlier run " * 100)
    tree.run("echo new")
    assert b"earlier" not in tree.log


def test_a_relative_log_lies_below_the_callers_directory_wherever_the_job_goes(tree, monkeypatch):
    monkeypatch.chdir(tree.root)
    tree.add("job", '#!/bin/sh\ncd /; echo "$VCSJOB_LOG_PATH"\n')
    assert vcsjob.execute_job("jobs", {"path": "job"}, log_path="rel.txt") == vcsjob.OK
    assert (tree.root / "rel.txt").read_bytes().endswith(b"\n%s/rel.txt\r\n" % bytes(tree.root))


def test_without_a_log_path_the_run_is_told_on_stderr(tree, capfd):
    tree.add("job", "#!/bin/sh\necho hi; env\n")
    assert vcsjob.execute_job(str(tree.dir), {"path": "job"}) == vcsjob.OK
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("vcsjob: {")
    assert lines[1] == "hi"
    assert not any(line.startswith("VCSJOB_LOG_PATH=") for line in lines)


def test_file_and_stderr_get_the_same(tree, capfdbinary):
    script = "echo ä; env | sort; printf '\\377 end'"
    tree.run(script)
    vcsjob.execute_job(str(tree.dir), {"path": "job"})

    def common(log):
        return re.sub(rb"VCSJOB_LOG_PATH=.*\r\n", b"", log)

    assert common(capfdbinary.readouterr().err) == common(tree.log)


def test_a_stderr_without_a_descriptor_gets_text(tree):
    tree.add("job", "#!/bin/sh\nprintf 'hi \\377\\n'\n")
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        assert vcsjob.execute_job(str(tree.dir), {"path": "job"}) == vcsjob.OK
    assert stderr.getvalue().endswith("}\nhi \\xff\r\n")


def test_no_stderr_at_all_stops_nothing(tree):
    tree.add("job", "#!/bin/sh\necho hi; exit 5\n")
    with contextlib.redirect_stderr(None):
        assert vcsjob.execute_job(str(tree.dir), {"path": "job"}) == vcsjob.FAILURES


def test_where_no_log_can_be_made_the_job_goes_on_and_the_loss_is_told_once(tree, capfd):
    tree.log_path.parent.write_text("a file where a directory should be")
    assert tree.run(f"echo a; echo b; touch {tree.root}/ran; exit 5") == vcsjob.FAILURES
    assert (tree.root / "ran").exists()
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"vcsjob: WARNING: cannot write the log {tree.log_path}, ")


def test_a_full_disk_does_not_change_the_jobs_result_and_is_told_once(tree, capfd):
    tree.add("job", "#!/bin/sh\nseq 5000; exit 5\n")
    assert vcsjob.execute_job(str(tree.dir), {"path": "job"}, log_path="/dev/full") == vcsjob.FAILURES
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "No space left on device" in told


def test_short_writes_are_completed(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    with JobLog(str(tmp_path / "log")) as log:
        log.write(b"twenty bytes of text")
    assert (tmp_path / "log").read_bytes() == b"twenty bytes of text"


def test_a_disk_that_was_full_for_a_while_leaves_a_mark_with_the_count(tmp_path, capsys):
    path = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with JobLog(str(path)) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            log.write(b"x" * 130)  # a short write, then a refusal
            log.write(b"y" * 20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.write(b"after")
        log.write(b"wards")
    assert path.read_bytes() == b"x" * 100 + b"\nvcsjob: 50 bytes are missing here\n" + b"afterwards"
    assert capsys.readouterr().err.count("\n") == 1


def test_a_path_that_no_file_can_have_is_refused(tree):
    tree.add("job", "#!/bin/sh")
    with pytest.raises(UsageError, match=r"^a log path has no NUL: '/a\\x00b'$"):
        vcsjob.execute_job(str(tree.dir), {"path": "job"}, log_path="/a\0b")


def test_what_a_file_system_says_at_the_end_is_told_and_changes_nothing(tmp_path, monkeypatch, capsys):
    with JobLog(str(tmp_path / "log")) as log:
        os.close(log._fd)  # so that closing fails, as over a network where there was no room after all
    assert log.failure == "[Errno 9] Bad file descriptor"
    assert capsys.readouterr().err.count("\n") == 1


def test_it_knows_its_size_and_what_was_lost(tmp_path):
    with JobLog(str(tmp_path / "log")) as log:
        log.write(b"x" * 10)
        log.write(b"y" * 5)
        assert (log.size, log.lost, log.failure) == (15, 0, "")
    with JobLog("/dev/full") as log:
        log.write(b"x" * 10)
        log.write(b"y" * 5)
        assert (log.size, log.lost, log.failure) == (0, 15, "[Errno 28] No space left on device")
