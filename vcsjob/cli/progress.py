"""A line on the terminal that tells how far things are. What a job writes comes out of it unharmed.

It is drawn by an alarm signal, not by a thread, so it ticks while nothing else happens. Where the job's output goes
to the same terminal, the line stands below it: drawn after a second without output, where a line is complete, and
wiped before the next byte.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["Progress", "clock", "safe"]

#: How often the line is drawn anew, and how long the job must be silent where both share a terminal. Seconds.
TICK_S = 0.25
SILENCE_S = 1.0

_WIPE = b"\r\x1b[2K"


class Progress:
    """The line, while the context lasts. Without a terminal at stderr, or with a dumb one, nothing is ever drawn.

    Attributes:
        on: whether there is a line at all.
        shared: whether the job's output goes to the same terminal.
    """

    def __init__(self, *, shared: bool) -> None:
        self.on = _has_terminal()
        self.shared = shared
        self._label = ""
        self._detail = ""
        self._began = self._spoken = time.monotonic()
        self._drawn = b""  # what stands there now
        self._is_whole = True  # where both share a terminal: the job's last line is complete
        self._is_busy = False

    def start(self, label: str) -> None:
        """Begin to tell of something of this name."""
        self._began = time.monotonic()
        self._label, self._detail = label, ""

    def tell(self, detail: str) -> None:
        """Say how far it is; drawn at the next tick."""
        self._detail = detail

    def pause(self) -> None:
        """Wipe the line and keep it away: something is about to be written to the terminal."""
        self._is_busy = True
        if self._drawn:
            self._drawn = b""
            _write(_WIPE)

    def go_on(self, last: bytes = b"\n") -> None:
        """Let the line come back; the last byte that was written is `last`."""
        self._is_whole = last == b"\n"
        self._spoken = time.monotonic()
        self._is_busy = False

    def leave(self, text: str) -> None:
        """Leave a line for good, unless it were in the midst of a job's output; until the next start there is none."""
        self._label = ""
        if self.on and not self.shared:
            self.pause()
            _write(f"{text}\n".encode(errors="backslashreplace"))
            self.go_on()

    def _draw(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._is_busy or not self._label or not _is_in_front():
            return
        if self.shared and (not self._is_whole or now - self._spoken < SILENCE_S):
            return
        text = f"{self._label}  {clock(now - self._began)}  {self._detail}"
        line = text[: _width() - 1].encode(errors="backslashreplace")
        if line != self._drawn:
            self._drawn = line
            _write(_WIPE + line)

    def __enter__(self) -> Progress:
        if self.on:
            self._before = signal.signal(signal.SIGALRM, self._draw)
            signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.on:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            self.pause()


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it: `0:07`, `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def safe(text: str) -> str:
    """Return text on one line that does nothing to a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _has_terminal() -> bool:
    try:
        return os.isatty(sys.stderr.fileno()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, OSError, ValueError):
        return False


def _is_in_front() -> bool:
    """Say whether the terminal is ours: a shell has it while we run in the background."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:  # a terminal that no shell controls
        return True


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _write(data: bytes) -> None:
    fd = sys.stderr.fileno()
    try:
        # A terminal stopped with Ctrl-S must not stop the job.
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if poll.poll(0):
            os.write(fd, data)
    except OSError:  # the terminal is gone
        return
