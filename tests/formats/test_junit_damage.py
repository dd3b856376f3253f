"""What is wrong with a file is said, and nothing else is lost; what is meant to do harm does none."""

from __future__ import annotations

import io
import random
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ave.exceptions import FormatError
from ave.formats import junit

DATA = Path(__file__).parent.parent / "data" / "junit"
SAMPLES = sorted(path.relative_to(DATA).as_posix() for path in DATA.rglob("*.xml"))
WHOLE = b'<testsuite><testcase name="a"/>\n<testcase name="b"><failure message="m">t</failure></testcase></testsuite>'


def read_all(data: bytes) -> tuple[list[dict], FormatError | None]:
    """Return the bodies and the error behind them."""
    bodies = []
    try:
        for body in junit.cases(io.BytesIO(data), "x.xml"):
            bodies.append(body)
    except FormatError as error:
        return bodies, error
    return bodies, None


def message_of(data: bytes) -> str:
    error = read_all(data)[1]
    assert error is not None
    return str(error)


# Bytes in any pieces


@pytest.mark.parametrize(
    "name", ["surefire/TEST-lab.RadioTest.xml", "gtest/lab_gtest_envfail.xml", "ducktape/report.xml"]
)
def test_bodies_are_the_same_wherever_the_bytes_are_split(name):
    data = (DATA / name).read_bytes()
    whole, _ = read_all(data)
    for at in range(1, len(data), 1 if len(data) < 3000 else 7):
        parser = junit.Parser()
        bodies = parser.feed(data[:at]) + parser.feed(data[at:]) + parser.close()
        assert bodies == whole, at


@pytest.mark.parametrize("name", ["pytest/lab_nologging_xunit1.xml", "surefire/TEST-lab.RadioTest.xml"])
def test_bodies_are_the_same_byte_by_byte(name):
    data = (DATA / name).read_bytes()
    parser = junit.Parser()
    bodies = [body for at in range(len(data)) for body in parser.feed(data[at : at + 1])] + parser.close()
    assert bodies == read_all(data)[0]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.integers(1, 5000), min_size=1))
def test_bodies_are_the_same_in_pieces_of_any_size(name, sizes):
    data = (DATA / name).read_bytes()
    whole, _ = read_all(data)
    parser, bodies, at = junit.Parser(), [], 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        bodies += parser.feed(data[at : at + size])
        at += size
    assert bodies + parser.close() == whole


def test_a_case_is_given_as_soon_as_its_last_byte_is_there():
    parser = junit.Parser()
    head, tail = WHOLE.split(b"/>\n", 1)
    assert parser.feed(head + b"/") == []
    assert [body["name"] for body in parser.feed(b">")] == ["a"]
    assert [body["name"] for body in parser.feed(tail)] == ["b"]
    assert parser.close() == []


# Damage


@pytest.mark.parametrize("at", range(len(WHOLE)))
def test_a_file_cut_anywhere_gives_its_whole_cases_and_then_the_error(at):
    bodies, error = read_all(WHOLE[:at])
    whole = WHOLE[:at].count(b"/>\n") or WHOLE[:at].endswith(b'a"/>')
    assert [body["name"] for body in bodies] == ["a", "b"][: whole + WHOLE[:at].count(b"</testcase>")]
    assert error is not None


def test_an_empty_file_is_said_to_be_empty():
    assert message_of(b"") == "x.xml: line 1, column 1: it is empty (0 bytes)"


def test_a_file_of_blanks_is_said_to_have_nothing_in_it():
    assert message_of(b" \n ").endswith("there is no element in it")


def test_a_truncated_file_is_said_to_end_too_early_and_where():
    data = WHOLE[: WHOLE.index(b"<failure")]
    column = len(data.splitlines()[1]) + 1
    reason = "it ends too early: its writer was stopped or is still writing"
    assert message_of(data) == f"x.xml: line 2, column {column}: {reason}"


def test_the_error_names_file_line_and_column():
    _, error = read_all(b'<testsuite>\n  <testcase name="a"/>\n  <wrong></testsuite>')
    assert str(error) == "x.xml: line 3, column 12: mismatched tag"
    assert {"file": "x.xml", "line": 3, "column": 12, "type": "FormatError"}.items() <= error.details.items()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html><body/></html>", "the root element must be testsuites or testsuite, found html"),
        (b'<testcase name="n"/>', "found testcase"),
        (b"plain text", "syntax error"),
        (b'<testsuite><testcase name="\0"/></testsuite>', "not well-formed"),
        (b"<testsuite>\0</testsuite>", "not well-formed"),
        (b"<testsuite>\x1b[31m</testsuite>", "not well-formed"),
        (b'<testsuite><testcase name="\xff"/></testsuite>', "not well-formed"),
        (b'<testsuite name="a" name="b"/>', "duplicate attribute"),
        (b"<testsuite>&nbsp;</testsuite>", "undefined entity"),
        (b"<testsuite>&#xD800;</testsuite>", "invalid character number"),
        (b"<testsuite/><testsuite/>", "junk after document element"),
        (b'<?xml version="1.0" encoding="no-such"?><testsuite/>', "unknown encoding"),
        (b'<?xml version="1.0" encoding="shift_jis"?><testsuite/>', "encoding"),
        ("<testsuite/>".encode("utf-32"), ""),
    ],
)
def test_what_is_wrong_is_said(data, reason):
    assert reason in message_of(data)


