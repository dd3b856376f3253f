"""The contract of shout: what is kept, what is silent, and that nothing ever comes back to the caller."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ave.panotti import shout
from ave.testing import children, read_spool
from tests.forgetting import forget

ROOT = str(Path(__file__).parents[1])
GUID = "guid-1234567890"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home in which shouts are wanted."""
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    configure(tmp_path, '{"enabled": true}')
    return tmp_path


def configure(home, content):
    (home / ".ave" / "config").mkdir(parents=True, exist_ok=True)
    (home / ".ave" / "config" / "panotti.json").write_text(content)
    forget()


def kept(home):
    return [(record.kind, record.guid, record.body) for record in read_spool(str(home / ".ave" / "spool")).records]


# What is kept: the cases of the original, one by one


@pytest.mark.parametrize(
    ("guid", "entry"),
    [
        (GUID, {"title": "t", "n": 1}),
        ("0123456789", {"a": 1}),
        (GUID, {}),
        ("0123456789", {"guid": "mine", "time_stamp": "x"}),
        ("gåäö-1234567890", {"kå": "v€"}),
        ("http://ci/job/1?a=b", {"a": [1, {"b": None}]}),
    ],
)
def test_an_entry_is_kept_as_it_is(home, guid, entry, capfd):
    before = copy.deepcopy(entry)
    assert shout(guid, entry) is None
    assert entry == before
    assert kept(home) == [("shout", guid, before)]
    assert capfd.readouterr() == ("", "")


def test_an_entry_with_an_exception_is_of_that_kind(home):
    shout(GUID, {"exception": {"type": "Timeout", "message": "late"}})
    shout(GUID, {"exception": "late"})
    assert [kind for kind, *_ in kept(home)] == ["exception", "exception"]


def test_what_is_not_json_is_kept_as_text_and_marked(home):
    value = object()
    entry = {"a": value}
    shout(GUID, entry)
    assert entry == {"a": value}
    assert kept(home) == [("shout", GUID, {"a": str(value), "_marks": [{"path": "a", "was": "object"}]})]


def test_a_hundred_entries_are_a_hundred_records_in_order(home):
    for n in range(100):
        shout(GUID, {"n": n})
    assert [body["n"] for _, _, body in kept(home)] == list(range(100))


def test_a_shout_that_has_returned_survives_the_death_of_its_process(home):
    code = f"import os; from ave.panotti import shout; shout({GUID!r}, {{'n': 1}}); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT})
    assert kept(home) == [("shout", GUID, {"n": 1})]


def test_the_home_of_the_argument_is_used(home, tmp_path):
    configure(tmp_path / "other", '{"enabled": true}')
    shout(GUID, {}, str(tmp_path / "other"))
    shout(GUID, {}, home=tmp_path / "other")
    assert kept(home) == []
    assert len(kept(tmp_path / "other")) == 2


# What is silent


@pytest.mark.parametrize("guid", ["", None, 0, []])
def test_no_guid_is_silent(home, guid, capfd):
    shout(guid, {"a": 1}, print_errors=True)
    assert capfd.readouterr() == ("", "")
    assert kept(home) == []


@pytest.mark.parametrize("guid", ["012345678", ["x"] * 12, 1234567890])
def test_a_bad_guid_is_silent_unless_errors_are_wanted(home, guid, capfd):
    shout(guid, {"a": 1})
    assert capfd.readouterr() == ("", "")
    shout(guid, {"a": 1}, print_errors=True)
    text = f'"guid" must be a string of 10 or more characters, current value: "{guid}" (type: {type(guid)})'
    assert capfd.readouterr() == ("", f"ave.panotti: not kept: {text}\n")
    assert kept(home) == []


@pytest.mark.parametrize("entry", [[1], "text", None, 1, [("a", 1)]])
def test_an_entry_that_is_no_dictionary_is_silent_unless_errors_are_wanted(home, entry, capfd):
    shout(GUID, entry)
    assert capfd.readouterr() == ("", "")
    shout(GUID, entry, print_errors=True)
    text = f'ave.panotti: not kept: "json_data" must be a dictionary, current value: "{entry}" (type: {type(entry)})\n'
    assert capfd.readouterr() == ("", text)
    assert kept(home) == []


@pytest.mark.parametrize("content", ['{"enabled": false}', "{}", '{"enabled": false, "spool": {"policy": "always"}}'])
def test_a_host_that_wants_no_shouts_gets_none(home, content, capfd):
    configure(home, content)
    shout(GUID, {}, print_errors=True)
    assert kept(home) == []
    assert not (home / ".ave" / "spool").exists()
    assert capfd.readouterr() == ("", "")


