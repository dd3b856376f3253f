"""ave-logd and its jobs in fault tests: forked, so that one costs milliseconds, and always ended.

A fault is put in its way in the child alone, before it begins.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
import time
import traceback
from contextlib import closing

import pytest

from ave import home as homes
from ave import io, spool
from ave.exceptions import SpoolError
from ave.lab import config
from ave.lab.audit import audit
from ave.lab.logd import main, program
from ave.spool import reader
from ave.testing import wait_until

GUID = "20261122-nightly-17"

#: The embedded store, below a home.
DATABASE = ".ave/lab.db"

#: What ends ave-logd or makes it read again: kept from a child until it has begun.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Child:
    """A forked process.

    Attributes:
        status: as of os.waitpid; None while it runs.
        log: the path of what it says on stderr.
    """

    def __init__(self, work, log):
        self.log = log
        self.status = None
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(work, said)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(said)

    def send(self, number):
        if self.status is None:
            os.kill(self.pid, number)

    def has_ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def wait(self, timeout=60):
        """Wait for its end; return its exit code, or minus the signal that ended it."""
        wait_until(self.has_ended, timeout, f"the end of process {self.pid}")
        return os.waitstatus_to_exitcode(self.status)

    def said(self):
        with open(self.log, errors="replace") as file:
            return file.read()


def _be_child(work, said):
    code = 70
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - until the end of the process
        homes.forget()
        code = work() or 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture
def fork(tmp_path):
    """Fork a child that does some work; whatever still runs in the end is killed."""
    children = []

    def begin(work, name="child"):
        children.append(Child(work, str(tmp_path / f"{name}-{len(children)}.log")))
        return children[-1]

    yield begin
    for child in children:
        if not child.has_ended():
            child.send(signal.SIGCONT)
            child.send(signal.SIGKILL)
            child.wait()


@pytest.fixture
def logd(fork, home):
    """Begin ave-logd; `logd("--once")` drains. `fault` is called in the child before it begins."""

    def begin(*arguments, fault=None):
        def work():
            if fault:
                fault()
            return main(["--home", str(home), *arguments])

        return fork(work, "logd")

    config.bootstrap(str(home))
    homes.forget()
    return begin


@pytest.fixture
def drain(logd, home):
    """Drain the spool; the ave-logd that does it must end well."""

    def run(code=0):
        one = logd("--once")
        assert one.wait() == code, one.said()
        assert "Traceback" not in one.said()

    return run


def configure(home, name, **settings):
    """Write a configuration file."""
    write_settings(home, name, json.dumps(settings))


def write_settings(home, name, text):
    """Write a configuration file, which may be a broken one."""
    io.replace_file(homes.config_file(name, str(home)), text.encode())
    homes.forget()


# Jobs


@pytest.fixture
def job(fork, home):
    """Begin a job that emits until it has emitted `count`; it notes how many were kept."""

    def begin(name, count=1 << 40, *, guid=GUID, pace_s=0.0, kinds=("shout",), size=20):
        def work():
            notes = os.open(f"{home}/kept-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            try:
                for n in range(count):
                    body = {"job": name, "n": n, "text": "x" * size}
                    try:
                        spool.append(kinds[n % len(kinds)], guid, body, source="test", home=str(home))
                        os.write(notes, b"%d\n" % n)
                    except SpoolError:
                        pass  # counted by the spool
                    time.sleep(pace_s)
            finally:
                spool.close()

        return fork(work, f"job-{name}")

    return begin


def kept(home):
    """Return what append said it kept: (job, n) of each."""
    found = set()
    for entry in os.scandir(home):
        if entry.name.startswith("kept-"):
            with open(entry.path) as notes:
                found |= {(entry.name.removeprefix("kept-"), int(n)) for n in notes.read().split()}
    return found


# What came of it


def stored(home, database=DATABASE, guid=GUID):
    """Return the stored records of a run: id -> (kind, body)."""
    path = os.path.join(home, database)
    if not os.path.exists(path):
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            rows = db.execute("SELECT id, kind, body FROM records WHERE guid = ?", (guid,)).fetchall()
        except sqlite3.OperationalError:
            return {}  # being made at this moment
    return {id_: (kind, json.loads(body)) for id_, kind, body in rows}


def assert_balances(home, guid=GUID, *, gaps=(), rows=True):
    """Assert that the audit of a run balances to zero with nothing on the way; return it.

    Args:
        gaps: (segment, first, last) of each gap that there must be.
        rows: whether the rows must balance; they do not when records were taken from us.
    """
    found = audit(str(home), guid)
    there = {(gap.segment, gap.first, gap.last) for gap in found.gaps}
    assert there == set(gaps), (sorted(there - set(gaps))[:9], sorted(set(gaps) - there)[:9])
    if rows:
        assert [row for row in found.rows if not row.ok] == []
        assert found.ok == (not gaps)
        assert found.waiting == 0
    return found


def assert_nothing_lost_nothing_twice(home, database=DATABASE, unsaid=0):
    """Assert that what jobs were told is kept is stored, once; `unsaid`: jobs killed before they noted their last."""
    wanted = kept(home)
    there = [(body["job"], body["n"]) for _, body in stored(home, database).values() if "job" in body]
    assert len(there) == len(set(there)), "twice"
    assert wanted <= set(there), f"lost: {sorted(wanted - set(there))[:9]}"
    assert len(set(there) - wanted) <= unsaid


def peak_mib(pid):
    """Return the most memory that a process had so far, in MiB (proc(5))."""
    with open(f"/proc/{pid}/status") as status:
        [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
    return peak / 1024


def segments(home):
    return reader.list_segments(homes.ave(str(home), "spool"))


# Faults


def points():
    """Return the names of all points of ave.lab.logd that pass `ave.io.reached`."""
    directory = os.path.dirname(program.__file__)
    found = []
    for entry in sorted(os.listdir(directory)):
        if entry.endswith(".py"):
            with open(os.path.join(directory, entry)) as file:
                found += re.findall(r'io\.reached\("([\w-]+)"\)', file.read())
    return found


#: What ave-logd calls to change a file, or to know one.
CALLS = (
    "close",
    "is_unlocked",
    "make_dirs",
    "open_append",
    "open_read",
    "pread",
    "rename",
    "sync",
    "sync_dir",
    "unlink",
    "write",
)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_point(point, count, do=die):
    """Return a fault: `do` when the point is reached for the `count`-th time."""

    def fault():
        def reached(name):
            nonlocal left
            if name == point:
                left -= 1
                if left == 0:
                    do()

        left = count
        io.reached = reached

    return fault


def around_call(calls, count, *, before=None, after=None):
    """Return a fault: `before` or `after` the `count`-th call of any of these functions of `ave.io`."""

    def fault():
        left = count

        def around(real):
            def called(*arguments, **options):
                nonlocal left
                left -= 1
                is_it = left == 0
                if is_it and before:
                    before()
                result = real(*arguments, **options)
                if is_it and after:
                    after()
                return result

            return called

        for call in calls:
            setattr(io, call, around(getattr(io, call)))

    return fault
