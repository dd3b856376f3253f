"""Several jobs, one after the other, into one log."""

import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest

import vcsjob
from ave.exceptions import UsageError
from ave.testing import wait_until
from vcsjob.events import Events

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "vcsjob"


def execute(tree, tags=None, env_vars=None, **options):
    return vcsjob.execute_tags(str(tree.dir), tags, env_vars, str(tree.log_path), **options)


def refusal(tree, *arguments, **options):
    before = dict(os.environ)
    with pytest.raises(UsageError) as caught:
        execute(tree, *arguments, **options)
    assert not tree.log_path.exists()  # nothing ran
    assert dict(os.environ) == before
    return str(caught.value)


@pytest.fixture
def pair(tree):
    """A tree with two jobs; the first fails."""
    tree.add("first", "#!/bin/sh\necho first $VCSJOB_PROFILES $FOO; exit 5\n")
    tree.add("second", "#!/bin/sh\necho second $VCSJOB_PROFILES $VCSJOB_GUID; echo >> $0.ran\n")
    tree.describe({"path": "first", "tags": ["T"], "profiles": [{"type": "w"}]}, {"path": "second", "tags": ["T", "U"]})
    return tree


def headers(tree):
    return [json.loads(line) for line in re.findall(rb"^vcsjob: (.*)\n", tree.log, re.MULTILINE)]


def test_the_originals_log_of_two_jobs_comes_out_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FOO", "1")
    monkeypatch.setenv("VCSJOB_GUID", "stale")
    monkeypatch.delenv("AVE_HOME")
    log = tmp_path / "log.txt"
    assert vcsjob.execute_tags(str(GOLDEN), ["T"], ["FOO"], str(log)) == vcsjob.OK
    lines = log.read_bytes().decode().split("\n")
    profiles = [{"pretty": "yuga", "type": "handset"}]
    facts = {"environment": {"FOO": "1", "LANG": "C.UTF-8"}, "guid": None}
    assert lines[0] == "vcsjob: " + json.dumps({**facts, "exe": f"{GOLDEN}/a.sh", "profiles": profiles}, sort_keys=True)
    assert lines[1:-4] == [
        line + "\r"
        for line in (
            f"cwd={os.getcwd()}", "FOO=1", "LANG=C.UTF-8", f"PWD={os.getcwd()}", "SHLVL=1", f"VCSJOB_LOG_PATH={log}",
            'VCSJOB_PROFILES=[{"type": "handset", "pretty": "yuga"}]', "_=/usr/bin/printenv", "to-stderr",
        )
    ]  # fmt: skip
    assert re.fullmatch(r"/dev/pts/\d+\r", lines[-4])
    # The original's second header has the first job's variables, too; ours has the white-listed ones only.
    assert lines[-3] == "vcsjob: " + json.dumps({**facts, "exe": f"{GOLDEN}/b.sh", "profiles": None}, sort_keys=True)
    assert lines[-2:] == ["second\r", ""]
    assert os.environ["VCSJOB_GUID"] == "stale"


def test_what_the_jobs_end_with_is_ignored(pair):
    assert execute(pair) == vcsjob.OK
    assert [Path(header["exe"]).name for header in headers(pair)] == ["first", "second"]
    assert pair.log.endswith(b"\nsecond\r\n")


def test_only_jobs_with_all_tags_are_run(pair):
    assert execute(pair, ["U", "T"]) == vcsjob.OK
    assert [Path(header["exe"]).name for header in headers(pair)] == ["second"]


def test_each_header_has_white_listed_variables_only_and_each_job_its_own_profiles(pair, monkeypatch):
    monkeypatch.setenv("FOO", "bar")
    names = ["FOO"]
    assert execute(pair, None, names) == vcsjob.OK
    assert [header["environment"] for header in headers(pair)] == [{"FOO": "bar", "LANG": "C.UTF-8"}] * 2
    assert b'first [{"type": "w"}] bar\r\n' in pair.log
    assert names == ["FOO"]


def test_where_no_job_has_the_tags_the_log_says_so(pair):
    assert execute(pair, ["NONSENSE"]) == vcsjob.NORUN
    assert pair.log == b"WARNING: no jobs were executed"


