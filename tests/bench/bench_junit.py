"""How fast JUnit XML is read, against junitparser and a loop of expat that builds nothing, and with how much memory."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from xml.parsers import expat

from junitparser import xunit2
from table import finish, heading, row

from ave.formats import junit

CASES = int(os.environ.get("AVE_BENCH_CASES", "100000"))
ROUNDS = 15
CHUNK = 64 * 1024

FAILURE = """<failure message="assert {n} == 0">def test_case():
&gt;       assert {n} == 0
E       assert {n} == 0

tests/pkg/test_mod.py:{n}: AssertionError</failure></testcase>"""
SKIP = '<skipped type="pytest.skip" message="not today">/src/tests/test_mod.py:7: not today</skipped></testcase>'


def write(path: str, cases: int) -> None:
    """Write a file as pytest does: one in a hundred fails, one is skipped, some have parameters."""
    with open(path, "w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest">')
        for n in range(cases):
            name = f"test_case_{n}[{n % 7}]" if n % 7 == 0 else f"test_case_{n}"
            where = f"tests.pkg{n % 97}.test_mod{n % 31}.TestClass"
            file.write(f'<testcase classname="{where}" name="{name}" time="{n % 1000 / 1000:.3f}"')
            inside = FAILURE.format(n=n) if n % 100 == 0 else SKIP if n % 100 == 1 else ""
            file.write(f">{inside}" if inside else " />")
        file.write("</testsuite></testsuites>")


def bare(path: str) -> None:
    """Let expat call functions that do nothing."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda _tag, _attributes: None
    parser.EndElementHandler = parser.CharacterDataHandler = lambda _text: None
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            parser.Parse(data, False)
    parser.Parse(b"", True)


def ours(path: str) -> None:
    """Read every case."""
    with open(path, "rb") as file:
        for _ in junit.cases(file):
            pass


def theirs(path: str) -> None:
    """Read of every case what a verdict is made of, reruns too, which the flavour xunit2 knows."""
    for suite in xunit2.JUnitXml.fromfile(path):
        for case in suite:
            _ = case.classname, case.name, case.time
            _ = [(result.message, result.type, result.text) for result in case.result]
            _ = [(entry.name, entry.value) for entry in case.properties()]
            _ = case.interim_result


def rounds(readers: list[Callable[[str], None]], path: str) -> list[list[float]]:
    """Return the CPU seconds of each reader, round by round: in turns, so that the machine's moods hit all alike."""
    return [[seconds(reader, path) for reader in readers] for _ in range(ROUNDS)]


def seconds(reader: Callable[[str], None], path: str) -> float:
    """Return the CPU seconds of one reading."""
    gc.collect()
    began = time.process_time()
    reader(path)
    return time.process_time() - began


def grown(path: str, small: str) -> float:
    """Return by how many MiB the peak of a fresh process grows when it reads a file behind a small one."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from bench_junit import ours, peak; "
        f"ours({small!r}); before = peak(); ours({path!r}); print(peak() - before)"
    )
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def peak() -> float:
    """Return the peak of this process's memory in MiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="ave-bench-") as folder:
        path, small, large = f"{folder}/results.xml", f"{folder}/small.xml", f"{folder}/large.xml"
        write(path, CASES)
        write(small, 1000)
        write(large, 4 * CASES)
        times = rounds([bare, ours, theirs], path)
        memory = [grown(path, small), grown(large, small)]
    heading(f"JUnit XML of {CASES:,} cases")
    for name, column in zip(("expat alone", "ave.formats.junit", "junitparser"), zip(*times, strict=True), strict=True):
        row(name, f"{CASES / min(column):,.0f} cases/s")
    to_floor = statistics.median(floor / own for floor, own, _ in times)
    to_peer = statistics.median(peer / own for _, own, peer in times)
    results = [
        row("  of the speed of expat alone", f"{to_floor:.2f}", ">= 0.5", to_floor >= 0.5),
        row("  of the speed of junitparser", f"{to_peer:.2f}", ">= 1.5", to_peer >= 1.5),
        row("  memory it adds", f"{memory[0]:.1f} MiB", "<= 25 MiB", memory[0] <= 25),
        row("  memory it adds with four times as many", f"{memory[1]:.1f} MiB", "<= 25 MiB", memory[1] <= 25),
    ]
    finish(results)


if __name__ == "__main__":
    main()
