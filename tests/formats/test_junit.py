"""How the dialects of JUnit XML are read."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from pathlib import Path

import pytest

from ave.formats import junit

DATA = Path(__file__).parent.parent / "data" / "junit"
EXPECTED = json.loads((DATA / "expected.json").read_text())


def read(xml: str, name: str = "x.xml") -> list[dict]:
    return list(junit.cases(io.BytesIO(xml.encode()), name))


def suite(*cases: str, name: str = "s") -> str:
    return f'<testsuite name="{name}">{"".join(cases)}</testsuite>'


def only(case: str) -> dict:
    (body,) = read(suite(case))
    return body


def case(inside: str = "", attributes: str = "") -> dict:
    return only(f'<testcase classname="c" name="n" {attributes}>{inside}</testcase>')


def sample(name: str) -> list[dict]:
    with open(DATA / name, "rb") as file:
        return list(junit.cases(file, name))


def named(bodies: list[dict], name: str) -> list[dict]:
    return [body for body in bodies if body["name"] == name]


# Whole files of real tools


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_has_the_totals_that_another_parser_counts(name):
    bodies = sample(name)
    if not name.startswith("pytest/"):
        # of several attempts at a case, that parser counts what became of it
        bodies = list({(body["suite"], body["name"]): body for body in bodies}.values())
    counts = Counter(body["result"] for body in bodies)
    expected = EXPECTED[name]
    assert len(bodies) == expected["testcase_elements"]
    assert {result: counts[result] for result in ("passed", "failure", "error")} == {
        result: expected.get(result, 0) for result in ("passed", "failure", "error")
    }
    assert counts["skipped"] + counts["xfailed"] == expected.get("skipped", 0) + expected.get("notrun", 0)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_has_one_body_for_each_element_and_each_further_attempt(name):
    bodies = sample(name)
    further = sum(text.count(b"<flaky") + text.count(b"<rerun") for text in [(DATA / name).read_bytes()])
    further += 'status="flaky"' in (DATA / name).read_text()
    assert len(bodies) == EXPECTED[name]["testcase_elements"] + further


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_has_as_many_cases_as_different_names(name):
    bodies = sample(name)
    assert len({(body["suite"], body["name"]) for body in bodies}) == EXPECTED[name]["unique_name_class"]


@pytest.mark.parametrize("name", [name for name in EXPECTED if "sum_time" in EXPECTED[name]])
def test_durations_add_up_to_what_another_parser_adds(name):
    assert math.isclose(
        sum(body.get("duration", 0) for body in sample(name)), EXPECTED[name]["sum_time"], abs_tol=0.0005
    )


def test_results_of_the_last_attempts_of_surefire_are_those_it_counts():
    last = {body["name"]: body["result"] for body in sample("surefire/TEST-lab.RadioTest.xml")}
    assert Counter(last.values()) == {"passed": 3, "failure": 1, "error": 2, "skipped": 2}


def test_every_body_has_the_fields_of_a_verdict_and_json_values():
    for name in EXPECTED:
        for body in sample(name):
            assert {"suite", "name", "result", "attempt", "properties"} <= set(body)
            assert body["origin"] == "junit"
            assert json.loads(json.dumps(body)) == body


# Names


def test_the_suite_is_the_classname():
    assert only('<testcase classname="pkg.Class" name="n"/>')["suite"] == "pkg.Class"


def test_without_a_classname_the_suite_is_the_nearest_testsuite():
    assert only('<testcase classname="" name="n"/>')["suite"] == "s"
    assert only('<testcase name="n"/>')["suite"] == "s"


def test_the_collection_error_of_pytest_belongs_to_its_testsuite():
    (body,) = named(sample("pytest/lab_xunit1.xml"), "test_collect_error")
    assert (body["suite"], body["result"], body["message"]) == ("lab", "error", "collection failure")


def test_the_names_of_nested_suites_are_kept_from_the_outermost_on():
    inner = '<testsuite name="inner"><testcase classname="c" name="n"/></testsuite>'
    outer = suite(inner, '<testcase name="m"/>', name="outer")
    (first, second) = read(f'<testsuites name="all">{outer}</testsuites>')
    assert (first["testsuite"], second["testsuite"]) == ("outer / inner", "outer")


def test_suites_without_a_name_leave_no_trace():
    assert read('<testsuites><testsuite><testcase name="n"/></testsuite></testsuites>')[0]["testsuite"] == ""


def test_cases_directly_below_testsuites_are_read():
    assert [body["name"] for body in read('<testsuites><testcase name="n"/><testcase name="m"/></testsuites>')] == [
        "n",
        "m",
    ]


def test_the_parameters_of_pytest_are_what_stands_in_the_brackets():
    bodies = {body["name"]: body.get("parameters") for body in sample("pytest/lab_xunit2.xml")}
    assert bodies["test_param[78-nr/5g]"] == "78-nr/5g"
    assert bodies["test_param[8-gsm [old]]"] == "8-gsm [old]"
    assert bodies["test_pass"] is None


def test_the_parameters_of_googletest_are_its_values_and_types():
    bodies = {(body["suite"], body["name"]): body.get("parameters") for body in sample("gtest/lab_gtest.xml")}
    assert bodies["Named/ParamTest", "IsSmall/band20"] == "20"
    assert bodies["TypedTest/2", "SizeUnderEight"] == "double"


def test_googletests_failure_outside_of_any_test_has_its_suite_as_name():
    body = sample("gtest/lab_gtest_envfail.xml")[-1]
    assert (body["suite"], body["name"], body["result"]) == ("NonTestSuiteFailure", "", "failure")


# Results


@pytest.mark.parametrize(
    ("inside", "result"),
    [
        ("", "passed"),
        ("<failure/>", "failure"),
        ("<error/>", "error"),
        ("<skipped/>", "skipped"),
        ('<skipped type="pytest.skip" message="m"/>', "skipped"),
        ('<skipped type="pytest.xfail" message="m"/>', "xfailed"),
        ('<skipped message="xfail-marked test passes unexpectedly"/>', "xpassed"),
        ('<failure message="[XPASS(strict)] bug 44"/>', "failure"),
        ("<unknown><failure2/></unknown>", "passed"),
    ],
)
def test_the_element_inside_gives_the_result(inside, result):
    assert case(inside)["result"] == result


@pytest.mark.parametrize(
    ("inside", "result"),
    [
        ("<error/><failure/>", "failure"),
        ("<failure/><error/>", "failure"),
        ("<skipped/><error/>", "error"),
        ("<failure/><skipped/>", "failure"),
        ('<skipped/><skipped type="pytest.xfail"/>', "xfailed"),
    ],
)
def test_the_worst_of_several_elements_counts(inside, result):
    assert case(inside)["result"] == result


@pytest.mark.parametrize(
    ("attributes", "result"),
    [
        ('status="run" result="completed"', "passed"),
        ('status="notrun" result="suppressed"', "skipped"),
        ('status="run" result="skipped"', "skipped"),
        ('status="disabled"', "skipped"),
        ('status="PASS"', "passed"),
        ('status="FAIL"', "failure"),
        ('status="ignore"', "skipped"),
        ('status="error"', "error"),
    ],
)
def test_attributes_give_the_result_of_a_case_without_elements(attributes, result):
    assert case("", attributes)["result"] == result


def test_elements_outweigh_attributes():
    assert case("<skipped/>", 'status="fail"')["result"] == "skipped"


def test_elements_outside_of_a_case_say_nothing_about_one():
    assert [body["result"] for body in read(suite('<testcase name="n"/>', "<failure>no</failure>", "<error/>"))] == [
        "passed"
    ]


# Attempts


def attempts(bodies: list[dict], name: str) -> list[tuple[int, str]]:
    return [(body["attempt"], body["result"]) for body in named(bodies, name)]


def test_flaky_attempts_of_surefire_come_before_the_passed_one():
    bodies = sample("surefire/TEST-lab.RadioTest.xml")
    assert attempts(bodies, "flakyPassesSecond") == [(1, "error"), (2, "passed")]
    assert attempts(bodies, "flakyAssertThird") == [(1, "failure"), (2, "failure"), (3, "passed")]


def test_reruns_of_surefire_come_behind_the_first_failure():
    bodies = sample("surefire/TEST-lab.RadioTest.xml")
    assert attempts(bodies, "alwaysErrors") == [(1, "error"), (2, "error"), (3, "error")]


def test_each_attempt_of_surefire_has_its_own_trace_and_output():
    first, second, third = named(sample("surefire/TEST-lab.RadioTest.xml"), "alwaysFails")
    assert first["trace"].startswith("java.lang.AssertionError: modem count expected:<3>")
    assert second["trace"] == first["trace"]
    assert [body["stdout"].strip() for body in (first, second, third)] == ["attempt 1", "attempt 2", "attempt 3"]


def test_time_and_time_stamp_of_another_attempt_are_its_own():
    first, second = read(suite('<testcase name="n" time="2"><flakyFailure time="7" timestamp="then"/></testcase>'))
    assert (first["duration"], first["start"], second["duration"]) == (7, "then", 2)


def test_other_attempts_have_the_identity_of_the_case_but_not_its_properties():
    inside = '<properties><property name="a" value="b"/></properties><flakyError/>'
    first, second = read(suite(f'<testcase classname="c" name="n[p]" file="f" line="3">{inside}</testcase>'))
    shared = {
        "suite": "c",
        "testsuite": "s",
        "name": "n[p]",
        "parameters": "p",
        "file": "f",
        "line": 3,
        "origin": "junit",
    }
    assert shared.items() <= first.items()
    assert shared.items() <= second.items()
    assert (first["properties"], second["properties"]) == ({}, {"a": "b"})


def test_a_flaky_status_stands_for_a_failed_attempt_and_the_passed_one():
    first, second = named(sample("ducktape/report.xml"), "test_flaky")
    assert [(body["attempt"], body["result"]) for body in (first, second)] == [(1, "failure"), (2, "passed")]
    assert "says no more" in first["message"]


def test_repeated_elements_are_attempts_at_one_case():
    bodies = sample("pytest/lab_xunit1.xml")
    repeated = {name: count for name, count in Counter(body["name"] for body in bodies).items() if count > 1}
    assert repeated
    for name in repeated:
        if name != "test_fail_and_teardown_error":
            assert [body["attempt"] for body in named(bodies, name)] == list(range(1, repeated[name] + 1))


def test_attempts_are_counted_when_other_cases_come_between():
    bodies = sample("pytest/lab_xdist4.xml")
    again = [body for body in bodies if body["attempt"] > 1]
    assert again
    for body in again:
        earlier = [one["attempt"] for one in bodies[: bodies.index(body)] if one["name"] == body["name"]]
        assert body["attempt"] == max(earlier) + 1


def test_a_teardown_error_belongs_to_the_attempt_that_failed():
    bodies = sample("pytest/lab_xunit2.xml")
    assert attempts(bodies, "test_fail_and_teardown_error") == [(1, "failure"), (1, "error")]
    assert attempts(bodies, "test_teardown_error") == [(1, "error")]


def test_a_teardown_error_belongs_to_an_attempt_that_came_in_other_bytes():
    parser = junit.Parser()
    (failure,) = parser.feed(b'<testsuite><testcase name="n"><failure/></testcase>')
    (error,) = parser.feed(b'<testcase name="n"><error message="failed on teardown with x"/></testcase>')
    assert (failure["attempt"], error["attempt"]) == (1, 1)


def test_a_teardown_error_behind_a_passed_attempt_is_one_of_its_own():
    error = '<error message="failed on teardown with x"/>'
    assert [
        body["attempt"] for body in read(suite('<testcase name="n"/>', f'<testcase name="n">{error}</testcase>'))
    ] == [1, 2]


def test_equal_names_in_suites_of_other_names_are_other_cases():
    one, other = suite('<testcase classname="c" name="n"/>'), suite('<testcase classname="c" name="n"/>', name="t")
    assert [body["attempt"] for body in read(f"<testsuites>{one}{other}{one}</testsuites>")] == [1, 1, 2]


# Messages, traces, outputs


def test_the_message_is_the_attribute_and_the_trace_the_text():
    body = case('<failure message="m &lt;&#10;" type="T"> at line 1\n</failure>')
    assert (body["message"], body["trace"], body["type"]) == ("m <\n", " at line 1\n", "T")


def test_without_a_message_the_first_line_of_the_text_is_it():
    assert case("<error>\n  first\n  second\n</error>")["message"] == "first"
    assert case("<skipped>why</skipped>")["message"] == "why"


def test_without_any_text_the_type_is_the_message():
    assert case('<error type="java.lang.Error"/>')["message"] == "java.lang.Error"


def test_without_anything_there_is_no_message():
    assert "message" not in case("<failure/>")


def test_a_text_that_says_what_the_message_says_is_no_trace():
    (body,) = named(sample("gtest/lab_gtest.xml"), "DoesNotDie")
    assert body["message"].startswith("lab_gtest.cpp:39")
    assert "trace" not in body


def test_several_failures_in_one_case_are_joined():
    (body,) = named(sample("gtest/lab_gtest.xml"), "FailsExpect")
    assert body["message"].count("lab_gtest.cpp:8\n") == 2
    joined = case('<failure message="a" type="T">x</failure><error message="b" type="T">y</error>')
    assert (joined["message"], joined["trace"], joined["type"]) == ("a\nb", "x\n\ny", "T")


def test_what_a_skip_says_is_not_the_message_of_a_failure():
    assert case('<skipped message="s"/><failure message="f"/>')["message"] == "f"


def test_text_is_whole_across_entities_cdata_and_elements():
    text = "<failure>1\na&amp;b<![CDATA[<c>]]>d<br/>e&#x2603;</failure>"
    assert case(text)["trace"] == "1\na&b<c>de☃"


def test_control_characters_and_foreign_letters_of_pytest_survive():
    messages = [body.get("message", "") for body in sample("pytest/lab_xunit1.xml")]
    assert any("not today: åäö" in message for message in messages)


def test_colours_that_pytest_writes_for_a_terminal_are_left_out():
    red, plain = "#x1B[91m- music#x1B[39;49;00m#x1B[K", "- music"
    text = f'<failure message="{red}">{red}\nand #x1B as it is</failure><system-out>{red}</system-out>'
    body = case(text)
    assert (body["message"], body["trace"], body["stdout"]) == (plain, f"{plain}\nand #x1B as it is", plain)
    assert "left_out" not in body


def test_outputs_of_failures_are_kept_and_those_of_others_are_not():
    outputs = "<system-out>one</system-out><system-err>two</system-err><system-out> more</system-out>"
    body = case(f"{outputs}<failure/>")
    assert (body["stdout"], body["stderr"]) == ("one more", "two")
    assert not {"stdout", "stderr"} & set(case(outputs))
    assert not {"stdout", "stderr"} & set(case(f"<skipped/>{outputs}"))


def test_blank_outputs_are_none():
    assert "stdout" not in case("<failure/><system-out>\n \n</system-out>")


# Numbers, times, properties


@pytest.mark.parametrize(
    ("time", "duration"),
    [
        ("1.5", 1.5),
        ("0", 0.0),
        ("1e-3", 0.001),
        ("1,234.5", 1234.5),
        ("12,345,678", 12345678.0),
        ("0,123", None),
        ("1,23", None),
        ("", None),
        ("fast", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("-1", None),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_left_out(time, duration):
    assert case("", f'time="{time}"').get("duration") == duration


def test_a_case_without_time_has_no_duration():
    assert "duration" not in case()


@pytest.mark.parametrize(("line", "number"), [("7", 7), ("-1", None), ("x", None), ("9" * 5000, None)])
def test_a_line_is_a_number_or_left_out(line, number):
    assert case("", f'line="{line}"').get("line") == number


@pytest.mark.parametrize("known", ["", 'classname="c"', 'time="1"', 'classname="c" time="1"'])
@pytest.mark.parametrize(
    ("more", "expected"),
    [('file="f"', {"file": "f"}), ('status="fail"', {"result": "failure"}), ('x="y"', {"properties": {"x": "y"}})],
)
def test_no_attribute_is_missed_however_few_or_many_there_are(known, more, expected):
    assert expected.items() <= only(f'<testcase name="n" {known} {more}/>').items()


def test_file_and_start_are_kept_as_written():
    body = case("", 'file="tests/å.py" timestamp="2026-11-22T00:02:39.566"')
    assert (body["file"], body["start"]) == ("tests/å.py", "2026-11-22T00:02:39.566")


def test_googletests_time_stamp_of_a_case_that_did_not_run_is_left_out():
    (body,) = named(sample("gtest/lab_gtest.xml"), "DISABLED_NotYet")
    assert "start" not in body


def test_properties_are_texts_by_name_from_attribute_or_element():
    body = case('<properties><property name="a" value="1"/><property name="b">two</property></properties>')
    assert body["properties"] == {"a": "1", "b": "two"}


def test_a_property_that_comes_again_makes_a_list():
    values = "".join(f'<property name="a" value="{value}"/>' for value in "xyx")
    assert case(f"<properties>{values}</properties>")["properties"] == {"a": ["x", "y", "x"]}
    assert case('<property name="a" value="x"/><property name="a" value="x"/>')["properties"] == {"a": ["x", "x"]}


def test_properties_of_a_suite_are_not_those_of_its_cases():
    assert (
        read(suite('<properties><property name="a" value="1"/></properties><testcase name="n"/>'))[0]["properties"]
        == {}
    )


def test_attributes_without_a_meaning_are_properties_if_they_say_anything():
    assert case("", 'owner="me" assertions=""')["properties"] == {"owner": "me"}


def test_bodies_share_nothing_that_a_caller_may_change():
    first, second = read(suite('<testcase name="a"/><testcase name="b"/>'))
    first["properties"]["x"] = 1
    assert second["properties"] == {}


# Files of other tools and other encodings


def test_a_case_inside_a_case_is_a_case():
    bodies = read(
        suite('<testcase name="outer"><testcase name="inner"><failure/></testcase></testcase><testcase name="n"/>')
    )
    assert [(body["name"], body["result"]) for body in bodies] == [
        ("outer", "passed"),
        ("inner", "failure"),
        ("n", "passed"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_the_encoding_is_the_one_declared(encoding):
    declared = encoding.removesuffix("-sig")
    xml = f'<?xml version="1.0" encoding="{declared}"?>' + suite('<testcase name="åäö"/>')
    (body,) = junit.cases(io.BytesIO(xml.encode(encoding)))
    assert body["name"] == "åäö"


@pytest.mark.parametrize("head", [b"<", b"\xef\xbb\xbf<?xml", b"\n  <testsuite", "<testsuite".encode("utf-16")])
def test_what_begins_like_xml_is_recognised(head):
    assert junit.recognise(head)


@pytest.mark.parametrize("head", [b"", b"{}", b"[==========] Running", b"\xb3\x29", b"\xff\xfe\x00"])
def test_what_does_not_begin_like_xml_is_not_recognised(head):
    assert not junit.recognise(head)
