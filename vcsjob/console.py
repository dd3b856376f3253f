"""Lines of a job's output as `log` records, where panotti.json enables it; the log has every byte in any case.

A record says where in the log its line begins. Lines come at a bounded rate: what is too much is left out, counted,
and told by the next record. The last lines of a job are kept at any rate.
"""

from __future__ import annotations

import time
from collections import deque

from ave import home as homes
from ave.exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Keep = Callable[[list[dict[str, Any]]], object]

__all__ = ["Console", "rate"]

#: Lines per second, where panotti.json says only that there shall be some.
RATE = 100

#: A job that was quiet may say so many seconds' worth of lines at once.
BURST_S = 10

#: Bytes of a line in one record; a longer line goes on in further ones.
LINE_MAX = 4096

#: Bytes of a line for which it counts once more: the costs of a record grow with its length.
EXTRA_BYTES = 256

#: What is kept of the end at any rate: so many lines, of so many bytes in all.
LAST_LINES = 20
LAST_BYTES = 8192


def rate() -> float:
    """Return how many lines a second panotti.json wants as records; 0: none at all."""
    try:
        wanted = homes.load("panotti", homes.find())["console"]
    except (ConfigError, FileNotFoundError):  # told by who emits the start of the run
        return 0
    if isinstance(wanted, dict):
        return float(wanted["rate"])
    return RATE if wanted else 0


class Console:
    """Cuts output into lines and hands at most `lines_per_s` of them on as bodies of records.

    Its time and memory do not depend on how much is left out.
    """

    def __init__(self, path: str | None, lines_per_s: float, keep: Keep) -> None:
        """`path`: what the offsets are about; None if that is no file. `keep` is handed bodies of one moment."""
        self._place = {"file": path} if path else {}
        self._rate = lines_per_s
        self._keep = keep
        self._credit = self._full = max(1.0, lines_per_s * BURST_S)
        self._since = time.monotonic()
        self._part = b""  # of a line whose end has not come
        self._is_within = False  # that part, or what comes next, is not a line's begin
        self._left_out = 0
        self._last = b""  # the end of what was left out, right before the part
        self._is_last_within = False

    def write(self, data: bytes, offset: int) -> None:
        """Take what the log got at `offset`."""
        offset -= len(self._part)
        data = self._part + data
        now = time.monotonic()
        self._credit = min(self._full, self._credit + (now - self._since) * self._rate)
        self._since = now
        done, bodies = 0, []
        for begin, end in _pieces(data, 0):
            if self._credit < 1:
                break
            self._credit -= 1 + (end - begin) // EXTRA_BYTES
            bodies.append(self._body(data[begin:end], offset + begin))
            done = end
        else:
            self._part = data[done:]
        if bodies:
            self._keep(bodies)
            self._last = b""
        if self._credit < 1:
            self._leave_out(data, done)

    def _leave_out(self, data: bytes, begin: int) -> None:
        """Count the lines behind `begin`, without a look at each."""
        end = data.rfind(b"\n", begin) + 1 or begin
        lines = data.count(b"\n", begin, end)
        pieces = (len(data) - end) // LINE_MAX
        if not self._last:
            self._is_last_within = self._is_within
        self._left_out += lines + pieces
        if lines or pieces:
            self._is_within = pieces > 0
        end += pieces * LINE_MAX
        last = self._last + data[max(begin, end - LAST_BYTES) : end]
        self._last = last[-LAST_BYTES:]
        self._is_last_within |= max(len(last), end - begin) > LAST_BYTES
        self._part = data[end:]

    def close(self, offset: int) -> None:
        """Keep the last lines; `offset` is the end of the output in the log."""
        text = self._last + self._part
        # what was cut off in front may have been a line's begin
        begin = (text.find(b"\n") + 1) % len(text) if len(self._last) == LAST_BYTES else 0
        spans = deque(_pieces(text, begin, is_all=True), LAST_LINES)
        if not spans:
            return
        first = spans[0][0]
        if self._last:
            self._left_out = max(0, self._left_out - sum(begin < len(self._last) for begin, _ in spans))
            self._is_within = text[first - 1] != ord("\n") if first else self._is_last_within
        offset -= len(text)
        self._keep([self._body(text[begin:end], offset + begin) for begin, end in spans])
        self._part = self._last = b""

    def _body(self, line: bytes, offset: int) -> dict[str, Any]:
        text = line.rstrip(b"\r\n").decode(errors="backslashreplace")
        body = {"stream": "console", "text": text, **self._place, "offset": offset}
        if self._is_within:
            body["continued"] = True
        if self._left_out:
            body["left_out"], self._left_out = self._left_out, 0
        self._is_within = not line.endswith(b"\n")
        return body


def _pieces(data: bytes, begin: int, *, is_all: bool = False) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each line from `begin` on, in pieces of at most LINE_MAX; `is_all`: the rest, too."""
    while begin < len(data):
        end = data.find(b"\n", begin, begin + LINE_MAX) + 1
        if not end and len(data) - begin >= LINE_MAX:
            end = _border(data, begin + LINE_MAX)
        if not end and not is_all:
            return
        end = end or len(data)
        yield begin, end
        begin = end


def _border(data: bytes, end: int) -> int:
    """Return `end`, or up to 3 bytes less, so that no UTF-8 character is cut in two."""
    for back in range(1, 4):
        if data[end - back] & 0xC0 != 0x80:  # not a byte within a character
            return end - back if data[end - back] >= 0xC0 else end
    return end
