"""Where the home is, and what a job's settings may be."""

from __future__ import annotations

import json
import os

import pytest

from ave import home as homes
from ave.exceptions import ConfigError


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    monkeypatch.delenv("AVE_HOME", raising=False)
    monkeypatch.setattr(homes, "USER_FILE", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", "/home/of/this/user")


@pytest.fixture
def user_file(tmp_path):
    return lambda content: (tmp_path / "user").write_text(content)


@pytest.fixture
def write(tmp_path):
    """A function that writes a configuration file and returns the home."""

    def write(name, content):
        path = tmp_path / ".ave" / "config" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(tmp_path)

    return write


# Where


def test_the_home_is_the_first_of_argument_environment_user_file_and_tilde(monkeypatch, user_file):
    assert homes.find() == "/home/of/this/user"
    homes.forget()
    user_file('{"name": "lab", "home": "/srv/lab", "uid": 1000}')
    assert homes.find() == "/srv/lab"
    monkeypatch.setenv("AVE_HOME", "/env")
    assert homes.find() == homes.find("") == homes.find(None) == "/env"
    assert homes.find("/argument") == "/argument"


def test_an_empty_ave_home_counts_as_none(monkeypatch):
    monkeypatch.setenv("AVE_HOME", "")
    assert homes.find() == "/home/of/this/user"


def test_a_relative_home_is_taken_from_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVE_HOME", "env")
    assert homes.find() == str(tmp_path / "env")
    assert homes.find("here") == str(tmp_path / "here")


def test_a_home_whose_name_is_no_text_is_found_too(monkeypatch):
    monkeypatch.setenv("AVE_HOME", os.fsdecode(b"/h\xff"))
    assert homes.find() == os.fsdecode(b"/h\xff")


def test_the_user_file_is_read_once(user_file):
    user_file('{"home": "/first"}')
    assert homes.find() == "/first"
    user_file('{"home": "/second"}')
    assert homes.find() == "/first"
    homes.forget()
    assert homes.find() == "/second"


@pytest.mark.parametrize("content", ["", "[]", '{"home": 7}', '{"home": "relative"}', "{}"])
def test_a_user_file_that_names_no_home_is_an_error(user_file, content):
    user_file(content)
    with pytest.raises(ConfigError, match=str(homes.USER_FILE)):
        homes.find()


def test_no_home_at_all_is_an_error_that_names_the_mend(monkeypatch):
    monkeypatch.setenv("HOME", "nowhere")
    for _ in range(2):
        with pytest.raises(ConfigError, match="set AVE_HOME"):
            homes.find()


def test_paths_are_below_dot_ave():
    assert homes.ave("/h") == "/h/.ave"
    assert homes.ave("/h", "spool", "dead") == "/h/.ave/spool/dead"
    assert homes.config_file("panotti", "/h") == "/h/.ave/config/panotti.json"


# Settings


def test_defaults_fill_in_what_is_not_set_and_unknown_keys_stay(write):
    home = write("panotti", {"enabled": True, "mood": "good", "spool": {"policy": "class"}})
    settings = homes.load("panotti", home)
    assert settings["enabled"] is True
    assert settings["mood"] == "good"
    assert settings["rpc"] == "http"
    assert settings["required"] is True
    assert settings["url"] is None
    assert settings["spool"] == {"policy": "class", "quota_bytes": None}


@pytest.mark.parametrize("name", homes.SETTINGS)
def test_an_empty_object_is_all_defaults(write, name):
    settings = homes.load(name, write(name, {}))
    assert {key: settings[key] for key in settings if key != "spool"} == {
        key: default for key, (_, default) in homes.SETTINGS[name].items() if key != "spool"
    }


def test_one_file_never_changes_the_defaults_of_another(write, tmp_path):
    homes.load("panotti", write("panotti", {"spool": {"policy": "none"}}))["spool"]["policy"] = "spoilt"
    homes.forget()
    assert homes.load("panotti", write("panotti", {}))["spool"]["policy"] == "host"


def test_a_file_is_read_once(write):
    home = write("panotti", {"enabled": True})
    first = homes.load("panotti", home)
    write("panotti", {"enabled": False})
    assert homes.load("panotti", home) is first
    homes.forget()
    assert homes.load("panotti", home)["enabled"] is False


def test_a_missing_file_is_told_apart_from_a_broken_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        homes.load("panotti", str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "\udcff", "[" * 100_000])
def test_what_is_no_json_object_is_an_error_with_its_path(write, content, tmp_path):
    home = write("panotti", "{}")
    (tmp_path / ".ave" / "config" / "panotti.json").write_bytes(os.fsencode(content))
    with pytest.raises(ConfigError, match=r"panotti\.json: (cannot be loaded|must be a JSON object)"):
        homes.load("panotti", home)


def test_a_directory_in_place_of_a_file_is_an_error_with_its_path(tmp_path):
    (tmp_path / ".ave" / "config" / "panotti.json").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"panotti\.json: cannot be loaded"):
        homes.load("panotti", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("panotti", "enabled", "yes", 'panotti attribute in config "enabled" must be on the form {"enabled":<bool>}. '),
        ("panotti", "enabled", None, 'panotti attribute in config "enabled" must be on the form {"enabled":<bool>}. '),
        ("panotti", "port", "80", 'panotti attribute in config "port" must be on the form {"port":<integer>}. '),
        ("panotti", "port", True, 'panotti attribute in config "port" must be on the form {"port":<integer>}. '),
        ("panotti", "host", 1, 'panotti attribute in config "host" must be on the form {"host":<string>}. '),
        ("panotti", "spool", [], 'panotti attribute in config "spool" must be on the form {"spool":<dictionary>}. '),
        ("workspace", "root", 1, 'workspace attribute "root" must be on the form {"root":<string>}. '),
    ],
)
def test_a_value_of_the_wrong_type_is_told_in_the_words_of_the_contract(write, name, key, value, message):
    with pytest.raises(ConfigError) as caught:
        homes.load(name, write(name, {key: value}))
    assert str(caught.value).startswith(f"{message}current value={value} (type={type(value)})")
    assert f"{name}.json" in str(caught.value)


@pytest.mark.parametrize(
    ("spool", "message"),
    [
        ({"policy": "sometimes"}, "must be one of host, class, always, none, found 'sometimes'"),
        ({"policy": None}, '"policy" must be on the form'),
        ({"quota_bytes": 0}, "must be more than 0, found 0"),
        ({"quota_bytes": -1}, "must be more than 0, found -1"),
        ({"quota_bytes": True}, '"quota_bytes" must be on the form'),
        ({"quota_bytes": 1.5}, '"quota_bytes" must be on the form'),
    ],
)
def test_a_wrong_setting_of_the_spool_is_an_error(write, spool, message):
    with pytest.raises(ConfigError, match=message):
        homes.load("panotti", write("panotti", {"spool": spool}))


@pytest.mark.parametrize("policy", homes.POLICIES)
def test_every_policy_is_accepted(write, policy):
    assert homes.load("panotti", write("panotti", {"spool": {"policy": policy}}))["spool"]["policy"] == policy
