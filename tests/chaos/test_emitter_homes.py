"""R19: wherever the home is and whatever it is, the job goes on, and the failure is told once and names the mend."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])
SCRIPT = str(Path(__file__).with_name("homeless_emitter.py"))
NOBODY = 65534
ALONE = ["unshare", "--mount", "--propagation", "private"]

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def emit(home, tmp_path):
    """A function that runs the emitter and returns (what append said, lines on stderr)."""

    def run(*options, user_file="/no such file", before=(), **environment):
        environment = {"PATH": os.environ["PATH"], "AVE_HOME": str(home), "PYTHONPATH": ROOT, **environment}
        environment = {name: value for name, value in environment.items() if value is not None}
        command = [*before, sys.executable, SCRIPT, str(user_file), *options]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr.splitlines()

    return run


def enable(home):
    (home / ".ave" / "config").mkdir(parents=True)
    (home / ".ave" / "config" / "panotti.json").write_text('{"enabled": true}')


def assert_refused(answer, *parts):
    """Check that append raised, told the cure, and that of all shouts one line came to stderr."""
    (error, text), lines = answer
    assert error in {"SpoolError", "SpoolFull"}
    assert all(part in text for part in parts)
    assert [line.removeprefix("ave.panotti: not kept: ") for line in lines] in ([text], [])
    return lines


def test_r19_a_home_that_is_not_there_is_made(emit, home, spool):
    home.rmdir()
    assert emit() == ("queued", [])
    assert [record.kind for record in read_spool(spool).records] == ["verdict"]


def test_r19_a_file_in_place_of_the_spool_is_told_once(emit, home):
    enable(home)
    (home / ".ave" / "spool").write_text("")
    assert assert_refused(emit(), ".ave/spool", "ave doctor")


def test_r19_a_file_in_place_of_dot_ave_ends_nothing(emit, home):
    (home / ".ave").write_text("")
    assert_refused(emit(), ".ave/spool", "ave doctor")


def test_r19_a_file_in_place_of_the_home_ends_nothing(emit, home):
    home.rmdir()
    home.write_text("")
    assert_refused(emit(), ".ave/spool", "ave doctor")


def test_r19_a_dangling_link_in_place_of_the_spool_is_told_once(emit, home):
    enable(home)
    (home / ".ave" / "spool").symlink_to("nowhere")
    assert assert_refused(emit(), ".ave/spool", "ave doctor")


def test_r19_a_link_to_a_directory_elsewhere_is_followed(emit, home, tmp_path):
    enable(home)
    (tmp_path / "elsewhere").mkdir()
    (home / ".ave" / "spool").symlink_to(tmp_path / "elsewhere")
    assert emit() == ("queued", [])
    assert len(read_spool(str(tmp_path / "elsewhere")).records) == 4


def test_r19_a_read_only_file_system_is_told_once(emit, home):
    enable(home)
    mount = ["mount", "--bind", "-o", "ro", str(home), str(home)]
    if not shutil.which("unshare") or subprocess.run([*ALONE, *mount], capture_output=True).returncode:
        pytest.skip("mounting a file system read-only is not permitted here")
    assert assert_refused(emit(*mount, before=ALONE), "Read-only file system", "ave doctor")


def test_r19_a_full_inode_table_is_told_once(emit, home):
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", str(home)]
    if not shutil.which("unshare") or subprocess.run([*ALONE, *mount], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    assert_refused(emit(*mount, before=ALONE), "free some space")


@is_root
def test_r19_somebody_elses_spool_is_not_written_to(emit, home, spool, tmp_path):
    enable(home)
    os.makedirs(spool)
    for path in (tmp_path, *tmp_path.parents[:2], home, home / ".ave", home / ".ave" / "config", Path(spool)):
        os.chmod(path, 0o711 if path in tmp_path.parents else 0o755)
    os.chmod(spool, 0o777)
    lines = assert_refused(emit("--user", str(NOBODY)), "belongs to user 0", "AVE_HOME")
    assert len(lines) == 1
    assert os.listdir(spool) == []


@is_root
def test_r19_a_spool_that_may_not_be_written_is_told_once(emit, home, spool, tmp_path):
    enable(home)
    os.makedirs(spool)
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o711 if path in tmp_path.parents else 0o755)
    for path in (home, home / ".ave", home / ".ave" / "config", spool):
        os.chown(path, NOBODY, NOBODY)
    os.chmod(spool, 0o500)
    assert assert_refused(emit("--user", str(NOBODY)), "Permission denied", "ave doctor")


@is_root
def test_r19_what_root_writes_belongs_to_the_owner_of_the_home(emit, home):
    os.chown(home, NOBODY, NOBODY)
    assert emit() == ("queued", [])
    made = [path for path in home.rglob("*") if path.name != "size"]
    assert len(made) == 3
    assert {path.stat().st_uid for path in made} == {NOBODY}


@is_root
def test_r19_nobody_else_reads_or_removes_a_segment(emit, home, spool):
    os.makedirs(spool)
    os.chmod(spool, 0o777)
    assert emit() == ("queued", [])
    assert os.stat(spool).st_mode & 0o777 == 0o700
    assert {os.stat(Path(spool, name)).st_mode & 0o777 for name in os.listdir(spool)} == {0o600}


@is_root
def test_r19_no_home_at_all_is_told_once(emit):
    lines = assert_refused(emit("--user", "54321", AVE_HOME=None), "there is no home directory", "AVE_HOME")
    assert len(lines) == 1


def test_r19_a_broken_user_file_is_told_once(emit, tmp_path):
    user_file = tmp_path / "user"
    user_file.write_text('{"home": 7}')
    assert assert_refused(emit(AVE_HOME=None, user_file=user_file), str(user_file), "must be an absolute path")


def test_r19_the_user_file_names_the_home(emit, home, spool, tmp_path):
    user_file = tmp_path / "user"
    user_file.write_text(json.dumps({"name": "lab", "home": str(home), "uid": 1000}))
    assert emit(AVE_HOME=None, user_file=user_file) == ("queued", [])
    assert len(read_spool(spool).records) == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"enabled": "yes"}', '{"enabled": true, "spool": {"policy": 1}}'])
def test_r19_a_broken_configuration_silences_shouts_and_nothing_else(content, emit, home, spool):
    enable(home)
    (home / ".ave" / "config" / "panotti.json").write_text(content)
    assert emit() == ("queued", [])
    assert [record.kind for record in read_spool(spool).records] == ["verdict"]
