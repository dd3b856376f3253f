import json
import os

import pytest

import vcsjob
from ave.exceptions import UsageError


def test_a_guid_is_read_back_as_it_was_set():
    vcsjob.set_guid("https://ci.example/job/ä/17")
    assert vcsjob.get_guid() == "https://ci.example/job/ä/17"
    assert os.environb[b"VCSJOB_GUID"] == "https://ci.example/job/ä/17".encode()


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_guid_takes_the_old_one_away(nothing):
    vcsjob.set_guid("guid-0123456789")
    vcsjob.set_guid(nothing)
    vcsjob.set_guid(nothing)  # and may be said twice
    assert "VCSJOB_GUID" not in os.environ
    with pytest.raises(UsageError) as caught:
        vcsjob.get_guid()
    assert str(caught.value) == "guid not set"


def test_an_empty_guid_in_the_environment_is_none(monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", "")
    with pytest.raises(UsageError, match=r"^guid not set$"):
        vcsjob.get_guid()


def test_a_guid_that_is_no_text_is_refused():
    with pytest.raises(UsageError, match=r"^guid is not a string: \['x'\]$"):
        vcsjob.set_guid(["x"])
    assert "VCSJOB_GUID" not in os.environ


def test_a_guid_that_is_not_utf8_is_refused(monkeypatch):
    monkeypatch.setitem(os.environb, b"VCSJOB_GUID", b"guid-\xff-0123456789")
    with pytest.raises(UsageError, match=r"^Wrong format of guid"):
        vcsjob.get_guid()


def test_a_log_path_is_read_back_as_it_was_set():
    vcsjob.set_log_path("/var/tmp/log.txt")
    assert vcsjob.get_log_path() == os.environ["VCSJOB_LOG_PATH"] == "/var/tmp/log.txt"
    vcsjob.set_log_path(None)
    assert "VCSJOB_LOG_PATH" not in os.environ
    with pytest.raises(UsageError, match=r"^no log path set$"):
        vcsjob.get_log_path()


PROFILES = [{"type": "sömething", "är": '"lurt"'}, {"type": "same"}, {"type": "same"}]


def test_profiles_are_read_back_as_they_were_set():
    vcsjob.set_profiles(PROFILES)
    assert vcsjob.get_profiles() == PROFILES
    assert json.loads(os.environ["VCSJOB_PROFILES"]) == PROFILES


def test_lists_of_profiles_are_read_back_as_tuples():
    vcsjob.set_profiles([{"type": "a"}, [{"type": "handset"}, {"type": "relay"}]])
    assert vcsjob.get_profiles() == [{"type": "a"}, ({"type": "handset"}, {"type": "relay"})]


def test_no_profiles_at_all_differ_from_an_empty_list():
    vcsjob.set_profiles([])
    assert vcsjob.get_profiles() == []
    vcsjob.set_profiles(None)
    with pytest.raises(UsageError, match=r"^no profiles set$"):
        vcsjob.get_profiles()


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        (123, "profiles must be a list of dictionaries: 123"),
        ({"type": "w"}, "profiles must be a list of dictionaries: {'type': 'w'}"),
        ([123], "profile is not a dictionary or list: 123"),
        ([[{"type": "ok"}, "x"]], "profile is not a dictionary or list: x"),
        ([{"type": "ok"}, {"no": "type"}], "\"type\" field is missing in profile\": {'no': 'type'}"),
        ([[{"no": "type"}]], "\"type\" field is missing in profile\": {'no': 'type'}"),
        ([{"type": 1}], "\"type\" field is not a string: {'type': 1}"),
    ],
)
def test_profiles_of_another_form_are_refused(profiles, message):
    with pytest.raises(UsageError) as caught:
        vcsjob.set_profiles(profiles)
    assert str(caught.value) == message
    assert "VCSJOB_PROFILES" not in os.environ


def test_profiles_that_are_not_json_are_refused(monkeypatch):
    monkeypatch.setenv("VCSJOB_PROFILES", "[{")
    with pytest.raises(UsageError, match=r"^VCSJOB_PROFILES is not JSON: Expecting "):
        vcsjob.get_profiles()