def test_after_an_error_every_call_raises_it_again():
    parser = junit.Parser()
    first = None
    for call in (
        lambda: parser.feed(b"<no"),
        lambda: parser.feed(b">"),
        lambda: parser.feed(b"<testsuite>"),
        parser.close,
    ):
        try:
            assert call() == []
        except FormatError as error:
            assert first is None or error is first
            first = error
    assert first is not None
    with pytest.raises(FormatError):
        parser.close()


def test_cases_before_the_damage_come_before_the_error_of_the_same_bytes():
    parser = junit.Parser()
    assert [body["name"] for body in parser.feed(b'<testsuite><testcase name="a"/></wrong>')] == ["a"]
    with pytest.raises(FormatError, match="mismatched tag"):
        parser.feed(b"")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 2**32))
def test_any_damage_is_a_format_error_or_none_at_all(name, seed):
    chance = random.Random(seed)
    data = bytearray((DATA / name).read_bytes())
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data))
        data[at : at + chance.randint(0, 20)] = chance.randbytes(chance.randint(0, 5))
    bodies, _ = read_all(bytes(data))
    assert all(body["result"] in {"passed", "failure", "error", "skipped", "xfailed", "xpassed"} for body in bodies)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_format_error_or_a_suite_without_cases(data):
    assert read_all(data)[0] == []


# Harm


@pytest.fixture
def canary():
    """The address of a listener, and a function that tells whether anybody ever connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)

        def was_called() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield f"http://127.0.0.1:{server.getsockname()[1]}/", was_called


BOMBS = {
    "an external entity": '<!DOCTYPE testsuite [<!ENTITY x SYSTEM "{url}">]>',
    "a file as entity": '<!DOCTYPE testsuite [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    "a parameter entity": '<!DOCTYPE testsuite [<!ENTITY % p SYSTEM "{url}"> %p;]>',
    "an external subset": '<!DOCTYPE testsuite SYSTEM "{url}">',
    "a public subset": '<!DOCTYPE testsuite PUBLIC "-//x" "{url}">',
    "a billion laughs": '<!DOCTYPE testsuite [<!ENTITY a "ha"><!ENTITY x "'
    + "&a;" * 10
    + '">'
    + "".join(f'<!ENTITY x{n} "{f"&x{n - 1 or str()};" * 10}">' for n in range(1, 10))
    + "]>",
    "a quadratic blow-up": f'<!DOCTYPE testsuite [<!ENTITY x "{"x" * 50000}">]>',
    "an entity that is never used": '<!DOCTYPE testsuite [<!ENTITY x "y">]>',
    "a bare document type": "<!DOCTYPE testsuite>",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_document_types_are_refused_and_nothing_is_fetched_or_expanded(bomb, canary):
    url, was_called = canary
    prologue = BOMBS[bomb].replace("{url}", url)
    data = f'<?xml version="1.0"?>{prologue}<testsuite><testcase name="{"&x;" * 10}"/></testsuite>'
    bodies, error = read_all(data.encode())
    assert bodies == []
    assert "document types and entities are refused" in str(error)
    assert not was_called()


def test_a_stylesheet_is_not_fetched(canary):
    url, was_called = canary
    bodies, error = read_all(f'<?xml-stylesheet href="{url}"?>'.encode() + WHOLE)
    assert (len(bodies), error) == (2, None)
    assert not was_called()


def test_deep_nesting_is_refused():
    bodies, error = read_all(b"<testsuite>" * 100)
    assert "nested deeper than 64 levels" in str(error)
    assert bodies == []


def test_nested_cases_are_no_way_around_the_depth():
    bodies, error = read_all(b"<testsuite>" + b"<testcase>" * 1000)
    assert "nested deeper than 64 levels" in str(error)
    assert len(bodies) < 64


def test_an_endless_number_of_names_is_refused():
    data = b"<testsuite>" + b"".join(b"<n%d/>" % n for n in range(30000)) + b"</testsuite>"
    assert "more than 10,000 different names" in message_of(data)