def test_an_empty_tree_says_so_on_stderr(tree, capfd):
    tree.describe()
    assert vcsjob.execute_tags(str(tree.dir)) == vcsjob.NORUN
    assert capfd.readouterr().err == "WARNING: no jobs were executed"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nope", "no such file: {tree}/nope"),
        ("flat", "file is not executable: {tree}/flat"),
        ("/bin/true", "job path is not relative: /bin/true"),
        ("../jobsX/esc", "job path is not inside the job tree: {root}/jobsX/esc"),
        ("link", "job path is not inside the job tree: "),
    ],
)
def test_a_file_that_may_not_run_keeps_all_from_running(pair, path, message):
    pair.add("flat", "#!/bin/sh\n", mode=0o644)
    (pair.root / "jobsX").mkdir()
    pair.add("../jobsX/esc", "#!/bin/sh\n")
    (pair.dir / "link").symlink_to("/bin/echo")
    pair.describe({"path": "second", "tags": ["U"]}, path)
    told = refusal(pair, ["U"])
    assert told.startswith(message.format(tree=pair.dir, root=pair.root))
    assert told.endswith(f'({pair.dir}/.vcsjob, entry #2, key "path")')
    assert not (pair.dir / "second.ran").exists()


def test_a_call_that_is_wrong_runs_nothing(pair):
    assert refusal(pair, "T") == "not a tags list: T"
    assert refusal(pair, None, ["NOT_SET"]) == 'environment variable "NOT_SET" is not set'
    assert refusal(pair, None, None, guid=5) == "guid is not a string: 5"
    (pair.dir / ".vcsjob").write_text("{")
    assert refusal(pair).startswith(f"could not load {pair.dir}/.vcsjob: Expecting ")


def test_the_guid_and_the_limit_hold_for_each_job(pair, events):
    pair.add("first", "#!/bin/sh\nexec sleep 60\n")
    assert execute(pair, guid="guid-0123456789", timeout=2) == vcsjob.OK
    assert pair.output.endswith(b"second guid-0123456789\r\n")
    told = [(guid, body["name"], body.get("status")) for guid, _, body in events()]
    assert told == [
        ("guid-0123456789", "job.start", None), ("guid-0123456789", "job.end", vcsjob.TIMEOUT),
        ("guid-0123456789", "job.start", None), ("guid-0123456789", "job.end", vcsjob.OK),
    ]  # fmt: skip


def test_a_jobs_own_duration_holds_for_it_alone(pair):
    pair.add("first", "#!/bin/sh\nexec sleep 60\n")
    pair.describe({"path": "first", "duration": 1}, "second")
    assert execute(pair) == vcsjob.OK
    assert pair.log.endswith(b"\nsecond\r\n")


def test_a_job_that_cannot_be_started_keeps_no_other_from_running(pair):
    pair.add("first", "no shebang\n")
    assert execute(pair) == vcsjob.OK
    assert b"Exec format error" in pair.log
    assert pair.log.endswith(b"\nsecond\r\n")


def test_an_interrupt_ends_them_all(pair):
    pair.add("first", "#!/bin/sh\necho up > $0.up; exec sleep 60\n")

    def interrupt():
        wait_until((pair.dir / "first.up").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert execute(pair) == vcsjob.NORUN
    thread.join()
    assert not (pair.dir / "second.ran").exists()
    assert pair.log.endswith(b"KeyboardInterrupt\n")


def test_an_interrupt_while_the_start_is_told_does_not_cost_it(pair, events, monkeypatch):
    emit, interrupts = Events.emit, [KeyboardInterrupt]

    def interrupted(*arguments, **options):
        if interrupts:
            raise interrupts.pop()
        emit(*arguments, **options)

    monkeypatch.setattr(Events, "emit", interrupted)
    assert execute(pair, guid="guid-0123456789") == vcsjob.NORUN
    assert [body["name"] for _, _, body in events()] == ["job.start", "job.end"]


class TestExecuteSingle:
    def test_no_target_is_refused(self, tree):
        with pytest.raises(UsageError, match=r"^execution target: None$"):
            vcsjob.execute_single(str(tree.dir), None)

    def test_it_runs_without_guid_and_with_an_empty_list_of_profiles(self, pair):
        assert vcsjob.execute_single(str(pair.dir), "first", ["LANG"], str(pair.log_path)) == vcsjob.FAILURES
        assert headers(pair)[0]["profiles"] == []
        assert headers(pair)[0]["guid"] is None
        assert pair.output == b"first []\r\n"

    def test_it_refuses_what_execute_job_refuses(self, pair):
        with pytest.raises(UsageError, match="no such file: "):
            vcsjob.execute_single(str(pair.dir), "nope")
