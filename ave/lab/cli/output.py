"""What `ave` writes: records as lines of JSON, or text for a person. The only border to the terminal.

Text of jobs is not trusted: control and bidirectional characters leave here escaped, and nothing in it is
markup. Colour and folding are for terminals; what is piped has neither.
"""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from json import JSONEncoder
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ave.lab.text import safe, safe_line
from ave.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

__all__ = [
    "Line",
    "Progress",
    "Screen",
    "clock",
    "columns",
    "day",
    "many",
    "one_line",
    "safe",
    "seconds",
    "shortened",
    "size",
    "tell",
    "write_json",
    "zone",
]

#: A terminal narrower than this has the text of a line below its time and label, not beside them.
NARROW = 60

#: Width of the labels of a story.
LABEL = 10

#: The longest name of a store that has room beside its numbers in 80 columns.
STORE = 40

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Line(NamedTuple):
    """One thing to tell: when (nanoseconds since the epoch, UTC), its name, and text of one or more lines."""

    time: int | None
    label: str
    text: str
    style: str = ""


# Text on one line


def one_line(text: str, limit: int = 1000) -> str:
    """Return the beginning of a text as one line, ` | ` where lines ended; not yet safe."""
    cut = text[: 2 * limit]
    line = " | ".join(" ".join(part.split()) for part in cut.split("\n") if part.strip())
    return line if len(line) <= limit and len(cut) == len(text) else line[: limit - 1] + "…"


# JSON


def write_json(items: Iterable[Record | dict[str, Any]]) -> int:
    """Write one line of JSON for each item, records with all fields in their order; return how many there were."""
    # UTF-8 for programs; where a terminal would obey some of it, or there is no UTF-8, ASCII that means the same
    plain = not sys.stdout.isatty() and sys.stdout.encoding.lower().replace("-", "") == "utf8"
    encode = JSONEncoder(ensure_ascii=not plain, separators=(",", ":")).encode
    count = 0
    for item in items:
        sys.stdout.write(encode(item.as_dict() if isinstance(item, Record) else item) + "\n")
        count += 1
    return count


# Text for a person


class Screen:
    """Writes text to a stream, by default stdout: on a terminal coloured and folded, elsewhere neither."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = _Terminal(self._stream) if self._stream.isatty() else None

    def text(self, text: str, style: str = "") -> None:
        """Write one or more whole lines."""
        if self._terminal:
            self._terminal.write([(safe(text), style)])
        else:
            self._stream.write(safe(text) + "\n")

    def beside(self, head: str, text: str, style: str = "") -> None:
        """Write one line, on a terminal folded beside its head; words, such as paths, stay whole."""
        head, text = safe_line(head), safe_line(text)
        if self._terminal:
            self._terminal.beside(head, text, style)
        else:
            self._stream.write(f"{head}{text}\n")

    def line(self, line: Line) -> None:
        """Write a line of a story: time, label, and the text in a column of its own."""
        time, label, text = clock(line.time), safe(line.label), safe(line.text)
        if self._terminal:
            self._terminal.line(time, label, text, line.style)
            return
        head = f"{time:12}  {label:{LABEL}}  "
        self._stream.write(head + text.replace("\n", "\n" + " " * len(head)).rstrip() + "\n")

    def row(self, line: Line, *fields: str) -> None:
        """Write a line of a list: date and time, label, fields, and the text cut where a terminal ends."""
        when = f"{day(line.time)} {clock(line.time)}  "
        label = f"{safe(line.label):{LABEL}}"
        rest = safe("  ".join(("", *fields, one_line(line.text))))
        if self._terminal:
            self._terminal.write([(when, "dim"), (label, line.style), (rest, "")], cut=True)
        else:
            self._stream.write(f"{when}{label}{rest}".rstrip() + "\n")

    def flush(self) -> None:
        """See that everything is out."""
        self._stream.flush()


class _Terminal:
    """The part of `Screen` that needs rich, which takes longer to load than many a command to run."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.text import Text  # noqa: PLC0415

        self._console = Console(file=stream, force_terminal=True, force_jupyter=False, emoji=False)
        self._make = Text

    def write(self, parts: Sequence[tuple[str, str]], *, cut: bool = False) -> None:
        # Text.assemble and print of a Text object never look for markup
        text = self._make.assemble(*parts)
        if cut:
            text.truncate(self._console.width, overflow="ellipsis")
        self._console.print(text, soft_wrap=True, highlight=False)

    def beside(self, head: str, text: str, style: str) -> None:
        room = max(20, self._console.width - len(head))
        for part in wrap(text, room, break_long_words=False, break_on_hyphens=False):
            self.write([(f"{head}{part}", style)])
            head = " " * len(head)

    def line(self, time: str, label: str, text: str, style: str) -> None:
        narrow = self._console.width < NARROW
        head = [(f"{time:12}  ", "dim"), (f"{label:{LABEL}}  ", style)]
        indent = 2 if narrow else 16 + max(LABEL, len(label))
        if narrow:
            self.write([*head])
        begin: list[tuple[str, str]] = [] if narrow else head
        for paragraph in text.split("\n"):
            for part in self._make(paragraph).wrap(self._console, max(20, self._console.width - indent)):
                self.write([*(begin or [(" " * indent, "")]), (part.plain.rstrip(), "")])
                begin = []


