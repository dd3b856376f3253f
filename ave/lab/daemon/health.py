"""What a service says about itself: a `metric` every ten seconds, and an `exception` for an error nobody caught."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from ave import context, spool
from ave.exceptions import SpoolError, described

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

__all__ = ["INTERVAL_S", "Health"]

#: Seconds between two metrics.
INTERVAL_S = 10.0


class Health:
    """Tells how a service is, through the spool of its host.

    Args:
        name: the service; the `source` of the records.
        gauges: asked every ten seconds for more values, such as the lengths of queues; in the thread of `check`.
    """

    def __init__(self, name: str, home: str, gauges: Callable[[], dict[str, float]]) -> None:
        self.name = name
        self.home = home
        self._gauges = gauges
        self._began = time.monotonic()
        self._next = self._began + INTERVAL_S
        self._before = (self._began, time.process_time())

    def watch_errors(self) -> None:
        """Make a record of every error that nothing catches, in whatever thread; it is printed as ever."""
        hook, thread_hook = sys.excepthook, threading.excepthook

        def caught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if isinstance(error, Exception):
                self.report(error)
            hook(kind, error, trace)

        def caught_in_thread(what: threading.ExceptHookArgs) -> None:
            if isinstance(what.exc_value, Exception):
                self.report(what.exc_value)
            thread_hook(what)

        sys.excepthook, threading.excepthook = caught, caught_in_thread

    def report(self, error: Exception) -> None:
        """Make an `exception` record of an error that nobody foresaw; raises nothing."""
        self._keep("exception", context.current_guid() or "", {"exception": described(error)})

    def check(self) -> None:
        """Emit the metric if it is time; call it at least every few seconds."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL_S
            self._keep("metric", "", {"source": "service", "interval": INTERVAL_S, "values": self.values()})
            # else the spool of a host would never be empty: this service's own segment would stay
            spool.close()

    def values(self) -> dict[str, float]:
        """Return what the metric holds: sizes in bytes, times in seconds, `cpu` in cores, and the gauges."""
        now, used = time.monotonic(), time.process_time()
        (then, used_then), self._before = self._before, (now, used)
        values: dict[str, float] = {
            "rss": _rss(),
            "cpu": round((used - used_then) / max(now - then, 0.001), 4),
            "cpu_time": round(used, 3),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
            "uptime": round(now - self._began, 1),
        }
        try:
            return {**values, **self._gauges()}
        except Exception as error:  # noqa: BLE001 - a gauge that fails is a malfunction to tell, not to die of
            self.report(error)
            return values

    def _keep(self, kind: str, guid: str, body: dict[str, Any]) -> None:
        try:
            spool.append(kind, guid, body, source=self.name, home=self.home)
        except SpoolError:
            pass  # counted by the spool, and told by whoever looks after it


def _rss() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
