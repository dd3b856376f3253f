from __future__ import annotations

import io
import sys
import traceback

import pytest

from ave.lab.daemon.lines import PIECE_MAX, pieces


def cut(data, **options):
    options.setdefault("is_all", False)
    return [data[piece.begin : piece.end] for piece in pieces(data, **options)]


def raised(error):
    """Return what the interpreter prints of an error."""
    text = io.StringIO()
    traceback.print_exception(error, file=text)
    return text.getvalue().encode()


def dive():
    dive()


def failing(kind):
    try:
        if kind == "plain":
            raise ValueError("no")
        if kind == "chained":
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError as error:
                raise ValueError("no") from error
        if kind == "while handling":
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError:
                {}["missing"]
        if kind == "group":
            raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])
        if kind == "deep":
            dive()
        compile("a b", "text", "exec")
    except BaseException as error:
        return error


TRACEBACKS = {
    kind: raised(failing(kind)) for kind in ("plain", "chained", "while handling", "group", "deep", "syntax")
} | {
    "thread": b"Exception in thread Thread-1 (work):\n" + raised(failing("chained")),
    "ignored": b"Exception ignored in: <function x>\n" + raised(failing("plain")),
    "fatal": b"Fatal Python error: Segmentation fault\n\nThread 0x01 (most recent call first):\n  File a, line 1\n\n"
    b"Current thread 0x02 (most recent call first):\n  File c, line 1 in d\n\nExtension modules: x (total: 1)\n",
}


def test_each_line_is_one():
    assert cut(b"one\ntwo\n\nthree\n") == [b"one\n", b"two\n", b"\n", b"three\n"]


def test_a_line_without_its_end_waits():
    assert cut(b"one\ntw") == [b"one\n"]
    assert cut(b"one\ntw", is_all=True) == [b"one\n"]


@pytest.mark.parametrize("kind", TRACEBACKS)
def test_a_traceback_is_one_and_its_neighbours_are_not_in_it(kind):
    data = b"before\n" + TRACEBACKS[kind] + b"after\n"
    assert cut(data, is_all=True) == [b"before\n", TRACEBACKS[kind], b"after\n"]


@pytest.mark.parametrize("kind", TRACEBACKS)
def test_a_traceback_that_comes_in_two_parts_is_one_wherever_it_is_cut(kind):
    data = TRACEBACKS[kind] + b"after\n"
    for at in range(len(data)):
        begin = cut(data[:at])
        done = sum(map(len, begin))
        assert begin + cut(data[done:]) == [TRACEBACKS[kind], b"after\n"]


@pytest.mark.parametrize("kind", TRACEBACKS)
def test_a_traceback_at_the_very_end_is_taken_when_nothing_follows(kind):
    assert cut(TRACEBACKS[kind], is_all=True) == [TRACEBACKS[kind]]


def test_a_long_line_comes_in_pieces():
    line = b"x" * (2 * PIECE_MAX + 10) + b"\n"
    found = [*pieces(line, is_all=False)]
    assert b"".join(line[piece.begin : piece.end] for piece in found) == line
    assert [piece.continued for piece in found] == [False, True, True]


def test_a_line_that_never_ends_comes_in_pieces_as_it_grows():
    begin = b"x" * (PIECE_MAX + 10)
    assert [*pieces(begin, is_all=False)] == [(0, PIECE_MAX, False)]
    assert [*pieces(b"x" * 10 + b"\nnext\n", is_all=False, is_middle=True)] == [(0, 11, True), (11, 16, False)]


def test_a_traceback_without_end_is_bounded():
    data = b"Traceback (most recent call last):\n" + b"  more\n" * PIECE_MAX
    assert sum(map(len, cut(data))) > PIECE_MAX


def test_ends_of_lines_of_other_systems_are_ends():
    text = TRACEBACKS["plain"].replace(b"\n", b"\r\n")
    assert cut(text + b"after\r\n") == [text, b"after\r\n"]


def test_the_interpreter_writes_tracebacks_as_these_tests_think():
    assert TRACEBACKS["chained"].count(b"Traceback") == 2
    assert b"During handling" in TRACEBACKS["while handling"]
    assert b"Exception Group Traceback" in TRACEBACKS["group"]
    assert b"repeated" in TRACEBACKS["deep"]
    assert sys.version_info >= (3, 11)