class Progress:
    """One line on stderr that is written anew again and again, if that is a terminal; a context manager."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, text: str) -> None:
        """Replace what the line says."""
        if self._on:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[2K{safe(one_line(text))[:width]}")
            sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def tell(text: str) -> None:
    """Write one line about the command itself to stderr."""
    sys.stderr.write(f"ave: {safe(' '.join(text.split()))}\n")


# Parts of a text


def day(time: int | None) -> str:
    """Return the local date of nanoseconds since the epoch."""
    return "" if time is None else f"{_local(time):%Y-%m-%d}"


def clock(time: int | None) -> str:
    """Return the local time of day of nanoseconds since the epoch, to the millisecond."""
    return "" if time is None else f"{_local(time):%H:%M:%S.%f}"[:-3]


def zone(time: int) -> str:
    """Return how local time differs from UTC then: `UTC+0100`."""
    return f"{_local(time):UTC%z}"


def _local(time: int) -> datetime:
    try:
        return (_EPOCH + timedelta(microseconds=time // 1000)).astimezone()
    except (OverflowError, ValueError):  # a clock gone mad must not hide its record
        return _EPOCH


def seconds(duration: float) -> str:
    """Return a duration as a person says it: `0.123 s`, `3 min 12 s`, `2 d 4 h`."""
    if 0 < duration < 1e-4:
        return "< 0.1 ms"
    if duration < 60:
        return f"{duration:.3g} s"
    for unit, size_s, below, below_s in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if duration >= size_s:
            rest = int(duration % size_s / below_s)
            return f"{int(duration / size_s)} {unit}" + (f" {rest} {below}" if rest else "")
    raise AssertionError(duration)


def size(count: float) -> str:
    """Return a number of bytes as a person says it: `17 B`, `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    return f"{count:.4g} TiB"


def many(count: int, noun: str) -> str:
    """Return a number of things: `1 shout`, `2 shouts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shortened(store: str) -> str:
    """Return the name of a store, at most `STORE` characters: its end is what tells those apart that begin alike."""
    return store if len(store) <= STORE else f"{store[: STORE - 9]}…{store[-8:]}"


def columns(rows: Sequence[Sequence[object]]) -> list[str]:
    """Return rows of cells as lines of text in columns; numbers stand on the right, and what is above them."""
    table = []
    for cells in zip(*rows, strict=True):
        width = max(len(str(cell)) for cell in cells)
        way = ">" if any(isinstance(cell, int) for cell in cells) else "<"
        table.append([f"{cell!s:{way}{width}}" for cell in cells])
    return ["  ".join(row).rstrip() for row in zip(*table, strict=True)]
