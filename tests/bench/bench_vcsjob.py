"""What vcsjob costs a job: its start and end, and its output, each against the least that does the same, in one run.

The floor of a run is `subprocess` on a pseudo-terminal of the standard library, read to its end, and where vcsjob has a
log to make, a new file: no records, no controlling terminal, no care for children. The floor of output is a loop that
copies 64 KiB at a time from a pseudo-terminal with its default settings into a file. Sides alternate.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

from table import finish, heading, home, percentile, row

import vcsjob
from ave import home as homes

GUID = "bench-guid-0001"
RUNS = 300
FLOOD = 200_000_000
LINE = b"%079d\n" % 0
ROUNDS = 3

count = itertools.count()


def on_terminal(command: list[str], out: int | None = None) -> None:
    """Run a command on a terminal with default settings; copy what it writes to `out`."""
    master, slave = os.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True):
        os.close(slave)
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: nobody holds it any more
                break
            if out is not None:
                os.write(out, data)
    os.close(master)


def timed(call: Callable[[], object]) -> int:
    """Return the nanoseconds of one call."""
    began = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - began


def alternating(calls: list[Callable[[], object]], times: int) -> list[list[int]]:
    """Time `times` calls of each, one of each in turn; the first tenth warms up."""
    taken: list[list[int]] = [[] for _ in calls]
    for turn in range(times + times // 10):
        for call, into in zip(calls, taken, strict=True):
            cost = timed(call)
            if turn >= times // 10:
                into.append(cost)
    return taken


def run_of_true(path: str) -> list[bool]:
    """Compare the start and end of a job that does nothing."""
    shutil.copy("/bin/true", f"{path}/jobs/true")

    def floor(log: str | None) -> None:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if log else None
        on_terminal([f"{path}/jobs/true"], out)
        if out is not None:
            os.close(out)

    def execute(log: str | None) -> None:
        vcsjob.execute_job(f"{path}/jobs", {"path": "true"}, log_path=log, guid=GUID)

    logs: dict[str, Callable[[], str | None]] = {
        "no log file": lambda: None,
        "a new log": lambda: f"{path}/log-{next(count)}",
        "the same log every time": lambda: f"{path}/log",
    }
    calls = [lambda call=call, log=log: call(log()) for log in logs.values() for call in (floor, execute)]
    with nowhere():
        costs = [percentile(taken, 0.5) for taken in alternating(calls, RUNS)]
    heading("execute_job of /bin/true, two records kept, p50")
    results = []
    for name, base, cost in zip(logs, costs[::2], costs[1::2], strict=True):
        row(f"{name}: floor", f"{base:.0f} us")
        row(f"{name}: execute_job", f"{cost:.0f} us")
        results.append(row("  execute_job / floor", f"{cost / base:.2f}", "<= 1.5", cost / base <= 1.5))
    return results


@contextlib.contextmanager
def nowhere() -> Iterator[None]:
    """Send stderr, which is where a log without a file goes, to /dev/null."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def flood(path: str) -> list[bool]:
    """Compare the copying of much output."""
    with open(f"{path}/text", "wb") as file:
        file.writelines(LINE * 1000 for _ in range(FLOOD // 10 // len(LINE) // 1000))
    with open(f"{path}/jobs/flood", "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nexec cat {path}/text\n")
    os.chmod(f"{path}/jobs/flood", 0o755)

    def floor() -> None:
        out = os.open(f"{path}/copy", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        on_terminal(["/bin/cat", f"{path}/text"], out)
        os.close(out)

    def execute(console: bool) -> None:
        with open(homes.config_file("panotti", path), "w", encoding="utf-8") as file:
            json.dump({"enabled": True, "console": console}, file)
        homes.forget()
        assert vcsjob.execute_job(f"{path}/jobs", {"path": "flood"}, log_path=f"{path}/copy", guid=GUID) == vcsjob.OK

    heading(f"a job that prints {FLOOD // 1_000_000} MB in lines of {len(LINE)} bytes, best of {ROUNDS}")
    sides = [floor, lambda: execute(False), lambda: execute(True)]
    alternating(sides, 1)
    with open(f"{path}/text", "ab") as file:
        file.writelines(LINE * 1000 for _ in range(FLOOD * 9 // 10 // len(LINE) // 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = alternating(sides, ROUNDS)
    lowest, ours, lines = (FLOOD / min(each) * 1000 for each in taken)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    row("floor: a 64 KiB copy loop over a default pty", f"{lowest:.0f} MB/s")
    return [
        row("execute_job", f"{ours:.0f} MB/s", ">= 80% of it", ours >= 0.8 * lowest),
        row("execute_job, lines of it as records", f"{lines:.0f} MB/s", ">= 80% of it", lines >= 0.8 * lowest),
        row("memory that ten times as much output takes more", f"{grown:.1f} MiB", "<= 4 MiB", grown <= 4),
    ]


def main() -> None:
    """Print the tables."""
    with home() as path:
        os.mkdir(f"{path}/jobs")
        results = run_of_true(path) + flood(path)
    finish(results)


if __name__ == "__main__":
    main()
