"""Processes that print into a log: forked, looked after by a thread, and always ended."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from ave import home as homes
from ave import io, spool
from ave.lab.daemon.logs import Log
from ave.lab.daemon.stderr import Forwarder
from ave.testing import read_spool, wait_until

NAME = "ave-printer"


class Printer:
    """A forked process that opens the log of `home` and calls `work(log)`; `every` seconds the log is checked."""

    def __init__(self, home, work, every=0.01, forwards=False):
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            _live(str(home), work, every, forwards)

    def has_ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def wait(self, timeout=30):
        """Wait for its end; return its exit code, or minus the signal that ended it."""
        wait_until(self.has_ended, timeout, "the end of the printer")
        return self.status

    def kill(self):
        """End it, and in any case what it has begun: it leads a group of processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


def _live(home, work, every, forwards):
    code = 70
    try:
        os.setsid()
        threading.excepthook = threading.__excepthook__  # not that of pytest
        homes.forget()
        log = Log(home, NAME)
        log.open()
        forwarder = Forwarder(home, NAME) if forwards else None
        ending = Event()

        def keep():
            while not ending.wait(every):
                log.check()
                if forwarder:
                    forwarder.check()

        keeper = Thread(target=keep, daemon=True)
        if every:
            keeper.start()
        work(log)
        ending.set()
        if every:
            keeper.join()
        log.close()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        spool.close()
        os._exit(code)


@pytest.fixture
def printer(home):
    """Begin a printer; whatever still runs in the end is killed."""
    begun = []

    def begin(work, **options):
        begun.append(Printer(home, work, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()


@pytest.fixture
def run(printer):
    """Let a printer work to its end, which must be a good one; return what is in the log."""

    def work_through(work, **options):
        home = homes.named()
        one = printer(work, **options)
        code = one.wait()
        assert code == 0, whole(home)
        return whole(home)

    return work_through


def configure(home, name="logd", **settings):
    """Write a configuration file."""
    path = homes.config_file(name, str(home))
    io.make_dirs(os.path.dirname(path))
    io.replace_file(path, json.dumps(settings).encode())
    homes.forget()


def logs(home):
    """Return the paths of all files of the log, the oldest first."""
    directory = Path(home, ".ave", "logs")
    there = directory.iterdir() if directory.is_dir() else ()
    found = [path for path in there if re.fullmatch(rf"{NAME}\.log(\.\d+(\.gz)?)?", path.name)]
    return sorted(found, key=lambda path: (path.suffix == ".log", path.name))


def whole(home):
    """Return all that is in the log, text, the oldest first."""
    parts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in logs(home)]
    return b"".join(parts).decode(errors="replace")


def open_logs(pid):
    """Return which files below `.ave/logs` a process has open, as the kernel names them."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        if "/.ave/logs/" in target:
            found.append(target)
    return found


def told(home, kind="stderr"):
    """Return the records of a kind that are in the spool, in the order in which they were emitted."""
    return [record for record in read_spool(homes.ave(str(home), "spool")).records if record.kind == kind]
