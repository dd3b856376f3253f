"""The life of a service in its process: it starts, answers, hands over or takes over, and ends, whatever comes when.

The main thread takes signals and nothing else. Clients, work, the control socket and the housekeeping have a thread
each.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from ave import __version__, spool
from ave.exceptions import AveException, ConfigError, ConnectionRefused
from ave.lab.daemon import hickup, notify, pidfile
from ave.lab.daemon.channel import Channel, Talk
from ave.lab.daemon.handover import Taking, give
from ave.lab.daemon.house import House
from ave.lab.daemon.pidfile import PidFile
from ave.lab.daemon.signals import Signals
from ave.lab.daemon.worker import Worker
from ave.lab.text import safe_line
from ave.network.address import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ave.lab.daemon.service import Service

__all__ = ["Life"]

log = logging.getLogger(__name__)

#: Seconds within which a stop ends.
END_S = 4.5

#: Seconds that clients have to leave after a hand-over.
RETIRE_S = 30.0

#: Seconds that clients have to leave a process that fails after it has accepted them.
GIVE_BACK_S = 5.0

#: Seconds within which whoever holds the lock of the work must be done with it.
LOCK_S = 30.0
LOCK_RETRY_S = 0.01

#: Connections that wait to be accepted.
BACKLOG = 1024


class Life:
    """One process's run of a service.

    Args:
        service: what is run.
        take_over: from the process that serves now, if there is one.
        is_daemon: whether this process is in the background, so that what it prints goes to the service's log.
        report: called once it answers.
    """

    def __init__(
        self,
        service: Service,
        *,
        take_over: bool = False,
        is_daemon: bool = False,
        report: Callable[[], object] = lambda: None,
    ) -> None:
        self.service = service
        self.signals = Signals()
        self.failure = ""
        self.is_ending = False
        self.handing = Lock()
        self._take_over = take_over
        self._report = report
        self._started = time.monotonic()
        self._begun = Event()
        self._pid_file: PidFile | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._clients: Worker | None = None
        self._work: Worker | None = None
        self._channel = Channel(service.path("sock"), self._answer)
        # a service that the manager started writes what a daemon would, not to the manager's journal
        self._house = House(service, has_log=is_daemon or notify.is_supervised())

    def run(self) -> int:
        """Serve until told to end; returns the exit code. Errors are told on stderr."""
        self.signals.install()
        try:
            self._begin()
            self._report()
            return self._attend()
        except AveException as error:
            return self._failed(str(error), 2 if isinstance(error, ConfigError) else 1)
        except OSError as error:
            where = error.filename or self.service.home
            return self._failed(f"{where}: {error.strerror}; `ave doctor` tells the mend", 1)
        except Exception as error:
            log.exception("nobody foresaw this", extra={"action": "service_error"})
            self._house.report(error)
            return self._failed(f"{type(error).__name__}: {error}", 1)
        finally:
            self._end()

    # Begin

    def _begin(self) -> None:
        service = self.service
        service.prepare()  # first: what is wrong with the configuration is told before anything is touched
        taking = self._take()
        try:
            self._house.begin()
            hickup.follow_forks(service.home)
            self._sockets |= notify.given_sockets()
            for name, address in service.listeners.items():
                if name not in self._sockets:
                    self._sockets[name] = _listen(address)
            service.open(dict(self._sockets))
            if taking is None:
                self.begin_work()
                self._serve()
            else:
                taking.ready()
                self._serve()
                taking.accepting()
                self.begin_work()
            self._lead()
        except BaseException:
            if taking is not None:
                self._give_back(taking)
            raise
        if taking is not None:
            taking.working()

    def _give_back(self, taking: Taking) -> None:
        """Leave everything to the old process again, clients that are here already excepted."""
        if taking.is_alone:
            return
        if self._clients is not None:
            self.service.pause()
        taking.close()
        if self._pid_file is not None:
            self._pid_file.leave()
        if self._clients is not None:
            self.service.retire(GIVE_BACK_S)
            self._clients.join(GIVE_BACK_S)

    def _take(self) -> Taking | None:
        """Get the lock, from nobody or from the one who serves now."""
        path = self.service.path("pid")
        if self._take_over:
            with suppress(ConnectionRefused):
                taking = Taking(self.service.path("sock"), self.signals.is_end)
                self._sockets = taking.sockets
                self._pid_file = PidFile(path, taking.lock)
                return taking
        self._pid_file = PidFile.take(path, f"{self.service.name} serves {self.service.home}")
        return None

    def _lead(self) -> None:
        """Be the one from now on."""
        assert self._pid_file is not None
        if not self._pid_file.is_there():
            self._pid_file.leave()
            self._pid_file = PidFile.take(self._pid_file.path, f"{self.service.name} serves {self.service.home}")
        self._pid_file.write()
        self._channel.open()
        self._house.lead(self._look)
        notify.tell("READY=1", f"MAINPID={os.getpid()}")

    def _serve(self) -> None:
        self._clients = Worker("clients", self.service.serve, self.signals.ring)

    def begin_work(self) -> None:
        """Begin the work, and return when it has begun; raises what `begin` of the service raises."""
        self._begun.clear()
        self.service.rested.clear()
        self._work = work = Worker("work", self._do_work, self.signals.ring)
        while not (self._begun.wait(0.02) or self.signals.is_end()):
            if work.has_ended:
                work.result()  # raises what was wrong
                return

    def _do_work(self) -> int | None:
        deadline = time.monotonic() + LOCK_S
        path = self.service.path("lock")
        while (lock := pidfile.lock(path)) is None:
            if self.service.rested.is_set():
                return None
            if time.monotonic() >= deadline:
                raise AveException(f"{path} is locked by a process that does not end; find it by: fuser {path}")
            time.sleep(LOCK_RETRY_S)
        try:
            self.service.begin()
            self._begun.set()
            return self.service.work()
        finally:
            os.close(lock)

    # Serve

    def _attend(self) -> int:
        """Wait for what is to be done, and for the end; returns the exit code."""
        while True:
            came = self.signals.wait()
            if came & {signal.SIGTERM, signal.SIGINT}:
                return 0
            if signal.SIGHUP in came:
                self.service.reload()
            if signal.SIGUSR1 in came:
                Thread(target=self._try_hickup, name="hickup", daemon=True).start()
            if self._clients is not None and self._clients.has_ended:
                return self._clients.result()
            work = self._work
            # during a hand-over it is meant to end
            if work is not None and work.has_ended and not self.service.rested.is_set():
                return work.result()

    def _try_hickup(self) -> None:
        try:
            self._hickup()
        except OSError as error:
            log.error("there is no hickup: %s", error, extra={"action": "hickup_failed"})

    def _hickup(self) -> str:
        try:
            return hickup.write(self.service.home, self.service.name, self._house.gauges)
        finally:
            hickup.forward()

    def _answer(self, request: dict[str, Any], talk: Talk) -> None:
        """Answer what is asked over the control socket."""
        what = request.get("what")
        if what == "status":
            talk.say(self.status())
        elif what == "hickup":
            try:
                talk.say({"path": self._hickup()})
            except OSError as error:
                talk.say({"error": f"it cannot write a hickup: {error}"})
        elif what == "hand-over" and not self.is_ending:
            give(self, talk)
        else:
            talk.say({"error": f"{self.service.name} {__version__} does not know what {what!r} is, or ends"})

    def status(self) -> dict[str, Any]:
        """Return what is known about the service while it runs."""
        service = self.service
        return {
            "service": service.name,
            "state": "running",
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - self._started, 3),
            "version": __version__,
            "home": service.home,
            "log": self._house.log_path,
            "supervised": notify.is_supervised(),
            "listeners": {name: shown(sock.getsockname()) for name, sock in self._sockets.items()},
            "queues": _sure(self._house.gauges),
            **_sure(service.health),
        }

    def _look(self) -> None:
        """Mend what somebody removed under the running service."""
        assert self._pid_file is not None
        if self.handing.acquire(blocking=False):
            try:
                if not self._pid_file.is_there():
                    self._renew()
                if not self._channel.is_there():
                    self._channel.close()
                    self._channel.open()
            finally:
                self.handing.release()

    def _renew(self) -> None:
        """Make the pid file anew; if another process was faster, that one serves."""
        assert self._pid_file is not None
        lost = self._pid_file
        self._pid_file = PidFile.take(lost.path, f"{self.service.name} serves {self.service.home}")
        lost.leave()

    # Hand over

    def descriptors(self) -> tuple[list[str], list[int]]:
        """Return what a new process needs: the names of the listening sockets; the lock's descriptor, and theirs."""
        assert self._pid_file is not None
        return [*self._sockets], [self._pid_file.fd, *(sock.fileno() for sock in self._sockets.values())]

    def end_work(self) -> None:
        """End the work and unlock it; returns when it has ended. The housekeeping's part of it ends, too."""
        self._house.lead(None)
        work = self._work
        if work is None:
            return
        self.service.rested.set()
        deadline = time.monotonic() + END_S
        # what has not begun cannot be told to end
        while not (self._begun.wait(0.02) or work.has_ended or time.monotonic() >= deadline):
            pass
        self.service.rest()
        work.join(max(0.0, deadline - time.monotonic()))

    def lead_again(self) -> None:
        """Be the one again: who was to take over is no more."""
        assert self._pid_file is not None
        self._pid_file.write()
        if not self._channel.is_there():
            self._channel.close()
            self._channel.open()
        self._house.lead(self._look)

    def retire(self, pid: int) -> None:
        """Leave everything to another process, and end when the clients have gone."""
        assert self._pid_file is not None
        notify.tell(f"MAINPID={pid}")
        self._pid_file.leave()
        self._channel.close()
        self.service.retire(RETIRE_S)

    # End

    def _failed(self, message: str, code: int) -> int:
        sys.stderr.write(f"{self.service.name}: {safe_line(message)}\n")
        sys.stderr.flush()
        self.failure = message
        return code

    def _end(self) -> None:
        self.is_ending = True
        deadline = time.monotonic() + END_S
        notify.tell("STOPPING=1")
        self._channel.close()
        self.service.stop()
        self.end_work()
        for worker in filter(None, (self._work, self._clients)):
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                log.warning("the thread %s does not end; ending without it", worker.name, extra={"action": "end_late"})
        if self._pid_file is not None:
            self._leave(self._pid_file)
        self._house.end()
        spool.close()
        self.signals.uninstall()

    def _leave(self, pid_file: PidFile) -> None:
        """Unlock; another process that is taking over at this moment keeps its lock and the file."""
        if pid_file.fd >= 0 and self.handing.acquire(blocking=False):
            pid_file.remove()
        else:
            pid_file.leave()


def _sure(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a service says about itself, or that it cannot."""
    try:
        return ask()
    except Exception as error:
        log.exception("a service cannot say how it is", extra={"action": "status_failed"})
        return {"error": f"{type(error).__name__}: {error}"}


def _listen(address: tuple[str, int]) -> socket.socket:
    deadline = time.monotonic() + pidfile.PATIENCE_S
    while True:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            return sock
        except OSError as error:
            sock.close()
            # one that was killed a moment ago may still have it
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise AveException(f"cannot listen on {shown(address)}: {error.strerror}") from error
        time.sleep(pidfile.RETRY_S)
