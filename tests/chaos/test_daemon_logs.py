"""L1: rotation loses no line, children included, whatever step the daemon is killed at; the quota holds in a flood."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from bisect import bisect
from itertools import pairwise
from pathlib import Path

import pytest
from forked import at_point
from scale import dice, scaled

from ave.testing import wait_until
from tests.lab.daemon.printing import NAME, configure, logs, open_logs, printer, run, whole  # noqa: F401 - fixtures

#: Where a rotation can be cut short, from its begin to its end.
STEPS = ("log-renamed", "log-numbered", "log-made", "log-half-taken", "log-taken", "children-copied")

#: Who prints: three threads, two children.
WRITERS = "abcde"

CHILD = """
import mmap, os, struct, sys
counts = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 0)
place, parent, n = int(sys.argv[3]), int(sys.argv[4]), 0
while os.getppid() == parent:
    os.write(1, b"<%s %d>\\n" % (sys.argv[2].encode(), n))
    n += 1
    struct.pack_into("q", counts, place, n)
"""


class Counts:
    """How many lines of each writer of each incarnation a write has returned for; it survives their death."""

    def __init__(self, path, incarnations):
        self.path = path
        Path(path).write_bytes(bytes(8 * len(WRITERS) * incarnations))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def place(self, incarnation, writer):
        return 8 * (len(WRITERS) * incarnation + WRITERS.index(writer))

    def set(self, incarnation, writer, count):
        struct.pack_into("q", self.map, self.place(incarnation, writer), count)

    def get(self, incarnation, writer):
        return struct.unpack_from("q", self.map, self.place(incarnation, writer))[0]

    def total(self, incarnation):
        return sum(self.get(incarnation, writer) for writer in WRITERS)


def life(counts, incarnation, lines, fault=None):
    """Return the work of a daemon that prints by all means until there are so many lines, or until it is killed."""

    def work(log):
        ending = threading.Event()

        def printing(writer, write):
            def repeat():
                n = 0
                while not ending.is_set():
                    write(f"<{incarnation}-{writer} {n}>\n")
                    n += 1
                    counts.set(incarnation, writer, n)

            return threading.Thread(target=repeat)

        libc = ctypes.CDLL(None)
        threads = [
            printing("a", lambda line: os.write(1, line.encode())),
            printing("b", lambda line: print(line, end="", flush=True)),
            printing("c", lambda line: libc.write(2, line.encode(), len(line))),
        ]
        out, parent = log.child_stdio(), os.getpid()
        if fault:
            fault()
        command = [sys.executable, "-S", "-E", "-c", CHILD, counts.path]
        child = subprocess.Popen(
            [*command, f"{incarnation}-d", str(counts.place(incarnation, "d")), str(parent)], stdout=out, stderr=out
        )
        forked = os.fork()
        if forked == 0:
            n = 0
            while os.getppid() == parent:
                print(f"<{incarnation}-e {n}>", flush=True)
                n += 1
                counts.set(incarnation, "e", n)
            os._exit(0)
        wait_until(lambda: open_logs(child.pid) == open_logs(forked) == [])
        for thread in threads:
            thread.start()
        while counts.total(incarnation) < lines:
            faulthandler.dump_traceback(2)
            time.sleep(0.01)
        ending.set()
        for pid in (child.pid, forked):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for thread in threads:
            thread.join()

    return work


def nothing_is_lost(home, counts, incarnations):
    found = {}
    for name, n in re.findall(r"<(\d+-\w) (\d+)>", whole(home)):
        found.setdefault(name, set()).add(int(n))
    for incarnation in range(incarnations):
        for writer in WRITERS:
            wanted = set(range(counts.get(incarnation, writer)))
            lost = wanted - found.get(f"{incarnation}-{writer}", set())
            assert not lost, (incarnation, writer, len(lost), sorted(lost)[:9])


@pytest.mark.slow
def test_l1_rotation_loses_no_line_whatever_step_the_daemon_is_killed_at(printer, run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)
    random = dice("L1")
    repeats = scaled(20)
    faults = [at_point(step, random.randint(1, 5)) for _ in range(repeats) for step in STEPS]
    counts = Counts(str(home / "counts"), len(faults) + 1)
    for incarnation, fault in enumerate(faults):
        one = printer(life(counts, incarnation, 1 << 40, fault), every=0.002)
        assert one.wait() == -signal.SIGKILL
    printed = sum(map(counts.total, range(len(faults))))
    run(life(counts, len(faults), max(scaled(100_000), scaled(1_000_000) - printed)), every=0.002)
    nothing_is_lost(home, counts, len(faults) + 1)
    assert len(logs(home)) > scaled(200)
    assert not [*Path(home, ".ave/run").glob("*.children*")]


def test_l1_a_rotation_that_cannot_make_a_file_goes_on_in_the_old_one(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)

    def work(log):
        make = log._make
        log._make = fail
        print("x" * 10_000)
        log.check()
        print("still here")
        log._make = make
        log.check()
        print("and there")

    run(work, every=0)
    old, new = logs(home)
    assert old.read_text().endswith("still here\n")
    assert new.read_text() == "and there\n"


def fail(*_):
    raise OSError(28, "no space left on device")


def test_l1_no_log_stays_open_after_it_is_gone(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000, logs_quota_bytes=100_000)

    def work(log):
        for _ in range(100):
            print("x" * 10_000)
            log.check()
            assert [path for path in open_logs(os.getpid()) if "deleted" in path] == []

    run(work, every=0)


# The quota in a flood


def size_of(directory):
    """Return the bytes in a directory whose files come and go."""
    total = 0
    for entry in os.scandir(directory):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            pass
    return total


@pytest.mark.slow
@pytest.mark.parametrize("forwards", [False, True])
def test_the_quota_holds_in_a_flood_and_counts_what_it_takes(printer, home, forwards):  # noqa: F811
    quota, lines, line = 10 << 20, scaled(16_000_000), "x" * 54
    configure(home, logs_quota_bytes=quota)
    configure(home, "panotti", stderr=forwards)
    counts = Counts(str(home / "counts"), 1)

    def work(_log):
        for n in range(0, lines, 100):
            for m in range(n, n + 100):
                print(f"{m:08d}", line)
            counts.set(0, "a", n + 100)
        sys.stdout.flush()
        wait_until(lambda: size_of(home / ".ave/logs") <= quota, timeout=1)

    one = printer(work, every=0.05, forwards=forwards)
    samples = []
    while not one.has_ended():
        if (home / ".ave/logs").exists():
            samples.append((time.monotonic(), size_of(home / ".ave/logs"), counts.get(0, "a") * 64))
        time.sleep(0.005)
    assert one.wait() == 0, whole(home)[-3000:]
    over = [(size - quota, recent(samples, at)) for at, size, _ in samples if size > quota]
    assert [pair for pair in over if pair[0] > pair[1]] == []
    text = whole(home)
    left = re.findall(r"^(\d{8}) x{54}$", text, re.MULTILINE)
    assert [*map(int, left)] == list(range(int(left[0]), lines))
    told = re.findall(rf"to stay within the quota of {quota} bytes; since the start \d+ logs, (\d+) lines", text)
    assert 0 <= int(told[-1]) - int(left[0]) <= 1000  # besides, the lines that told of it and are gone themselves


def recent(samples, at):
    """Return how much was printed in the 100 ms before `at`, in bytes, and what is in the buffer.

    On a busy machine who looks after the log may be kept waiting as long as who takes the samples was.
    """
    now, then = bisect(samples, (at,)), before(samples, at - 0.1)
    waited = max((later[0] - sooner[0] for sooner, later in pairwise(samples[then : now + 1])), default=0.0)
    return samples[min(now, len(samples) - 1)][2] - samples[before(samples, at - 0.1 - waited)][2] + 64 * 1024


def before(samples, at):
    """Return the index of the last sample before `at`, or of the first."""
    return max(0, bisect(samples, (at,)) - 1)
