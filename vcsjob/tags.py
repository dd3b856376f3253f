"""Runs the jobs of a tree that have certain tags, one after the other, into one log."""

from __future__ import annotations

import time

from ave.exceptions import UsageError
from vcsjob import codes, tree, variables
from vcsjob.execute import Run, check_children, execute_job, shortest
from vcsjob.joblog import JobLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Watcher", "execute_single", "execute_tags", "run_tags"]


def execute_tags(
    jobs_dir: str,
    tags: list[str] | None = None,
    env_vars: list[str] | None = None,
    log_path: str | None = None,
    guid: str | None = None,
    timeout: float = 0,
) -> int:
    """Run every job of a tree that has all the wanted tags, one after the other, into one log.

    Each job begins with its own line `vcsjob: {JSON}`; what it sees, and how it may end, `execute_job` says.

    Args:
        jobs_dir: the job tree; its `.vcsjob` names the jobs and their order.
        tags: the wanted tags; `[]` and None want every job.
        env_vars: names of the variables the jobs may see; LANG is always one of them.
        log_path: file to log to, emptied first, its directories made; None logs to stderr.
        guid: the GUID that all these runs belong to.
        timeout: seconds that each job may take; its own `duration` holds too. 0 is for ever.

    Returns:
        OK, however the jobs ended; a scheduler that wants to know calls `execute_job`. NORUN if no job has the
        tags, or if a Ctrl-C ended one, after which no other is run.

    Raises:
        UsageError: the call or an entry of the tree is wrong, be it of a job without the tags; nothing has run.
    """
    return run_tags(Watcher(), jobs_dir, tags, env_vars, log_path, guid, timeout)


def execute_single(
    jobs_dir: str, path: str | None, env_vars: list[str] | None = None, log_path: str | None = None
) -> int:
    """Run one file of a tree, without a GUID and with an empty list of profiles. Obsolescent: use `execute_job`.

    Raises:
        UsageError: there is no `path`, or what `execute_job` raises.
    """
    if path is None:
        raise UsageError("execution target: None")
    return execute_job(jobs_dir, {"path": path, "profiles": []}, env_vars, log_path)


class Watcher:
    """Is told how the runs go while they go; this one does not care."""

    def begins(self, job: dict[str, Any], number: int, count: int) -> None:
        """Job `number` of `count` is about to start."""

    def writes(self, data: bytes) -> None:
        """These bytes are about to be written to the log."""

    def wrote(self, data: bytes) -> None:
        """They are written."""

    def ended(self, job: dict[str, Any], status: int, duration: float) -> None:
        """The job has ended with this result after so many seconds."""


def run_tags(
    watcher: Watcher,
    jobs_dir: str,
    tags: list[str] | None,
    env_vars: list[str] | None,
    log_path: str | None,
    guid: str | None,
    timeout: float,
) -> int:
    """Do what `execute_tags` says, and tell `watcher`."""
    environment = variables.white_listed(env_vars)
    variables.check_guid(guid)
    wanted = tree.tags_list(tags)
    entries = tree.load_jobs(jobs_dir)
    located = list(zip(entries, tree.locate_all(jobs_dir, entries), strict=True))
    check_children()
    chosen = [(job, exe) for job, exe in located if tree.has_all(wanted, job)]
    with _WatchedLog(log_path, watcher) as log:
        if not chosen:
            log.write(b"WARNING: no jobs were executed")
            return codes.NORUN
        for number, (job, exe) in enumerate(chosen, 1):
            watcher.begins(job, number, len(chosen))
            began = time.monotonic()
            run = Run(exe, job["profiles"], environment, guid, log)
            status = run.execute(shortest(timeout, job.get("duration")))
            watcher.ended(job, status, time.monotonic() - began)
            if run.interrupted:
                return codes.NORUN
    return codes.OK


class _WatchedLog(JobLog):
    def __init__(self, path: str | None, watcher: Watcher) -> None:
        super().__init__(path)
        self._watcher = watcher

    def write(self, data: bytes) -> None:
        self._watcher.writes(data)
        super().write(data)
        self._watcher.wrote(data)
