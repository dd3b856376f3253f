"""A workspace: its configuration, its directory, and reporting through it."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from ave.exceptions import AveException, ConfigError, FormatError, SpoolFull, UsageError
from ave.testing import read_spool
from ave.workspace import Workspace

GUID = "guid-of-the-run"
SUITE = '<testsuite name="s"><testcase name="a"/><testcase name="b"><failure message="m"/></testcase></testsuite>'


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("AVE_HOME", str(path))
    monkeypatch.delenv("VCSJOB_GUID", raising=False)
    return path


@pytest.fixture
def configure(home):
    """A function that writes workspace.json: a dict, or text as it is."""

    def write(content: object) -> Path:
        path = home / ".ave" / "config" / "workspace.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def config(tmp_path):
    return {"root": str(tmp_path / "workspaces")}


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.xml"
    path.write_text(SUITE)
    return path


def emitted(home: Path) -> list:
    return read_spool(str(home / ".ave" / "spool")).records


# Configuration


def test_settings_come_from_the_home(configure, tmp_path):
    configure({"root": str(tmp_path / "w"), "tools": {"ls": "/bin/ls"}})
    workspace = Workspace()
    assert workspace.root == str(tmp_path / "w")
    assert workspace.config["tools"] == {"ls": "/bin/ls"}


def test_settings_are_read_once_per_process(configure, home):
    configure({"root": "~/one"})
    assert Workspace().root == f"{home}/one"
    configure({"root": "~/two"})
    assert Workspace().root == f"{home}/one"


def test_settings_come_from_another_home(tmp_path):
    other = tmp_path / "other" / ".ave" / "config"
    other.mkdir(parents=True)
    (other / "workspace.json").write_text('{"root": "~/w", "tools": {}}')
    assert Workspace(home=str(tmp_path / "other")).root == str(tmp_path / "other" / "w")


def test_settings_come_from_another_file(tmp_path):
    path = tmp_path / "my.json"
    path.write_text('{"root": "$HOME/w"}')
    workspace = Workspace(cfg_path=str(path))
    assert workspace.root == f"{os.environ['AVE_HOME']}/w"


def test_given_settings_need_no_file_and_are_not_changed(home):
    given = {"root": "~/w"}
    assert Workspace(config=given).root == f"{home}/w"
    assert given == {"root": "~/w"}


def test_every_tilde_and_home_in_the_root_is_the_home(home):
    assert Workspace(config={"root": "~/$HOME"}).root == f"{home}/{home}"


def test_a_relative_root_is_below_the_current_directory_for_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(config={"root": "w"})
    assert workspace.root == str(tmp_path / "w")


def test_a_missing_file_is_named(home):
    path = f"{home}/.ave/config/workspace.json"
    with pytest.raises(ConfigError, match=f"^no such configuration file: {re.escape(path)}$"):
        Workspace()
    with pytest.raises(ConfigError, match=r"^no such configuration file: /no/such\.json$"):
        Workspace(cfg_path="/no/such.json")


@pytest.mark.parametrize("own", [False, True])
def test_a_broken_file_is_told_with_the_reason(configure, own):
    path = configure('{ "root": "moo" ')
    with pytest.raises(ConfigError, match=r"^could not load workspace configuration file: Expecting .* in /.*\.json$"):
        Workspace(cfg_path=str(path) if own else None)


def test_a_file_that_is_no_object_is_told(configure):
    configure("[]")
    with pytest.raises(ConfigError, match=r"must be a JSON object"):
        Workspace()


@pytest.mark.parametrize("content", [{}, {"root": None}, {"tools": {}}])
def test_a_missing_root_is_told(configure, content):
    configure(content)
    with pytest.raises(ConfigError, match=r"^workspace root directory is not configured$"):
        Workspace()
    with pytest.raises(ConfigError, match=r"^workspace root directory is not configured$"):
        Workspace(config=content)


@pytest.mark.parametrize(
    ("key", "value", "form", "kind"),
    [
        ("root", 1, "<string>", "int"),
        ("jenkins", ["wrong"], "<string>", "list"),
        ("pretty", {"2.0": "crazy"}, "<string>", "dict"),
        ("wifi-capable", 1, "<bool>", "int"),
        ("tools", [], "<dictionary>", "list"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_both_forms(key, value, form, kind):
    with pytest.raises(ConfigError) as caught:
        Workspace(config={"root": "~", key: value})
    wanted = f'workspace attribute "{key}" must be on the form {{"{key}":{form}}}. '
    assert wanted + f"current value={value} (type=<class '{kind}'>)" in str(caught.value)


def test_settings_that_are_no_dict_are_refused():
    with pytest.raises(ConfigError, match=r"config must be a dictionary, found list"):
        Workspace(config=["root"])


# The directory


def test_a_workspace_is_a_new_directory_below_the_root(config):
    workspace = Workspace(config=config)
    assert workspace.path == f"{config['root']}/{workspace.uid}"
    assert os.path.isdir(workspace.path)


def test_a_uid_is_ten_digits_and_never_the_same(config):
    uids = {Workspace(config=config).uid for _ in range(50)}
    assert len(uids) == 50
    assert all(re.fullmatch("[0-9]{10}", uid) for uid in uids)


def test_forked_processes_get_other_uids(config):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, Workspace(config=config).uid.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10).decode() != Workspace(config=config).uid
    os.close(reading)
    os.close(writing)


def test_a_pretty_name_comes_before_the_digits(config):
    assert re.fullmatch("lab.7-[0-9]{10}", Workspace(config={**config, "pretty": "lab.7"}).uid)
    assert Workspace("mine", config={**config, "pretty": "lab.7"}).uid == "mine"


def test_a_given_uid_opens_what_is_there(config):
    path = Path(Workspace("mine", config=config).path)
    (path / "file").touch()
    assert (Path(Workspace("mine", config=config).path) / "file").exists()


@pytest.mark.parametrize("uid", ["..", ".", "a/b", "../x", "/etc", "a\0b", 5])
def test_a_uid_that_is_no_name_is_refused(config, uid):
    with pytest.raises(UsageError, match="uid must be the name of a directory"):
        Workspace(uid, config=config)


def test_a_pretty_name_cannot_lead_elsewhere(config):
    with pytest.raises(UsageError, match="uid must be the name of a directory"):
        Workspace(config={**config, "pretty": "../x"})


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AveException, match=rf"^could not create directory at {re.escape(str(tmp_path))}/file/"):
        Workspace(config={"root": str(tmp_path / "file")})


def test_delete_removes_everything_and_may_be_called_twice(config):
    workspace = Workspace(config=config)
    hidden = Path(workspace.path) / ".some" / ".dir"
    hidden.mkdir(parents=True)
    (hidden / ".hidden").write_text("x")
    workspace.delete()
    assert not os.path.exists(workspace.path)
    assert os.path.isdir(config["root"])
    workspace.delete()


def test_delete_does_not_follow_a_link(config, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    Path(config["root"]).mkdir()
    (Path(config["root"]) / "link").symlink_to(precious)
    with pytest.raises(AveException, match="could not delete workspace"):
        Workspace("link", config=config).delete()
    assert (precious / "file").exists()


def test_delete_tells_what_it_cannot_remove(config, monkeypatch):
    workspace = Workspace(config=config)

    def fail(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("shutil.rmtree", fail)
    with pytest.raises(AveException, match=r"^could not delete workspace .*Permission denied"):
        workspace.delete()
    assert stat.S_ISDIR(os.stat(workspace.path).st_mode)


# Reporting


def test_results_are_reported_for_the_run_of_this_job(home, config, results, monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    tally = Workspace(config=config).report(str(results))
    assert (tally.total, tally.results["passed"], tally.results["failure"]) == (2, 1, 1)
    assert [(r.kind, r.guid, r.source, r.body["name"]) for r in emitted(home)] == [
        ("verdict", GUID, "workspace", "a"),
        ("verdict", GUID, "workspace", "b"),
    ]


def test_results_are_reported_for_another_run(home, config, results):
    Workspace(config=config).report(results, guid="another-guid")
    assert {record.guid for record in emitted(home)} == {"another-guid"}


def test_results_go_into_the_home_of_the_workspace(tmp_path, config, results, home):
    Workspace(config=config, home=str(tmp_path / "other")).report(results, GUID)
    assert emitted(home) == []
    assert len(emitted(tmp_path / "other")) == 2


def test_a_relative_path_is_below_the_current_directory_of_the_caller(config, results, monkeypatch):
    monkeypatch.chdir(results.parent)
    assert Workspace(config=config).report("results.xml", GUID).total == 2


def test_a_job_without_a_guid_is_told_what_to_do(config, results):
    with pytest.raises(UsageError) as caught:
        Workspace(config=config).report(results)
    assert str(caught.value).startswith("guid not set: there is no run to report for. Start the job with vcsjob")
    assert "VCSJOB_GUID" in str(caught.value)
    assert "give the call guid=..." in str(caught.value)


def test_a_missing_file_of_results_is_named(config):
    with pytest.raises(UsageError, match=r"^missing\.xml: cannot be read: No such file or directory"):
        Workspace(config=config).report("missing.xml", GUID)


def test_a_damaged_file_of_results_is_named_and_its_beginning_kept(home, config, results):
    results.write_text(SUITE[:50])
    with pytest.raises(FormatError, match=r"results\.xml: line 1, .* \(kept before that: 1 verdicts\)$"):
        Workspace(config=config).report(results, GUID)
    assert len(emitted(home)) == 1


def test_the_format_may_be_named(config, results):
    assert Workspace(config=config).report(results, GUID, format="junit").total == 2
    with pytest.raises(UsageError, match="no such format: 'nunit'"):
        Workspace(config=config).report(results, GUID, format="nunit")


def test_a_full_spool_is_not_hidden(home, config, results):
    path = home / ".ave" / "config" / "panotti.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"spool": {"quota_bytes": 1}}')
    with pytest.raises(SpoolFull):
        Workspace(config=config).report(results, GUID)
