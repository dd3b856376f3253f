"""Services of the tests, and how they are started, asked and ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from ave.lab.daemon import ControlService, Service, command, pidfile
from ave.network import Control
from ave.testing import wait_until


class Oven(Control):
    """What the oven does for those who call."""

    @Control.rpc
    def pid(self):
        return os.getpid()

    @Control.rpc
    def bake(self, seconds):
        print("it bakes", flush=True)
        time.sleep(seconds)
        return "baked"


class OvenService(ControlService):
    """A service with clients and with work; the work notes who does it, and whether anybody else does at that time."""

    name = "ave-oven"
    port = 0
    broken = ""
    kind = Oven

    def __init__(self, home, **streams):
        super().__init__(home, **streams)
        self.notes = Path(home) / "work"
        self.worker = Path(home) / "worker"

    @property
    def listeners(self):
        return {"rpc": ("127.0.0.1", self.port)}

    def control(self, listener):
        return self.kind(None, socket=listener, proc_name=self.name)

    def prepare(self):
        if self.broken == "prepare":
            raise RuntimeError("the oven is cold")

    def begin(self):
        if self.broken == "begin":
            raise RuntimeError("there is no flour")
        with suppress(FileNotFoundError, ValueError):  # it may have been killed while it wrote that
            other = int(self.worker.read_text())
            # one that was killed has let go of its lock a moment before it is gone
            try:
                gone(other, 1)
            except AssertionError:
                self.note(f"TWO {other}")
        self.worker.write_text(str(os.getpid()))
        self.note("begin")

    def work(self):
        self.rested.wait()
        self.worker.unlink()
        self.note("end")

    def note(self, what):
        with self.notes.open("a") as file:
            file.write(f"{what} {os.getpid()}\n")


class Stubborn(Service):
    """Ignores what it is told."""

    name = "ave-stubborn"

    def stop(self):
        signal.pause()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def gone(pid, timeout=20):
    wait_until(lambda: not is_running(pid), timeout, f"the end of process {pid}")


def end(service):
    """End whatever of a service runs, at the end of a test."""
    command.stop(service, 5.0)
    assert not pidfile.is_locked(service.path("pid"))
