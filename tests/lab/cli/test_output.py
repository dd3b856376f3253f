"""The border to the terminal: nothing of a job's text acts on it, and numbers read well."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest

from ave.lab.cli.output import Line, Screen, clock, columns, day, many, one_line, safe, seconds, size, tell, write_json
from ave.record import Record

RED = "\x1b[31mred\x1b[0m"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        (RED, r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("a\rb\x08c\x7f\x00", r"a\x0db\x08c\x7f\x00"),
        ("a\u2028b\x85", r"a\u2028b\x85"),
        ("a\U000e0041b", r"a\U000e0041b"),
        ("\ufeff\u200b", r"\ufeff\u200b"),
        ("\udc80", r"\udc80"),
    ],
)
def test_what_a_terminal_obeys_is_escaped(hostile, shown):
    assert safe(hostile) == shown


@pytest.mark.parametrize(
    "text", ["åäö 日本語 عربي", "a b\u3000c", "👩\u200d🔬", "नमस\u200dते", "[red]x[/red] :smile:", "two\nlines"]
)
def test_what_is_text_stays(text):
    assert safe(text) == text


def test_tabs_are_blanks_and_line_ends_of_a_terminal_are_line_ends():
    assert safe("a\tb\r\nc") == "a   b\nc"


def test_no_character_that_acts_is_left():
    acting = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    every = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) in acting)
    assert {char for char in safe(every) if unicodedata.category(char) in acting} == {"\n", "\u200c", "\u200d"}


def test_a_text_on_one_line_shows_where_lines_ended():
    assert one_line("  a  b\n\n c\n") == "a b | c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert len(one_line("x " * 10**6, 100)) <= 100


def test_json_is_readable_for_programs(capsys):
    record = Record("i-1", "shout", "guid-345678", 1, "h", 2, "s", {"å": "\u202e\x1b", "n": 2**64 - 1})
    assert write_json([record, {"a": 1}]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('{"id":"i-1","kind":"shout","guid":"guid-345678","time":1,"host":"h","pid":2,"source":"s",')
    assert "å" in first
    assert json.loads(first) == record.as_dict()
    assert second == '{"a":1}'


def test_json_without_utf8_is_ascii_that_means_the_same(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="latin-1", write_through=True))
    write_json([{"a": "å\u202e"}])
    assert written.getvalue() == b'{"a":"\\u00e5\\u202e"}\n'


def test_piped_text_is_neither_coloured_nor_wrapped():
    stream = io.StringIO()
    Screen(stream).line(Line(0, "failure", "x" * 500 + "\n[red]y", "red"))
    first, second = stream.getvalue().splitlines()
    assert first.endswith("  failure     " + "x" * 500)
    assert second == " " * (len(first) - 500) + "[red]y"


def test_an_error_is_one_line_and_does_nothing_to_the_terminal(capsys):
    tell(f"no such file: a\nb {RED}")
    assert capsys.readouterr().err == r"ave: no such file: a b \x1b[31mred\x1b[0m" + "\n"


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (0, "0 s"), (1e-5, "< 0.1 ms"), (0.0123, "0.0123 s"), (59.94, "59.9 s"), (60, "1 min"), (192.7, "3 min 12 s"),
        (7200, "2 h"), (7260, "2 h 1 min"), (187200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_said_as_a_person_says_them(duration, said):
    assert seconds(duration) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (4 << 30, "4 GiB"), (1 << 60, "1.049e+06 TiB")]
)
def test_sizes_are_said_as_a_person_says_them(count, said):
    assert size(count) == said


def test_one_thing_is_no_plural():
    assert [many(1, "shout"), many(0, "shout"), many(2, "shout")] == ["1 shout", "0 shouts", "2 shouts"]


def test_numbers_stand_on_the_right():
    assert columns([["kind", "n"], ["shout", 5], ["event", 1234]]) == ["kind      n", "shout     5", "event  1234"]


def test_a_time_no_calendar_has_is_no_error():
    assert (day(2**80), clock(-(2**80))) == ("1970-01-01", "00:00:00.000")