def test_without_a_configuration_nothing_is_kept_or_said(tmp_path, capfd):
    shout(GUID, {}, str(tmp_path / "bare"), print_errors=True)
    assert not (tmp_path / "bare").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("enabled", "panotti.json: cannot be loaded: Expecting value: line 1 column 1 (char 0)"),
        ('{"enabled": "yes"}', 'panotti attribute in config "enabled" must be on the form {"enabled":<bool>}.'),
        (
            '{"enabled": true, "port": "80"}',
            'panotti attribute in config "port" must be on the form {"port":<integer>}.',
        ),
    ],
)
def test_a_broken_configuration_is_silent_unless_errors_are_wanted(home, content, message, capfd):
    configure(home, content)
    shout(GUID, {})
    assert capfd.readouterr() == ("", "")
    shout(GUID, {}, print_errors=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert kept(home) == []


def test_an_unknown_rpc_or_a_missing_host_is_a_matter_of_the_daemon(home):
    configure(home, '{"enabled": true, "rpc": "pigeon"}')
    shout(GUID, {})
    assert len(kept(home)) == 1


# What never happens


def test_a_full_spool_is_told_once_in_one_line(home, capfd):
    configure(home, '{"enabled": true, "spool": {"quota_bytes": 1}}')
    for _ in range(3):
        shout(GUID, {"a": "line\nbreak"})
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("ave.panotti: not kept: ")
    assert "no room left for shout" in err
    assert err.count("\n") == 1
    shout(GUID, {}, print_errors=True)
    assert capfd.readouterr().err == err


def test_a_closed_stderr_is_no_error(home):
    configure(home, '{"enabled": true, "spool": {"quota_bytes": 1}}')
    code = f"import os; from ave.panotti import shout; os.close(2); shout({GUID!r}, {{}}); os.write(1, b'on')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, check=True
    )
    assert done.stdout == b"on"


class Loud(Exception):
    __str__ = __repr__ = None  # even printing it fails


def loud(*_, **__):
    raise Loud


class Hostile:
    """Raises whatever is asked of it."""

    __str__ = __repr__ = __len__ = __bool__ = __iter__ = __eq__ = __hash__ = __format__ = __getattr__ = loud


class HostileDict(dict):
    __contains__ = __len__ = __iter__ = items = keys = values = copy = loud


class HostileStr(str):
    __len__ = encode = __format__ = __str__ = loud


ANYTHING = [
    Hostile(),
    HostileDict(a=1),
    HostileStr("0123456789"),
    {Hostile: Hostile()},
    GUID * 10_000,
    b"0123456789",
    0,
    object,
]


@pytest.mark.parametrize("print_errors", [True, False])
@pytest.mark.parametrize("at", range(4))
def test_no_argument_makes_it_raise(at, print_errors):
    for value in ANYTHING:
        arguments = [GUID, {"a": 1}, None, print_errors]
        arguments[at] = value
        assert shout(*arguments) is None


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_nothing_at_all_makes_it_raise(data):
    anything = (
        st.none()
        | st.text(st.characters())
        | st.binary()
        | st.integers()
        | st.floats()
        | st.dictionaries(st.text(), st.lists(st.floats() | st.binary()))
        | st.sampled_from(range(len(ANYTHING))).map(ANYTHING.__getitem__)
    )
    assert shout(data.draw(anything), data.draw(anything), data.draw(st.none() | anything), data.draw(anything)) is None


def test_it_starts_no_thread_and_no_process(monkeypatch):
    def refuse(*_):
        raise AssertionError("shout forked")

    for name in ("fork", "posix_spawn", "forkpty"):
        monkeypatch.setattr(os, name, refuse)
    before, had = threading.active_count(), children()
    for n in range(10):
        shout(GUID, {"n": n, "text": "x" * 100_000, "bad": Hostile()})
    assert threading.active_count() == before
    assert children() <= had


def test_the_callers_dictionary_is_never_changed(home):
    inner = {"deep": [1, (2, b"\xff")], "password": "hunter2"}
    entry = {"inner": inner, "_marks": "mine", 1: "one", "text": "x" * 200_000}
    before = copy.deepcopy(entry)
    shout(GUID, entry)
    assert entry == before
    assert entry["inner"] is inner
    assert len(kept(home)) > 1


# What importing it costs


@pytest.mark.parametrize("module", ["ave.panotti", "ave.spool", "ave.workspace", "vcsjob"])
def test_importing_it_loads_nothing_that_can_be_avoided(module):
    dear = {
        *("asyncio", "concurrent", "contextlib", "dataclasses", "hashlib", "inspect", "logging", "multiprocessing"),
        *("pathlib", "random", "selectors", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading"),
        *("traceback", "typing", "urllib", "xml", "zipfile"),
    }
    code = f"import sys; sys.path.insert(0, {ROOT!r}); import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & dear
    assert loaded - {"ave", "vcsjob", "__main__"} <= set(sys.stdlib_module_names)


def test_a_shout_loads_nothing_that_can_be_avoided(home):
    code = f"""if True:
        import sys
        sys.path.insert(0, {ROOT!r})
        from ave.panotti import shout
        before = set(sys.modules)
        shout({GUID!r}, {{"n": 1, "text": "short"}})
        print(*set(sys.modules) - before)
    """
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert json.dumps([body for *_, body in kept(home)]) == '[{"n": 1, "text": "short"}]'
