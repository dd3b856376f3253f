"""A thread whose end is noticed, and whose errors are not its own affair."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Worker"]


class Worker(Thread):
    """Calls a function once, in a thread that does not keep the process alive.

    Args:
        what: e.g. `clients`, for stacks.
        call: returns an exit code, None for 0.
        ended: called when it has returned or raised.
    """

    def __init__(self, what: str, call: Callable[[], int | None], ended: Callable[[], object]) -> None:
        super().__init__(name=what, daemon=True)
        self.has_ended = False
        self._call = call
        self._ended = ended
        self._code = 0
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Be the thread."""
        try:
            self._code = self._call() or 0
        except BaseException as error:  # noqa: BLE001 - `result` raises it, where somebody knows what to do
            self._error = error
        self.has_ended = True
        self._ended()

    def result(self) -> int:
        """Return the exit code, or raise what was raised."""
        if self._error is not None:
            raise self._error
        return self._code
