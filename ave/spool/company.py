"""Records that come thick wait for each other: written together, each costs a fraction of what it costs alone."""

from __future__ import annotations

import time
from collections import deque
from itertools import groupby
from operator import itemgetter

from ave.exceptions import SpoolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ave.spool.segment import Call

    _Waiting = tuple[Call, int, Callable[[], str]]

__all__ = ["WAITING_S", "Company"]

#: Records that may wait for company, and the seconds for which they may.
WAITING_MAX = 32
WAITING_S = 0.2

#: Seconds without another one after which a record that may wait does not.
ALONE_S = 0.01


class Company:
    """The records of one emitter that wait. It needs no lock: each is taken out by one thread or signal handler.

    Args:
        keep: puts records of one caller, `size` characters of JSON and each with its time, on the disk.
        refuse: counts records of a run and kind that are not kept.

    Attributes:
        waiting: the caller, the time and what gives the text of each record, oldest first.
    """

    def __init__(
        self, keep: Callable[[Call, list[str], int, list[int]], object], refuse: Callable[[str, str, int], None]
    ) -> None:
        self.waiting: deque[_Waiting] = deque()
        self._keep = keep
        self._refuse = refuse
        self._since = self._last = 0.0

    def wait(self, call: Call, body: Callable[[], str]) -> None:
        """Let a record wait if others come, too; else write it with all that wait, and raise what prevents that."""
        now = time.monotonic()
        is_alone = now - self._last > ALONE_S
        self._last = now
        if not self.waiting:
            self._since = now
        self.waiting.append((call, time.time_ns(), body))
        if is_alone or len(self.waiting) >= WAITING_MAX or now - self._since > WAITING_S:
            error = self.flush()
            if error is not None:
                raise error

    def flush(self) -> SpoolError | None:
        """Write what waits, with one write for those of one caller; return what prevented that."""
        taken: list[_Waiting] = []
        error = None
        try:
            while self.waiting:
                taken.append(self.waiting.popleft())
        except IndexError:  # another thread, or a signal handler, was faster
            pass
        for call, group in groupby(taken, key=itemgetter(0)):
            texts, times = self._made(call, group)
            try:
                if texts:
                    self._keep(call, texts, sum(map(len, texts)), times)
            except SpoolError as refused:
                error = refused
        return error

    def _made(self, call: Call, group: Iterable[_Waiting]) -> tuple[list[str], list[int]]:
        """Return the JSON texts and the times of what waited."""
        texts: list[str] = []
        times: list[int] = []
        for _, at, body in group:
            try:
                texts.append(body())
                times.append(at)
            except Exception:  # noqa: BLE001 - nobody else's record must suffer for it
                self._refuse(call.guid, call.kind, 1)
        return texts, times
