"""ave-logd as a process of its own between this one, which emits, and the servers of a test.

Nothing is forked here, for proxies and sinks are threads of this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from forked import GUID, assert_balances, configure
from scale import SCALE

from ave import spool
from ave.exceptions import StoreUnavailable
from ave.lab import config
from ave.lab.stores import open_store
from ave.record import KINDS, Query
from ave.testing import wait_until

#: Seconds within which what waits is delivered once the servers are well; pouchdb-server, of all of them, makes
#: its views at some hundred documents a second.
SOON_S = max(180, 60 * SCALE)

HERE = Path(__file__).parent

PROGRAM = "import sys; from ave.lab.logd import main; sys.exit(main(sys.argv[1:]))"


class Logd:
    """An ave-logd of a home; it can be killed and begun again."""

    def __init__(self, home, directory):
        self._home = home
        self._log = directory / "logd.log"
        self._process = None

    def begin(self, *arguments, dies=None):
        """Begin it; if `dies` is given, it dies at the point of that name when it is there for the n-th time."""
        program = PROGRAM if dies is None else f"from forked import at_point; at_point{dies!r}(); {PROGRAM}"
        environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"}
        with self._log.open("ab") as log:
            command = [sys.executable, "-c", program, "--home", str(self._home), *arguments]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def end(self, number=signal.SIGTERM):
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def wait(self):
        """Wait until it ends by itself; return its exit code."""
        code = self._process.wait(120)
        self._process = None
        return code

    def drain(self, code=0):
        """Bring everything that waits to the stores, and end."""
        self.end()
        self.begin("--once")
        assert self.wait() == code, self.said()[-3000:]

    @property
    def is_running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def said(self):
        return self._log.read_text(errors="replace") if self._log.exists() else ""


@pytest.fixture
def served(home, tmp_path):
    """An ave-logd that is not begun yet; whatever runs in the end is killed."""
    config.bootstrap(str(home))
    # not as long as in a lab, where it is a minute
    configure(home, "logd", retry_max_s=1)
    one = Logd(home, tmp_path)
    yield one
    one.end(signal.SIGKILL)


def everything_to(home, url):
    """Let every kind of record go to one store and to no other."""
    for name in ("panotti", "decibel", "mysql"):
        configure(home, name, enabled=True, url=url)


def emit(home, numbers, *, kind="shout", guid=GUID, size=20):
    """Emit a record for each of `numbers`."""
    text = "x" * size
    for n in numbers:
        spool.append(kind, guid, {"n": n, "text": text}, source="test", home=str(home))


class Emitting:
    """Emits in a thread at a pace until it is ended.

    Attributes:
        count: records that are kept so far.
    """

    def __init__(self, home, pace_s=0.002, size=20):
        self.count = 0
        self._home, self._pace_s, self._size = home, pace_s, size
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._ending.wait(self._pace_s):
            self.emit_one(self.count)
            self.count += 1

    def emit_one(self, n):
        """Emit the record of a number."""
        emit(self._home, [n], size=self._size)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._ending.set()
        self._thread.join(30)
        spool.close()

    def wait_for(self, more):
        """Wait until so many more are kept."""
        before = self.count
        wait_until(lambda: self.count >= before + more, 60 + more / 100)


def numbers(url, guid=GUID):
    """Return the number in every record of a run that a store has, in order."""
    store = open_store(url, "/nowhere", KINDS, readonly=True)
    try:
        return sorted(one.body["n"] for one in store.find(Query(guid=guid)) if "n" in one.body)
    finally:
        store.close()


def count(url, guid=GUID):
    """Return how many records of a run a store has."""
    store = open_store(url, "/nowhere", KINDS, readonly=True)
    try:
        return sum(store.count(guid).values())
    finally:
        store.close()


def wait_until_stored(url, wanted, guid=GUID):
    """Wait until a store, which may be away, has so many records of the run."""

    def has_them():
        try:
            return count(url, guid) >= wanted
        except StoreUnavailable:
            return False

    wait_until(has_them, SOON_S, f"{wanted} records to be stored")


def is_delivered(home):
    """Tell whether no segment of this process waits in the spool; ave-logd may have one of its own, for metrics."""
    return not any(_is_ours(path) for path in (home / ".ave/spool").glob("*.seg"))


def _is_ours(path):
    with suppress(FileNotFoundError), path.open("rb") as segment:
        return f'"pid":{os.getpid()},'.encode() in segment.readline()
    return False


def letters(home):
    """Return the files of dead letters."""
    return list((home / ".ave/spool/dead").glob("*/letters"))


def assert_delivered_once(home, url, wanted, numbers=numbers):
    """Assert that a store has so many records, each once, by `numbers(url)`, and nothing else was emitted or buried."""
    assert numbers(url) == list(range(wanted))
    assert letters(home) == []
    assert len(assert_balances(home).rows) == 1, "records of one kind are all there was"


def assert_all_comes_once(home, served, url, wanted, numbers=numbers):
    """Wait until all is stored and the spool is empty; assert that each record is there once."""
    wait_until_stored(url, wanted)
    wait_until(lambda: is_delivered(home), SOON_S)
    served.drain()
    assert_delivered_once(home, url, wanted, numbers)
