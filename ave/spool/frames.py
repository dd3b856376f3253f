"""The lines of a segment: framing, and finding the whole ones among damage. Bytes in, lines out, no I/O.

A line is `crc32 length json LF`: both numbers 8 lower-case hexadecimal digits, one space behind each; the
CRC-32 covers the length with its space and the JSON. JSON never holds a raw LF, so a LF is a border that no
content can forge: after damage, reading goes on behind the next one. A torn or flipped line thus costs itself
and nothing else. Reading is linear in the input, whatever the input.
"""

from __future__ import annotations

import re
from itertools import islice
from zlib import crc32

__all__ = ["FOOTER", "HEADER", "LINE_MAX", "RECORD", "Damage", "Line", "frame", "kind_of", "scan"]

#: Bytes of JSON one line may have. The writer cuts far below; a larger length is damage.
LINE_MAX = 1 << 20

_PREFIX = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ")
_PREFIX_SIZE = 18

#: Places without a border before them where a line is looked for in one stretch of damage; a few, or hostile bytes
#: could make reading quadratic.
INSIDE_TRIES = 4
_BORDER = re.compile(rb"\n(?=[0-9a-f]{8} [0-9a-f]{8} )")

HEADER, FOOTER, RECORD = "header", "footer", "record"


class Line:
    """A whole line: its JSON, and where the line begins and where the next one does."""

    __slots__ = ("end", "offset", "payload")

    def __init__(self, offset: int, end: int, payload: bytes) -> None:
        self.offset = offset
        self.end = end
        self.payload = payload


class Damage:
    """Bytes that are no whole line. `torn`: they are the end of the file, as a killed writer leaves it."""

    __slots__ = ("end", "offset", "torn")

    def __init__(self, offset: int, end: int, torn: bool) -> None:
        self.offset = offset
        self.end = end
        self.torn = torn


def frame(payload: bytes) -> bytes:
    """Make a line of one JSON text (without LF)."""
    length = b"%08x " % len(payload)
    return b"%08x %s%s\n" % (crc32(payload, crc32(length)), length, payload)


def kind_of(payload: bytes) -> str:
    """Tell a record from the header and the footer of a segment, by its first key."""
    if payload.startswith(b'{"v":'):
        return HEADER
    return FOOTER if payload.startswith(b'{"footer":') else RECORD


def scan(data: bytes, base: int, final: bool, line_max: int = LINE_MAX) -> list[Line | Damage]:
    """Find the lines in `data`, which begins at offset `base` of its file, at the begin of a line.

    Unless `final`, an unfinished line at the end is left for the next call: continue at the `end` of
    the last item. If `final`, it is torn: no writer will finish it. What is longer than `line_max` is no line.
    """
    found: list[Line | Damage] = []
    here, size = _whole(found, data, base, line_max), len(data)
    while here < size:
        prefix = _PREFIX.match(data, here)
        start = here + _PREFIX_SIZE
        end = start + int(prefix[2], 16) if prefix else 0
        if prefix and end - start <= line_max and data.find(b"\n", here, min(end, size)) < 0:
            if end >= size:  # the line is longer than what is there
                if final:
                    _damaged(found, base + here, base + size, torn=True)
                return found
            if crc32(data[start:end], crc32(prefix[2] + b" ")) == int(prefix[1], 16):
                # the byte at `end` should be LF; were it flipped, the line is still whole
                found.append(Line(base + here, base + end + 1, data[start:end]))
                here = end + 1
                continue
            behind = _border(data, end)
        else:
            behind = _border(data, here)
        if behind < 0 and not final and size - here <= line_max + _PREFIX_SIZE:
            return found
        here, begin = _inside(data, here, behind) or (behind + 1 if behind >= 0 else size), here
        _damaged(found, base + begin, base + here, torn=behind < 0 and final)
    return found


def _whole(found: list[Line | Damage], data: bytes, base: int, line_max: int) -> int:
    """Take lines from the begin on while they are as the writer made them; return where the first other one begins.

    Nearly all data is nothing else, and for that this is the short way.
    """
    here = base
    for line in data.split(b"\n")[:-1]:
        size = len(line) - _PREFIX_SIZE
        if line[:_PREFIX_SIZE] != b"%08x %08x " % (crc32(line[9:]), size) or size > line_max:
            break
        end = here + size + _PREFIX_SIZE + 1
        found.append(Line(here, end, line[_PREFIX_SIZE:]))
        here = end
    return here - base


def _border(data: bytes, start: int) -> int:
    """Return where the next LF is behind which a line may begin; -1 if there is none."""
    border = _BORDER.search(data, start)
    if border:
        return border.start()
    # near the end, the prefix behind a LF may be unfinished; before that, no LF has a line behind it
    behind = data.find(b"\n", max(start, len(data) - _PREFIX_SIZE))
    return behind if behind >= 0 else data.rfind(b"\n", start)


def _inside(data: bytes, here: int, behind: int) -> int:
    """Return where between damage and the next border a whole line begins, the border before it lost; 0 if none."""
    for prefix in islice(_PREFIX.finditer(data, here + 1, max(here, behind)), INSIDE_TRIES):
        end = prefix.end() + int(prefix[2], 16)
        if end > behind or data.find(b"\n", prefix.end(), end + 1) != end:
            continue
        if crc32(data[prefix.end() : end], crc32(prefix[2] + b" ")) == int(prefix[1], 16):
            return prefix.start()
    return 0


def _damaged(found: list[Line | Damage], offset: int, end: int, *, torn: bool) -> None:
    """Note damage, joined with damage directly before it: one wound is counted once."""
    last = found[-1] if found else None
    if isinstance(last, Damage) and last.end == offset:
        last.end, last.torn = end, torn
    else:
        found.append(Damage(offset, end, torn))
