"""An event loop: it calls who asked to be called when a descriptor is ready or a time has come, and sleeps otherwise.

What peers and messages are, it does not know.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["READ", "WRITE", "Loop", "Patience"]

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

#: Events taken in one round: epoll makes room for so many in each.
EVENTS = 256

#: Seconds one round may take before they no longer count against those who wait.
BUSY_S = 0.25


class Loop:
    """Descriptors, deadlines, and work that is left over for the next round.

    Args:
        interval: seconds of quiet after which `quiet` is called, again and again; None for never.
        quiet: called then.
    """

    def __init__(self, interval: float | None, quiet: Callable[[], object]) -> None:
        self._interval = interval
        self._quiet = quiet
        self._quiet_at = time.monotonic() + (interval or 0)
        self._running = True
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[int], object]] = {}
        # those in which something is due: nearly always none
        self._patiences: set[Patience] = set()
        self._ready: dict[Callable[[Any], object], dict[Any, None]] = {}
        self._calls: deque[Callable[[], object]] = deque()
        # the time during which nobody was listened to
        self._deaf = 0.0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, self._woken)

    def watch(self, what: Any, act: Callable[[int], object], events: int = READ) -> None:
        """Call `act(events)` whenever `what` can be read or written without waiting; again, to change the events.

        Events of a peer that is gone count as both.
        """
        descriptor = what if isinstance(what, int) else what.fileno()
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._watched[descriptor] = act

    def forget(self, what: Any) -> None:
        """End `watch`; before the descriptor is closed."""
        descriptor = what if isinstance(what, int) else what.fileno()
        del self._watched[descriptor]
        self._epoll.unregister(descriptor)

    def again(self, act: Callable[[Any], object], what: Any) -> None:
        """Call `act(what)` once in the next round, after those whose descriptor is ready."""
        self._ready.setdefault(act, {})[what] = None

    def call(self, act: Callable[[], object]) -> None:
        """Call `act()` in the next round; from any thread."""
        self._calls.append(act)
        self._wake()

    def patience(self, seconds: float, overdue: Callable[[Any], object]) -> Patience:
        """Make a queue of what must happen within so many seconds; `overdue(item)` is called when it did not."""
        return Patience(seconds, overdue, self.time, self._patiences)

    def time(self) -> float:
        """Return a time that stands still while a long method keeps the loop from listening."""
        return time.monotonic() - self._deaf

    def stop(self) -> None:
        """End `run` after this round; from any thread, and from signal handlers."""
        self._running = False
        self._wake()

    def run(self) -> None:
        """Serve until `stop`."""
        while self._running:
            self._round()

    def close(self) -> None:
        """Give the descriptors back that belong to the loop itself."""
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"!")
        except OSError:
            pass  # it has been told often enough, or is closed

    def _woken(self, _mask: int) -> None:
        os.read(self._wake_read, 4096)
        while self._calls:
            self._calls.popleft()()

    def _round(self) -> None:
        events = self._epoll.poll(self._sleep(), EVENTS)
        woke = time.monotonic()
        for descriptor, mask in events:
            if not self._running:
                break
            # an earlier event of this round may have ended it; a new one of the same number is ready soon enough
            act = self._watched.get(descriptor)
            if act is not None:
                act(mask)
        ready = self._ready
        if ready:
            self._ready = {}
            for again, items in ready.items():
                for item in items:
                    again(item)
        if self._interval is not None:
            self._tell_quiet(woke, is_quiet=not (events or ready))
        if (busy := time.monotonic() - woke) > BUSY_S:
            self._deaf += busy
        if self._patiences:
            for patience in [*self._patiences]:
                patience.end_overdue()

    def _tell_quiet(self, woke: float, *, is_quiet: bool) -> None:
        assert self._interval is not None
        if not is_quiet:
            self._quiet_at = woke + self._interval
        elif woke >= self._quiet_at:
            self._quiet_at = woke + self._interval
            self._quiet()

    def _sleep(self) -> float | None:
        """Return how long nothing has to be done without an event; None for ever."""
        if self._ready or not self._running:
            return 0.0
        wait = None if self._interval is None else self._quiet_at - time.monotonic()
        for patience in self._patiences:
            left = next(iter(patience.due.values())) - self.time()
            wait = left if wait is None else min(wait, left)
        return None if wait is None else max(0.0, wait)


class Patience:
    """Items that must each be done with within the same number of seconds.

    Attributes:
        due: when; the first to come is the first.
    """

    def __init__(
        self, seconds: float, overdue: Callable[[Any], object], now: Callable[[], float], active: set[Patience]
    ) -> None:
        self._active = active
        self.due: dict[Any, float] = {}
        self._seconds = seconds
        self._overdue = overdue
        self._now = now

    def begin(self, item: Any) -> None:
        """Give an item its seconds, anew if it is here already."""
        self.due.pop(item, None)
        self.due[item] = self._now() + self._seconds
        self._active.add(self)

    def end(self, item: Any) -> None:
        """Be done with an item, if it is here."""
        if self.due:
            self.due.pop(item, None)
            if not self.due:
                self._active.discard(self)

    def end_overdue(self) -> None:
        """Call `overdue` for each item whose time is over."""
        while self.due:
            item, due = next(iter(self.due.items()))
            if due > self._now():
                return
            self.end(item)
            self._overdue(item)

    def __contains__(self, item: Any) -> bool:
        return item in self.due
