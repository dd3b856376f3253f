"""What a job sees, and that this process's own environment is only read."""

import json
import os
import threading

import pytest

import vcsjob
from ave.exceptions import UsageError
from ave.testing import wait_until


def variables(tree):
    return dict(line.split("=", 1) for line in tree.output.decode().splitlines())


#: The shell makes these itself.
OF_THE_SHELL = {"PWD", "SHLVL", "_", "OLDPWD"}


def test_a_job_sees_only_what_was_named(tree, monkeypatch):
    monkeypatch.setenv("FOO", "bär")
    monkeypatch.setenv("COW", "moo")
    monkeypatch.delenv("AVE_HOME")
    assert tree.run("env", env=["FOO"]) == vcsjob.OK
    seen = {name: value for name, value in variables(tree).items() if name not in OF_THE_SHELL}
    assert seen == {"FOO": "bär", "LANG": "C.UTF-8", "VCSJOB_LOG_PATH": str(tree.log_path)}
    assert tree.header["environment"] == {"FOO": "bär", "LANG": "C.UTF-8"}


def test_lang_is_not_made_up(tree, monkeypatch):
    monkeypatch.delenv("LANG")
    tree.run("env")
    assert "LANG" not in variables(tree)
    assert tree.header["environment"] == {}


def test_the_list_of_names_is_not_changed(tree):
    names = ["PATH"]
    tree.run("true", env=names)
    assert names == ["PATH"]


def test_home_and_trace_context_are_handed_on_without_a_word(tree, monkeypatch, home):
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    tree.run("env")
    seen = variables(tree)
    assert seen["AVE_HOME"] == str(home)
    assert seen["TRACEPARENT"] == os.environ["TRACEPARENT"]
    assert tree.header["environment"] == {"LANG": "C.UTF-8"}


def test_bytes_that_are_no_text_reach_the_job_unchanged(tree, monkeypatch):
    monkeypatch.setitem(os.environb, b"ODD", b"\xff\xfe")
    tree.run('printf %s "$ODD"', env=["ODD"])
    assert tree.output == b"\xff\xfe"


@pytest.mark.parametrize("name", ["VCSJOB_TEST_UNSET", "A=B", "", 7])
def test_a_named_variable_that_is_not_set_is_refused(tree, name):
    before = dict(os.environ)
    with pytest.raises(UsageError) as caught:
        tree.run("true", env=[name])
    assert str(caught.value) == f'environment variable "{name}" is not set'
    assert dict(os.environ) == before
    assert not tree.log_path.exists()


def test_a_job_is_told_its_guid_profiles_and_log(tree):
    profiles = [{"type": "hörn"}, [{"type": "a"}, {"type": "b"}]]
    tree.run("env", job={"profiles": profiles}, guid="guid-ä-0123456789")
    seen = variables(tree)
    assert seen["VCSJOB_GUID"] == "guid-ä-0123456789"
    assert json.loads(seen["VCSJOB_PROFILES"]) == profiles
    assert seen["VCSJOB_LOG_PATH"] == str(tree.log_path)


@pytest.mark.parametrize("env", [[], ["VCSJOB_GUID", "VCSJOB_PROFILES"]])
def test_a_job_is_not_told_the_callers_guid_and_profiles(tree, monkeypatch, env):
    monkeypatch.setenv("VCSJOB_GUID", "stale-0123456789")
    monkeypatch.setenv("VCSJOB_PROFILES", '[{"type": "stale"}]')
    tree.run("env", env=env)
    assert {"VCSJOB_GUID", "VCSJOB_PROFILES"}.isdisjoint(variables(tree))
    assert vcsjob.get_guid() == "stale-0123456789"


def test_the_callers_environment_is_never_written(tree, monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", "outer-0123456789")
    writes = []
    monkeypatch.setattr(os, "putenv", lambda *_: writes.append("put"))
    monkeypatch.setattr(os, "unsetenv", lambda *_: writes.append("unset"))
    tree.run("true", job={"profiles": [{"type": "w"}]}, guid="guid-0123456789", env=["PATH"])
    assert writes == []


def test_jobs_run_at_once_from_threads_without_mixing(tree, tmp_path):
    tree.add("job", '#!/bin/sh\n: > "$VCSJOB_LOG_PATH.up"\nwhile [ ! -e go ]; do sleep 0.01; done\necho $VCSJOB_GUID\n')
    (tree.dir / "job").write_text((tree.dir / "job").read_text().replace(" go ", f" {tmp_path}/go "))
    logs = [tmp_path / f"log-{n}" for n in range(4)]
    results = {}

    def execute(n):
        results[n] = vcsjob.execute_job(
            str(tree.dir), {"path": "job"}, log_path=str(logs[n]), guid=f"guid-of-thread-{n}", timeout=20
        )

    threads = [threading.Thread(target=execute, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(os.path.exists(f"{log}.up") for log in logs), what="all four jobs to run")
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), vcsjob.OK)
    for n, log in enumerate(logs):
        header, output = log.read_text().split("\n", 1)
        assert json.loads(header[len("vcsjob: ") :])["guid"] == f"guid-of-thread-{n}"
        assert output.strip() == f"guid-of-thread-{n}"


def test_a_job_runs_in_the_callers_directory_without_arguments(tree, monkeypatch):
    monkeypatch.chdir(tree.root)
    tree.run('pwd; echo "$#"')
    assert tree.output == f"{tree.root}\r\n0\r\n".encode()
