"""Files of results become records, and nothing whole is lost."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from ave import report
from ave.exceptions import FormatError, SpoolFull, UsageError

DATA = Path(__file__).parent.parent / "data" / "junit"
GUID = "guid-of-the-run"
SUITE = b'<testsuite name="s"><testcase name="a"/><testcase name="b"><failure message="m"/></testcase></testsuite>'


def test_each_attempt_in_a_file_is_a_verdict_of_the_run(emitted):
    report.verdicts(DATA / "surefire" / "TEST-lab.RadioTest.xml", GUID)
    records = emitted()
    assert len(records) == 17
    assert {(record.kind, record.guid, record.source) for record in records} == {("verdict", GUID, "report")}
    flaky = [(r.body["attempt"], r.body["result"]) for r in records if r.body["name"] == "flakyAssertThird"]
    assert flaky == [(1, "failure"), (2, "failure"), (3, "passed")]


def test_the_body_is_what_the_parser_gives(emitted):
    report.verdicts(io.BytesIO(SUITE), GUID)
    passed, failed = (record.body for record in emitted())
    identity = {"suite": "s", "testsuite": "s", "properties": {}, "attempt": 1, "origin": "junit"}
    assert passed == {**identity, "name": "a", "result": "passed"}
    assert failed == {**identity, "name": "b", "result": "failure", "message": "m"}


def test_the_tally_has_the_cases_by_final_verdict():
    tally = report.verdicts(DATA / "surefire" / "TEST-lab.RadioTest.xml", GUID)
    assert (tally.total, tally.attempts) == (8, 17)
    counts = {"passed": 1, "flaky": 2, "failure": 1, "error": 2, "skipped": 2, "xfailed": 0, "xpassed": 0}
    assert tally.results == counts
    assert tally.as_dict() == {"total": 8, "attempts": 17, "results": counts}


def test_a_file_without_cases_is_fine(emitted):
    assert report.verdicts(DATA / "gtest" / "ok_gtest_nomatch.xml", GUID).total == 0
    assert emitted() == []


def test_a_path_is_looked_for_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "r.xml").write_bytes(SUITE)
    monkeypatch.chdir(tmp_path)
    assert report.verdicts("r.xml", GUID).total == 2


def test_the_source_and_the_home_may_be_given(tmp_path, emitted):
    report.verdicts(io.BytesIO(SUITE), GUID, str(tmp_path / "other"), source="me")
    assert emitted() == []
    assert list((tmp_path / "other" / ".ave" / "spool").glob("*.seg"))


@pytest.mark.parametrize("wrap", [io.BytesIO, lambda data: io.BufferedReader(io.BytesIO(data))])
def test_a_file_object_is_read_from_where_it_stands_and_stays_open(wrap):
    file = wrap(b"head" + SUITE)
    file.read(4)
    assert report.verdicts(file, GUID).total == 2
    assert not file.closed


def test_a_pipe_can_be_read(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, SUITE)
    os.close(writing)
    with open(reading, "rb") as file:
        assert report.verdicts(file, GUID).total == 2


# Damage


def test_of_a_damaged_file_the_whole_cases_are_kept_before_the_error(emitted, tmp_path):
    path = tmp_path / "cut.xml"
    path.write_bytes(SUITE[: SUITE.index(b"<failure")])
    with pytest.raises(FormatError) as caught:
        report.verdicts(path, GUID)
    message = str(caught.value)
    assert message.startswith(f"{path}: line 1, column ")
    assert message.endswith("its writer was stopped or is still writing (kept before that: 1 verdicts)")
    assert caught.value.details["kept"]["attempts"] == 1
    assert caught.value.details["line"] == 1
    assert [record.body["name"] for record in emitted()] == ["a"]


def test_a_file_that_cannot_be_read_to_its_end_is_kept_as_far_as_it_can(emitted):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read(50)

    with pytest.raises(
        FormatError, match=r"the file: cannot be read any further: .*Input/output error \(kept before that: 1 verdicts"
    ):
        report.verdicts(Failing(SUITE), GUID, format="junit")
    assert len(emitted()) == 1


def test_an_empty_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "empty.xml").touch()
    with pytest.raises(FormatError, match=r"empty\.xml: line 1, column 1: it is empty \(0 bytes\)"):
        report.verdicts(tmp_path / "empty.xml", GUID)


def test_a_file_of_no_known_format_is_an_error_that_names_the_formats(tmp_path):
    (tmp_path / "notes.txt").write_text("all is well")
    with pytest.raises(FormatError, match=r"notes\.txt: no known format, which are: junit"):
        report.verdicts(tmp_path / "notes.txt", GUID)


def test_another_kind_of_xml_is_an_error_that_says_what_it_found(tmp_path):
    (tmp_path / "page").write_text("<html/>")
    with pytest.raises(FormatError, match="the root element must be testsuites or testsuite, found html"):
        report.verdicts(tmp_path / "page", GUID)


# Calls


@pytest.mark.parametrize("guid", ["", "short", None, 5, b"bytes-guid-of-run"])
def test_a_guid_that_is_none_is_refused(guid):
    with pytest.raises(UsageError, match="a GUID is a text of at least 10 characters, found"):
        report.verdicts(io.BytesIO(SUITE), guid)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(lambda path: None, "No such file or directory"), (lambda path: path.mkdir(), "Is a directory")],
)
def test_a_path_that_cannot_be_read_is_named_with_the_reason(tmp_path, make, reason):
    path = tmp_path / "r.xml"
    make(path)
    with pytest.raises(UsageError, match=rf"r\.xml: cannot be read: {reason} \(in /"):
        report.verdicts(path, GUID)


def test_a_path_that_is_none_at_all_is_refused():
    with pytest.raises(UsageError, match="cannot be read: embedded null byte"):
        report.verdicts("a\0b", GUID)


def test_a_format_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="no such format: 'nunit'; it must be one of junit"):
        report.verdicts(io.BytesIO(SUITE), GUID, format="nunit")


def test_a_full_spool_is_told(home):
    config = home / ".ave" / "config"
    config.mkdir(parents=True)
    (config / "panotti.json").write_text(json.dumps({"spool": {"quota_bytes": 1}}))
    with pytest.raises(SpoolFull):
        report.verdicts(io.BytesIO(SUITE), GUID)


# Recognition


@pytest.mark.parametrize(
    ("head", "path", "name"),
    [
        (b"<?xml", "", "junit"),
        (b"<testsuite", "results", "junit"),
        (b"", "a.xml", "junit"),
        (b"\x00garbage", "/x/a.xml", "junit"),
        (b"", "a.txt", None),
        (b"garbage", "", None),
    ],
)
def test_the_content_tells_the_format_and_else_the_name(head, path, name):
    assert report.recognise(head, path) == name


def test_every_format_has_a_parser_that_can_be_asked():
    from ave.report import registry

    for name in report.FORMATS:
        assert registry.parser(name).recognise(b"") is False
