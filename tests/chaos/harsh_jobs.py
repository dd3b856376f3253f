"""Runs harsh jobs: a job tree for tests, and a scheduler that is a program, to be watched or killed. Run by a test.

harsh_jobs.py DIRECTORY GUID    executes the job that `Jobs(DIRECTORY).write` wrote; prints result and growth in KiB
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from pathlib import Path

import vcsjob

#: Numbered blocks of what a flooding job writes, 64 KiB less the number.
BLOCK = 65_536 - 9

KINDS = ("lines", "short lines", "no line end", "any bytes")


class Jobs:
    """A tree with one job, and its log beside it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.dir = self.root / "jobs"
        self.log_path = self.root / "log"

    def write(self, script: str, interpreter: str = "/bin/sh") -> None:
        self.dir.mkdir(exist_ok=True)
        (self.dir / "job").write_text(f"#!{interpreter}\n{script}\n")
        (self.dir / "job").chmod(0o755)

    def execute(self, **options) -> int:
        return vcsjob.execute_job(str(self.dir), {"path": "job"}, **{"log_path": str(self.log_path), **options})

    def run(self, script: str, interpreter: str = "/bin/sh", **options) -> int:
        self.write(script, interpreter)
        return self.execute(**options)

    @property
    def output(self) -> bytes:
        return self.log_path.read_bytes().partition(b"\n")[2]

    def pids(self, name: str) -> list[int]:
        """Return the whole numbers, one a line, of a file beside the tree."""
        path = self.root / name
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def block(kind: str) -> bytes:
    """Return the block that a flood of this kind repeats."""
    if kind == "lines":
        return (b"x" * 79 + b"\n") * (BLOCK // 80)
    if kind == "short lines":
        return b"y\n" * (BLOCK // 2)
    noise = random.Random(kind).randbytes(BLOCK)
    return noise.replace(b"\n", b"\0").replace(b"\r", b"\xff") if kind == "no line end" else noise


def flood(kind: str, count: int) -> str:
    """Return a job in Python that writes `count` numbered blocks."""
    return f"""
import os, sys
sys.path[:0] = {sys.path!r}
from harsh_jobs import block
block = block({kind!r})
for n in range({count}):
    data = b"%08d " % n + block
    while data:
        data = data[os.write(1, data):]
"""


def first_difference(log: Path, kind: str, count: int) -> int:
    """Return the number of the first block that is not in the log as it should be, -1 if all are and nothing else."""
    wanted = block(kind).replace(b"\n", b"\r\n")
    with open(log, "rb") as file:
        file.readline()
        for n in range(count):
            if file.read(9 + len(wanted)) != b"%08d " % n + wanted:
                return n
        return -1 if not file.read(1) else count


def main() -> None:
    directory, guid = sys.argv[1:]
    # who runs the tests in the background or by nohup ignores these, and so would we
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = Jobs(Path(directory)).execute(guid=guid)
    print(result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, os.getpid(), flush=True)


if __name__ == "__main__":
    main()
