"""Real servers for tests: started once per test run on a free loopback port, in a private directory, and stopped."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from ave.testing import wait_until

ROOT = Path(__file__).parents[2]

#: Seconds that a server has to answer or to end.
PATIENCE_S = 60


class Server:
    """A process that listens on `port`; it can be killed, stopped, let go on and started again where it was.

    Args:
        name: of it, for messages.
        command: given the port and the directory, returns the command line.
        prepare: makes what it needs in the directory, if anything.
    """

    def __init__(self, name, command, prepare=lambda _directory: None):
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix=f"ave-{name}-"))
        self.port = _free_port()
        self._command = command
        self._process = None
        atexit.register(self.remove)
        prepare(self.directory)
        self.start()

    @property
    def log(self):
        return (self.directory / "stderr").read_text(errors="replace")

    def start(self):
        with (self.directory / "stderr").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self.port, self.directory),
                cwd=self.directory,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        wait_until(self.answers, PATIENCE_S, f"{self.name} to listen; it said:\n{self.log}")

    def answers(self):
        assert self._process.poll() is None, f"{self.name} ended: {self.log[-2000:]}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def send(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def stop(self):
        """End it as its operator would."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def remove(self):
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def cannot_be_had(what, cure):
    """Skip the test that needs a server, or fail it where all must be there."""
    reason = f"{what} cannot be had: {cure}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
