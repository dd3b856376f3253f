"""Runs one job of a tree: what may run, with which environment, into which log, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import time

from ave.exceptions import UsageError
from vcsjob import ci, codes, delivery, jobs, terminal, variables
from vcsjob.events import Events
from vcsjob.joblog import JobLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vcsjob.console import Console

__all__ = ["Run", "check_children", "execute_job", "shortest"]


def execute_job(
    jobs_dir: str,
    job: dict[str, Any],
    env: list[str] | None = None,
    log_path: str | None = None,
    guid: str | None = None,
    timeout: float = 0,
    wait_delivered: float = 0,
) -> int:
    """Run one job and wait for it. Threads may do so at once; this process's environment is only read.

    The job runs in the caller's directory, without arguments, on a terminal of its own. The log begins with the
    line `vcsjob: {JSON with environment, exe, guid, profiles}`; after it come the bytes the job writes. A job
    that ends while its children go on is followed until a second of silence, at most 5 s.

    Args:
        jobs_dir: the job tree.
        job: an entry as in `.vcsjob`: `path`, relative to the tree and inside it, and optional attributes, whose
            defaults are added in place.
        env: names of the variables the job may see; LANG is always one of them.
        log_path: file to log to, emptied first, its directories made; None logs to stderr.
        guid: the run's GUID. Its start and end become `event` records under it; none are kept without one.
        timeout: seconds until the job is killed with all its children; the job's own `duration` holds too. 0 is
            for ever.
        wait_delivered: seconds to wait, after the job's end, until ave-logd has brought everything the run's GUID
            has on this host into its stores. If that takes longer, or cannot be, stderr tells why; the result is
            the job's in any case. 0, or without a GUID: not at all.

    Returns:
        The job's exit status (0..255), or KILLED (by a signal), TIMEOUT, or NORUN if it could not be started or
        was interrupted, for a reason that stands in the log.

    Raises:
        UsageError: the call, the entry or the tree is wrong; nothing has run then.
    """
    environment = variables.white_listed(env)
    exe = jobs.locate(jobs_dir, job)
    jobs.check(job)
    variables.check_guid(guid)
    check_children()
    with JobLog(log_path) as log:
        status = Run(exe, job["profiles"], environment, guid, log).execute(shortest(timeout, job.get("duration")))
    if wait_delivered and guid:
        delivery.wait(guid, wait_delivered)
    return status


def check_children() -> None:
    """Raise UsageError if this process cannot learn how its children end."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise UsageError("this process ignores SIGCHLD, so a job's exit status is lost; set it to SIG_DFL")


def shortest(*limits: float | None) -> float | None:
    """Return the smallest limit; 0, None and less than 0 are none."""
    return min((seconds for seconds in limits if seconds and seconds > 0), default=None)


class Run:
    """One run of a job, into a log that may have others, too.

    Attributes:
        interrupted: whether a Ctrl-C ended it.
    """

    def __init__(
        self, exe: str, profiles: list[Any] | None, environment: dict[str, str], guid: str | None, log: JobLog
    ) -> None:
        self.interrupted = False
        self._facts = {"exe": exe, "profiles": profiles, "environment": environment}
        self._exe = exe
        self._profiles = profiles
        self._environment = environment
        self._guid = guid
        self._log = log
        self._events = Events(guid)
        self._console: Console | None = None
        self._is_started = False
        self._began_ns = time.time_ns()

    def execute(self, limit: float | None) -> int:
        """Run the job between its two events and return its result; `limit`: seconds it may take."""
        began, lost = time.monotonic(), self._log.lost
        try:
            status, facts = self._outcome(limit)
        except BaseException as exc:  # neither an error nor a Ctrl-C: this process is to end, and says so
            self._end(codes.NORUN, {"reason": f"{type(exc).__name__}: {exc}"}, began, lost)
            raise
        self._end(status, facts, began, lost)
        return status

    def _start(self) -> None:
        """Tell the start, with the time before it, unless that is done."""
        if self._is_started:
            return
        self._console = self._console or self._events.console(self._log.path)
        facts = {**self._facts, "log": self._log.path, **ci.started_by(os.environ)}
        self._events.emit("job.start", facts, at=self._began_ns)
        self._is_started = True  # only now: a Ctrl-C that comes meanwhile must not cost the start

    def _write(self, data: bytes) -> None:
        """Take what the job wrote."""
        offset = self._log.size
        self._log.write(data)
        if self._console:
            self._console.write(data, offset)

    def _end(self, status: int, facts: dict[str, Any], began: float, lost: int) -> None:
        self._start()
        if self._log.lost > lost:
            missing = self._log.lost - lost
            told = {"log": self._log.path, "bytes": missing, "reason": self._log.failure}
            self._events.emit("log.lost", told)
        if status <= codes.TIMEOUT:
            facts["result"] = codes.exit_to_str(status)
        self._events.emit("job.end", {"status": status, "duration": round(time.monotonic() - began, 6), **facts})

    def _outcome(self, limit: float | None) -> tuple[int, dict[str, Any]]:
        try:
            header = json.dumps({**self._facts, "guid": self._guid}, sort_keys=True)
            self._log.write(f"vcsjob: {header}\n".encode())
            environment = variables.for_job(self._environment, self._guid, self._profiles, self._log.path)
            status = self._follow(environment, limit)
        except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - the contract's border: NORUN and the reason
            self.interrupted = isinstance(exc, KeyboardInterrupt)
            reason = str(exc) or type(exc).__name__
            self._log.write(f"{reason}\n".encode(errors="backslashreplace"))
            return codes.NORUN, {"reason": reason}
        if status is None:
            return codes.TIMEOUT, {"timeout": limit}
        if status < 0:
            return codes.KILLED, {"signal": -status}
        return status, {}

    def _follow(self, environment: dict[bytes, bytes], limit: float | None) -> int | None:
        try:
            return terminal.run(self._exe, environment, self._write, limit, self._start)
        finally:
            if self._console:
                self._console.close(self._log.size)
