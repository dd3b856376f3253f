"""The housekeeping of a service: its log, its metric, its stderr in Panotti, and whether it is still reachable."""

from __future__ import annotations

import logging
import os
import time
from threading import Lock, Thread
from typing import TYPE_CHECKING

from ave.lab.daemon import notify
from ave.lab.daemon.health import Health
from ave.lab.daemon.logs import Log
from ave.lab.daemon.stderr import Forwarder

if TYPE_CHECKING:
    from collections.abc import Callable

    from ave.lab.daemon.service import Service

__all__ = ["House"]

log = logging.getLogger(__name__)

#: Seconds between two rounds with a log, with one that is calm, and without one; between two looks at what can be
#: removed under a running service. A burst after a calm must be met before it has printed for 100 ms.
ROUND_S = 0.05
CALM_ROUND_S = 0.1
NO_LOG_ROUND_S = 0.5
LOOK_S = 1.0

#: Seconds for which a log in which nothing was printed is not checked for what else can happen to it.
STILL_S = 0.5


class House:
    """Everything that is looked after in a thread beside the service.

    Args:
        has_log: whether fds 1 and 2 go to the service's log; each may still be sent elsewhere by the service.
    """

    def __init__(self, service: Service, *, has_log: bool) -> None:
        self._service = service
        self._has_log = has_log and not (service.stdout and service.stderr)
        self._log: Log | None = None
        self._forwarder: Forwarder | None = None
        self._health = Health(service.name, service.home, self.gauges)
        self._look: Callable[[], None] | None = None
        self._leading = Lock()
        # free once it is to end: waiting for an Event costs twice as much, ten times a second
        self._ending = Lock()
        self._ending.acquire()
        self._thread: Thread | None = None
        self._failed = ""

    def begin(self) -> None:
        """Send what is printed to where it belongs, and begin to look after that; ConfigError as of `Log`."""
        service = self._service
        given = (1, service.stdout), (2, service.stderr)
        self._health.watch_errors()
        if self._has_log:
            self._log = Log(service.home, service.name)
            self._forwarder = Forwarder(service.home, service.name)
            self._log.open(tuple(fd for fd, handle in given if handle is None))
        for fd, handle in given:
            if handle is not None:
                os.dup2(handle.fileno(), fd)
        self._thread = Thread(target=self._keep, name="house", daemon=True)
        self._thread.start()

    def lead(self, look: Callable[[], None] | None) -> None:
        """Do from now on what only one process does; `look` is called every second.

        None leaves that to another process: when this returns, nothing of it is under way.
        """
        with self._leading:
            self._look = look
            if look is None and self._forwarder is not None:
                self._forwarder.release()

    @property
    def log_path(self) -> str:
        """The path of the log that is written; empty if it goes elsewhere."""
        return self._service.log_path if self._has_log else ""

    def gauges(self) -> dict[str, float]:
        """Return those of the service and of its log."""
        return {**self._service.gauges(), **(self._log.gauges() if self._log is not None else {})}

    def report(self, error: Exception) -> None:
        """Keep an error that nobody foresaw."""
        self._health.report(error)

    def end(self) -> None:
        """Be done with it all. Safe to call in vain."""
        if self._ending.locked():
            self._ending.release()
        if self._thread is not None:
            self._thread.join(1.0)
        if self._log is not None:
            self._log.close()

    def _keep(self) -> None:
        watchdog_s = notify.watchdog_s()
        next_look = next_sign = next_check = time.monotonic()
        while not self._ending.acquire(timeout=self._pause_s()):
            now = time.monotonic()
            if self._log is not None and (now >= next_check or not self._log.is_still()):
                next_check = now + STILL_S
                self._guarded(self._log.check)
            with self._leading:
                self._do_alone(is_look=now >= next_look)
            if now >= next_look:
                next_look = now + LOOK_S
            if watchdog_s is not None and now >= next_sign:
                next_sign = now + min(watchdog_s, LOOK_S)
                notify.tell("WATCHDOG=1")

    def _pause_s(self) -> float:
        if self._log is None:
            return NO_LOG_ROUND_S
        return CALM_ROUND_S if self._log.is_calm() else ROUND_S

    def _do_alone(self, *, is_look: bool) -> None:
        """Do what only one process does."""
        if self._look is None:
            return
        self._guarded(self._health.check)
        if self._forwarder is not None:
            self._guarded(self._forwarder.check)
        if is_look:
            self._guarded(self._look)

    def _guarded(self, check: Callable[[], object]) -> None:
        """Call what must not end the housekeeping; an error is told when it is a new one."""
        try:
            check()
        except Exception as error:
            if str(error) != self._failed:
                self._failed = str(error)
                log.exception("the housekeeping goes on without this", extra={"action": "house_failed"})
