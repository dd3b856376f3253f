#!/usr/bin/env python3
"""A scheduler, small but whole: prepare, execute, collect, decide.

    scheduler.py TREE [TAG ...]

Flashes a handset, runs on it every job of a tree that has all the tags, and repeats once a job that was not ended by
its own tests. Flashing is the program in $FLASH. Exit code 0: all jobs passed.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import vcsjob
from ave.scheduler import link, new_guid, work

AVE = Path(sys.executable).parent / "ave"
HANDSET = "yuga"

#: Ends of a job that say nothing about what it tests: the machine or the equipment was to blame, so it is run again.
AGAIN = {vcsjob.ERROR, vcsjob.BLOCKED, vcsjob.BUSY, vcsjob.KILLED, vcsjob.TIMEOUT}


def main(tree: str, *tags: str) -> int:
    """Run the jobs and return the exit code."""
    jobs = vcsjob.load_jobs(tree, list(tags))
    flash = prepare()
    passed = [run(tree, job, flash) for job in jobs]
    return 0 if all(passed) else 1


# Prepare: what serves several jobs is work of its own GUID, for theirs are not known yet


def prepare() -> str:
    """Flash the handset, which takes its time, and return the GUID under which that is recorded."""
    guid = new_guid("flash")
    with work(guid, "flash", handset=HANDSET) as flash:
        command = shlex.split(os.environ["FLASH"])
        done = subprocess.run(
            command, env=flash.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        flash.log(done.stdout)
        done.check_returncode()  # an exception here is recorded as the failure of this work
    return guid


def run(tree: str, job: dict[str, Any], flash: str, *, repeats: str = "") -> bool:
    """Run a job, once more if need be, and tell whether it passed."""
    guid = new_guid(job["path"])
    link(guid, flash, "flashed by")
    if repeats:
        link(guid, repeats, "repeats")
    with work(guid, "charge", handset=HANDSET) as charge:
        charge.log("charged to 80 %")  # what is done for this job alone
    status = execute(tree, job, guid)
    verdicts = collect(guid)
    step = decide(status, verdicts)
    print(f"{job['path']}: {vcsjob.exit_to_str(status)}, {dict(verdicts)}, so {step}; ave show {guid}", flush=True)
    if step == "again" and not repeats:
        return run(tree, job, flash, repeats=guid)
    return step == "passed"


# Execute


def execute(tree: str, job: dict[str, Any], guid: str) -> int:
    """Run the job itself, and wait at most a minute for its records to be stored, where they can be asked for."""
    return vcsjob.execute_job(tree, job, env=["PATH"], log_path=f"{guid}.log", guid=guid, wait_delivered=60)


# Collect


def collect(guid: str) -> Counter[str]:
    """Return how often the job's tests ended how: of several attempts at a test the last one counts."""
    last = {}
    for record in ave("find", "--guid", guid, "--kind", "verdict", "--oldest"):
        body = record["body"]
        if "_continues" not in body:  # more of a long message, not another verdict
            last[body["suite"], body["name"], str(body.get("parameters"))] = body["result"]
    return Counter(last.values())


def ave(*arguments: str) -> list[dict[str, Any]]:
    """Ask the stores; no records is an answer, too (exit code 1)."""
    done = subprocess.run([AVE, *arguments, "--json"], stdout=subprocess.PIPE, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


# Decide


def decide(status: int, verdicts: Counter[str]) -> str:
    """Return what follows: `passed`, `failed`, or `again`."""
    if status in AGAIN:
        return "again"
    bad = verdicts["failure"] + verdicts["error"] + verdicts["xpassed"]
    return "passed" if status == vcsjob.OK and not bad else "failed"


if __name__ == "__main__":
    if len(sys.argv) < 2 or "FLASH" not in os.environ:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
