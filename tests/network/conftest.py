"""Services in processes of their own, and a home of its own for what calls leave in the spool."""

from __future__ import annotations

import os
import signal

import pytest

from ave import home as homes
from ave import spool
from ave.exceptions import UsageError
from ave.lab.config import bootstrap
from ave.network import RemoteControl, disconnect, find_free_port
from ave.testing import read_spool


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An AVE home with panotti enabled, and no outer run."""
    for name in ("VCSJOB_GUID", "TRACEPARENT"):
        monkeypatch.delenv(name, raising=False)
    path = str(tmp_path / "home")
    os.mkdir(path)
    monkeypatch.setenv("AVE_HOME", path)
    bootstrap(path)
    return path


@pytest.fixture
def kept(home):
    """A function that returns the records of a kind that are in the spool, in order of time."""

    def found(kind):
        spool.flush(home)
        records = [record for record in read_spool(homes.ave(home, "spool")).records if record.kind == kind]
        return sorted(records, key=lambda record: record.time)

    return found


@pytest.fixture
def serve():
    """A function that starts a service of a class, listening, and ends it with the test."""
    started = []

    def start(kind, *args, **options):
        control = kind(options.pop("port", None) or find_free_port(), *args, **options)
        control.start(synchronize=True)
        started.append(control)
        return control

    yield start
    for control in started:
        try:
            if control.is_alive():
                os.kill(control.pid, signal.SIGKILL)
            control.join()
        except UsageError:
            pass


@pytest.fixture
def call():
    """A function that makes a RemoteControl for a service, and disconnects it with the test."""
    made = []

    def make(control, authkey=None, timeout=10, **options):
        remote = RemoteControl(("", control.port), authkey, timeout, **options)
        made.append(remote)
        return remote

    yield make
    for remote in made:
        disconnect(remote)


@pytest.fixture
def fds():
    """A function that counts this process's descriptors."""
    return lambda: len(os.listdir("/proc/self/fd"))
