"""L2: a log disk that is full never stops the daemon, and when there is room again one line says what is missing."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import full_log_disk
import pytest

from ave.lab.daemon.streams import Outlet
from tests.lab.daemon.printing import NAME, logs, printer, run, whole  # noqa: F401 - fixtures

ROOT = str(Path(__file__).parents[2])


def test_l2_a_full_log_disk_never_stops_the_daemon(home):
    alone = ["unshare", "--mount", "--propagation", "private"]
    if not shutil.which("unshare") or subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", str(home)]).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    command = [*alone, sys.executable, full_log_disk.__file__, str(home)]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    [dropped] = re.findall(rf"^{NAME}: (\d+) lines dropped here", text, re.MULTILINE)
    there = len(re.findall(r"^line \d+ x{100}$", text, re.MULTILINE))
    assert int(dropped) > 1000
    assert there + int(dropped) == full_log_disk.LINES
    assert text.endswith("the daemon goes on\n")


def test_l2_what_does_not_go_in_raises_nothing_and_is_counted(run, home):  # noqa: F811
    def work(log):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        print("before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
        for _ in range(3):
            print("a line that is too long")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.check()
        print("after")

    text = run(work, every=0)
    assert text == f"before\na line that i\n{NAME}: 3 lines dropped here: the log could not be written\nafter\n"


def test_l2_a_daemon_starts_while_the_log_cannot_be_made_and_says_so_later(printer, home, monkeypatch):  # noqa: F811
    def fail(*_):
        raise OSError(28, "no space left on device")

    from ave.lab.daemon.logs import Log

    real = Log._make
    monkeypatch.setattr(Log, "_make", fail)

    def work(log):
        print("lost")
        log.check()
        Log._make = real
        log.check()
        print("kept")

    assert printer(work, every=0).wait() == 0
    assert whole(str(home)) == f"{NAME}: 1 lines dropped here: the log could not be written\nkept\n"


def test_l2_an_outlet_that_is_shut_counts_lines_without_end_too():
    outlet = Outlet()
    outlet.shut()
    for data in (b"one\ntwo\n", b"without end", b"end\n"):
        outlet.put(2, memoryview(data))
    assert outlet.dropped == 4
