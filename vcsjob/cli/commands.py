"""What each command does: from its options to the Python call, and from the result to what is printed."""

from __future__ import annotations

import json
import os
import stat
import sys

import vcsjob
from ave.exceptions import UsageError
from ave.scheduler import work
from vcsjob import sources
from vcsjob.cli.completion import SHELLS, script
from vcsjob.cli.options import seconds
from vcsjob.cli.progress import Progress, clock, safe
from vcsjob.fetching import TIMEOUT_S
from vcsjob.git import Git, masked
from vcsjob.tags import Watcher, run_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Options = dict[str, str]

__all__ = ["FAILED", "RUN", "say_json", "shown"]


def _fetch(options: Options, others: list[str]) -> int:
    """`vcsjob fetch`: return the result."""
    _check_no(others)
    source, destination, refspec = (options.get(name, "") for name in ("source", "destination", "refspec"))
    limit = seconds(options.get("timeout", str(TIMEOUT_S)))
    facts = {"source": masked(source), "destination": destination, "refspec": refspec}
    with work(options.get("guid", ""), "fetch", **facts) as fetching, Progress(shared=False) as progress:
        progress.start(safe(f"{refspec} from {facts['source']}"))
        tell = (lambda line: progress.tell(safe(line))) if progress.on else None
        result = vcsjob.fetch(source, destination, refspec, timeout=limit, progress=tell)
        tree = Git(sources.destination(destination), limit)
        facts["commit"] = fetching.dimensions["commit"] = tree("rev-parse", "HEAD")
    if "json" in options:
        say_json(result, **facts)
    return result


def _execute(options: Options, others: list[str]) -> int:
    """`vcsjob execute`: return the result."""
    _check_no(others)
    _check_jobs(options)
    log = options.get("log") or None
    with Progress(shared=not log or _is_device(log)) as progress:
        watcher = _Shown(progress, options)
        result = run_tags(
            watcher,
            options["jobs"],
            _parts(options.get("tags", "")),
            _parts(options.get("env", "")),
            log,
            options.get("guid"),
            seconds(options.get("timeout", "0")),
        )
    if not watcher.count:
        if log:  # where the warning is, too, but who looks there for an output that never was?
            sys.stderr.write("WARNING: no jobs were executed\n")
        if "json" in options:
            say_json(result, error="no jobs were executed")
    return result


def _list(options: Options, others: list[str]) -> int:
    """`vcsjob list`: return the result."""
    _check_no(others)
    _check_jobs(options)
    found = vcsjob.load_jobs(options["jobs"], _parts(options.get("tags", "")))
    if "json" in options:
        lines = [json.dumps(job) for job in found]
    elif "long" in options:
        lines = _columns(found)
    else:
        lines = [safe(job["path"]) for job in found]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return vcsjob.OK


def _complete(_options: Options, others: list[str]) -> int:
    """`vcsjob completion`: return the result."""
    if len(others) != 1 or others[0] not in SHELLS:
        raise UsageError(f"one of {', '.join(SHELLS)} must be specified")
    sys.stdout.write(script(others[0]))
    return vcsjob.OK


class _Shown(Watcher):
    """Shows the runs on the terminal, and tells how they ended.

    Attributes:
        count: the jobs that were begun.
    """

    def __init__(self, progress: Progress, options: Options) -> None:
        self.count = 0
        self._progress = progress
        self._options = options
        self._label = ""
        self._lines = 0

    def begins(self, job: dict[str, Any], number: int, count: int) -> None:
        self.count = number
        self._label = (f"[{number}/{count}] " if count > 1 else "") + safe(job["path"])
        self._lines = -1  # the header is not the job's
        self._progress.start(self._label)

    def writes(self, data: bytes) -> None:
        if self._progress.on:
            self._lines += data.count(b"\n")
            self._progress.tell(self._told_lines())
        if self._progress.shared:
            self._progress.pause()

    def wrote(self, data: bytes) -> None:
        if self._progress.shared:
            self._progress.go_on(data[-1:])

    def ended(self, job: dict[str, Any], status: int, duration: float) -> None:
        name = vcsjob.exit_to_str(status) if status <= vcsjob.TIMEOUT else f"exit status {status}"
        self._progress.leave(f"{self._label}  {clock(duration)}  {name}  {self._told_lines()}")
        if "json" in self._options:
            self._progress.pause()
            guid, log = self._options.get("guid"), self._options.get("log")
            say_json(status, job=job["path"], duration=round(duration, 3), guid=guid, log=log)
            self._progress.go_on()

    def _told_lines(self) -> str:
        return "1 line" if self._lines == 1 else f"{max(0, self._lines)} lines"


#: What runs each command, and the result of one that failed.
RUN = {"fetch": _fetch, "execute": _execute, "list": _list, "completion": _complete}
FAILED = {"fetch": vcsjob.NOFETCH, "execute": vcsjob.NORUN, "list": vcsjob.NOLIST, "completion": vcsjob.ERROR}


def shown(text: str) -> str:
    """Return a message that does nothing to a terminal; its lines stay."""
    return "\n".join(map(safe, text.split("\n")))


def say_json(status: int, **facts: Any) -> None:
    """Write one object: a result, its name if it has one, and facts about it."""
    name = vcsjob.exit_to_str(status) if status <= vcsjob.TIMEOUT else None
    sys.stdout.write(json.dumps({**facts, "status": status, "result": name}) + "\n")
    sys.stdout.flush()


def _check_no(others: list[str]) -> None:
    if others:
        raise UsageError(f'non-dashed options "{",".join(others)}" not recognized')


def _check_jobs(options: Options) -> None:
    if not options.get("jobs"):
        raise UsageError("at least -j or --jobs must be specified")


def _parts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _is_device(path: str) -> bool:
    """Say whether a log may be the terminal that the progress stands on."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _columns(found: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            job["path"],
            ",".join(job["tags"]) or "-",
            f"{job['duration']} s" if job.get("duration") else "-",
            job["banner"],
        )
        for job in found
    ]
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
