"""Signals as messages to the main thread: each one is seen, whatever the thread is doing when it comes."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["TAKEN", "Signals"]

#: What a service takes: end, end, read the configuration again, write a hickup.
TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Signals:
    """A bell that signals ring, and other threads; only the main thread waits for it.

    A handler only notes the number. The kernel's part of it writes to a pipe besides, so one that comes just before
    the wait ends the wait.
    """

    def __init__(self) -> None:
        self._came: set[int] = set()
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Begin to take them, those that were blocked until now included."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in TAKEN:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)

    def uninstall(self) -> None:
        """Ignore them from now on: the process ends already, and its exit code is to say how."""
        for number in TAKEN:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)

    def is_end(self) -> bool:
        """Tell whether a signal to end has come and waits to be taken."""
        return not self._came.isdisjoint((signal.SIGTERM, signal.SIGINT))

    def ring(self) -> None:
        """Let `wait` return; from any thread."""
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            pass  # it rings already

    def wait(self, seconds: float | None = None) -> set[int]:
        """Wait until the bell rings and return the signals that came since the last time."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if poll.poll(None if seconds is None else seconds * 1000):
            os.read(self._read, 65536)
        # a handler may come between any two of these steps: it then still adds to the set that is returned
        came, self._came = self._came, set()
        return came

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.add(number)
