"""Runs one job of a tree: what may run, with which environment, into which log, and how it ended."""

from __future__ import annotations

import json
import signal
import time

from ave.exceptions import UsageError
from vcsjob import codes, jobs, terminal, variables
from vcsjob.events import Events
from vcsjob.joblog import JobLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Run", "check_children", "execute_job", "shortest"]


def execute_job(
    jobs_dir: str,
    job: dict[str, Any],
    env: list[str] | None = None,
    log_path: str | None = None,
    guid: str | None = None,
    timeout: float = 0,
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
    limit = shortest(timeout, job.get("duration"))
    with JobLog(log_path) as log:
        return Run(exe, job["profiles"], environment, guid, log).execute(limit)


def check_children() -> None:
    """Raise UsageError if this process cannot learn how its children end."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise UsageError("this process ignores SIGCHLD, so a job's exit status is lost; set it to SIG_DFL")


def shortest(*limits: float | None) -> float | None:
    """Return the smallest positive number of seconds, None if there is none."""
    return min((seconds for seconds in limits if seconds and seconds > 0), default=None)


class Run:
    """One run of one job into a log that is open.

    Attributes:
        interrupted: a Ctrl-C ended it; whoever has more to run, stops.
    """

    interrupted = False

    def __init__(
        self, exe: str, profiles: list[Any] | None, environment: dict[str, str], guid: str | None, log: JobLog
    ) -> None:
        self._facts = {"exe": exe, "profiles": profiles, "environment": environment}
        self._exe = exe
        self._profiles = profiles
        self._environment = environment
        self._guid = guid
        self._log = log
        self._events = Events(guid)

    def execute(self, limit: float | None) -> int:
        """Run the job between its two events and return its result."""
        self._events.emit("job.start", **self._facts, log=self._log.path)
        began = time.monotonic()
        status, facts = self._outcome(limit)
        if status <= codes.TIMEOUT:
            facts["result"] = codes.exit_to_str(status)
        duration = round(time.monotonic() - began, 6)
        self._events.emit("job.end", status=status, duration=duration, **facts)
        return status

    def _outcome(self, limit: float | None) -> tuple[int, dict[str, Any]]:
        try:
            header = json.dumps({**self._facts, "guid": self._guid}, sort_keys=True)
            self._log.write(f"vcsjob: {header}\n".encode())
            environment = variables.for_job(self._environment, self._guid, self._profiles, self._log.path)
            status = terminal.run(self._exe, environment, self._log.write, limit)
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
