"""Bytes of a log, made into what is told as one: a line, or all lines of a traceback.

No I/O here: bytes in, pieces out. What is not complete yet stays until there is more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PIECE_MAX", "Piece", "pieces"]

#: Bytes of a line or a traceback that are told as one; the rest of it comes in further pieces.
PIECE_MAX = 48 * 1024

_TRACEBACK = re.compile(rb"Traceback \(most recent call last\):$")
_GROUP = re.compile(rb"  \+ Exception Group Traceback \(most recent call last\):$")
_BEFORE_TRACEBACK = re.compile(rb"Exception (in thread|ignored in)\b.*$")
_CHAIN = (
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
)
_FATAL = b"Fatal Python error: "
_OF_FATAL = (b"Current thread ", b"Thread 0x", b"Extension modules: ", b"Python runtime state: ", b"<no Python frame>")


class Piece(NamedTuple):
    """A line or a traceback: where it is in what was given, and whether it goes on from the piece before."""

    begin: int
    end: int
    continued: bool


class _More(Exception):  # noqa: N818 - it is no error
    """What follows may belong to it."""


def pieces(data: bytes, *, is_all: bool, is_middle: bool = False) -> Iterator[Piece]:
    """Give the pieces that are complete, in order and without a hole between them.

    Args:
        data: begins where a piece ended.
        is_all: nothing comes after `data`, or not soon: a traceback that may go on is taken as it is.
        is_middle: it ended in the middle of a line.
    """
    ends = [match.end() for match in re.finditer(rb"\n", data)]
    lines = [data[begin : end - 1].rstrip(b"\r") for begin, end in zip([0, *ends], ends, strict=False)]
    at, index = 0, 0
    while index < len(lines):
        try:
            after = index + 1 if is_middle else _after(lines, index)
        except _More:
            if not is_all and len(data) - at < PIECE_MAX:
                return
            after = len(lines)
        yield from _cut(at, ends[after - 1], is_middle)
        at, index, is_middle = ends[after - 1], after, False
    while len(data) - at >= PIECE_MAX:
        yield Piece(at, at + PIECE_MAX, is_middle)
        at, is_middle = at + PIECE_MAX, True


def _cut(begin: int, end: int, continued: bool) -> Iterator[Piece]:
    for at in range(begin, end, PIECE_MAX):
        yield Piece(at, min(at + PIECE_MAX, end), continued or at > begin)


def _after(lines: list[bytes], index: int) -> int:
    """Return the index behind what begins at `index`; _More if that is not sure yet."""
    line = lines[index]
    if line.startswith(_FATAL):
        return _after_fatal(lines, index + 1)
    if _BEFORE_TRACEBACK.match(line):
        if not _TRACEBACK.match(_line(lines, index + 1)) and not _GROUP.match(lines[index + 1]):
            return index + 1
        index += 1
    while True:
        if _TRACEBACK.match(lines[index]):
            index = _after_indented(lines, index + 1) + 1  # the line that names the exception
        elif _GROUP.match(lines[index]):
            index = _after_indented(lines, index + 1)
        else:
            return index + 1
        if _line(lines, index) or _line(lines, index + 1) not in _CHAIN:
            return index
        _line(lines, index + 3)
        index += 3


def _after_indented(lines: list[bytes], index: int) -> int:
    while _line(lines, index).startswith((b" ", b"\t")):
        index += 1
    return index


def _after_fatal(lines: list[bytes], index: int) -> int:
    while not (line := _line(lines, index)) or line.startswith((b" ", b"\t", *_OF_FATAL)):
        index += 1
    return index


def _line(lines: list[bytes], index: int) -> bytes:
    if index >= len(lines):
        raise _More
    return lines[index]
