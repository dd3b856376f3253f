"""Plant each defect of the table into a copy of the tree and see its test fail: `run.py [--part N/M] [ROW ...]`.

All rows, unless some are named; of these the N-th of M parts, unless all.

A defect that no test catches is a survivor, and survivors fail the run. So does a line of the table whose text is
no longer in its file, and a test that fails without a defect.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from table import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from table import Mutant

ROOT = Path(__file__).parents[2]
WORKERS = 2

#: Seconds after which a test hangs, which is a way to fail.
TIMEOUT_S = 240

#: What pytest exits with when a test failed; anything else but 0 is a mistake in the table.
FAILED = 1

IGNORED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "demo-home", "*.egg-info", "_build")


def run(tree: Path, test: str) -> int | None:
    """Run a test in a tree; return pytest's exit code, None if it hangs."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *test.split(" ", 2)]
    environment = {**os.environ, "AVE_TEST_SEED": "1", "AVE_TEST_SCALE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        return None


def fault_of(tree: Path, mutant: Mutant) -> str:
    """Plant a defect, run its test, take it out again; return what is wrong with the test or the table, or nothing."""
    file = tree / mutant.file
    sound = file.read_text()
    if sound.count(mutant.old) != 1:
        return f"TABLE: {mutant.file} has its text {sound.count(mutant.old)} times"
    file.write_text(sound.replace(mutant.old, mutant.new))
    try:
        code = run(tree, mutant.test)
    finally:
        file.write_text(sound)
    if code in {FAILED, None}:
        return ""
    return "SURVIVED" if code == 0 else f"TABLE: pytest ended with {code}"


def fault_of_test(tree: Path, test: str) -> str:
    """Return what is wrong with a test when there is no defect."""
    code = run(tree, test)
    return "" if code == 0 else f"TABLE: without a defect, pytest ended with {code}"


def part_of(mutants: list[Mutant], part: str) -> list[Mutant]:
    """Return the part "N/M" of the mutants, from 1/M to M/M; those that one test catches stay together."""
    number, _, count = part.partition("/")
    tests = sorted({mutant.test for mutant in mutants})
    mine = set(tests[int(number) - 1 :: int(count)])
    return [mutant for mutant in mutants if mutant.test in mine]


def main(arguments: list[str]) -> int:
    """Run all, print each as it ends, then the survivors."""
    parser = argparse.ArgumentParser(description="Plant known defects; a test must catch each.")
    parser.add_argument("--part", metavar="N/M", default="1/1", help="only the N-th of M parts")
    parser.add_argument("rows", metavar="ROW", nargs="*", help="a promise, such as R12; all of them if none is named")
    options = parser.parse_args(arguments)
    mutants = part_of([mutant for mutant in MUTANTS if not options.rows or mutant.row in options.rows], options.part)
    if not mutants:
        print(f"there is no such row; there are: {' '.join(sorted({mutant.row for mutant in MUTANTS}))}")
        return 2
    tests = sorted({mutant.test for mutant in mutants})
    jobs = [(f"{'-':5} {test}", fault_of_test, test) for test in tests]
    jobs += [(f"{mutant.row:5} {mutant.what}", fault_of, mutant) for mutant in mutants]
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        trees: SimpleQueue[Path] = SimpleQueue()
        for worker in range(WORKERS):
            tree = shutil.copytree(ROOT, Path(directory, str(worker)), ignore=IGNORED)
            (tree / "build").symlink_to(ROOT / "build")  # the servers that were fetched
            trees.put(tree)

        def work(job: tuple) -> str:
            name, check, subject = job
            tree, began = trees.get(), time.monotonic()
            fault = check(tree, subject)
            trees.put(tree)
            print(f"{time.monotonic() - began:5.1f} s  {name}  {fault}".rstrip(), flush=True)
            return f"{name}: {fault}" if fault else ""

        with ThreadPoolExecutor(WORKERS) as pool:
            faults = [fault for fault in pool.map(work, jobs) if fault]
    return report(faults, len(mutants))


def report(faults: Iterable[str], count: int) -> int:
    """Print the end; return the exit code."""
    for fault in faults:
        print(fault)
    print("not all defects were caught" if faults else f"{count} defects planted, every one caught")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
