from __future__ import annotations

import pytest

from ave import home as homes
from ave.lab import config
from ave.lab.config import Routing
from ave.lab.logd import watch as watches
from ave.lab.logd.daemon import Daemon
from ave.lab.logd.ledger import Ledger
from ave.lab.logd.watch import Watch
from ave.lab.stores import STORES
from ave.testing import MemoryStore


@pytest.fixture(autouse=True)
def _thorough(monkeypatch):
    """Let every look be one that looks at final segments, too."""
    monkeypatch.setattr(watches, "CHECK_S", 0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    return str(tmp_path / "home")


@pytest.fixture
def spool(home):
    """Its spool, which is there."""
    path = homes.ave(home, "spool")
    homes.os.makedirs(path, mode=0o700)
    return path


@pytest.fixture
def watch(spool):
    return Watch(spool)


@pytest.fixture
def ledger(spool):
    ledger = Ledger(f"{spool}/ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def store(monkeypatch):
    """A store in memory, which the URL `memory://here` names."""
    store = MemoryStore()

    def opened(_url, kinds, *, readonly=False):
        store.kinds = frozenset(kinds)
        return store

    monkeypatch.setitem(STORES, "memory", opened)
    return store


@pytest.fixture
def configure(home):
    """A function that writes a configuration file."""
    config.bootstrap(home)

    def write(name, **settings):
        path = homes.config_file(name, home)
        with open(path, "w", opener=lambda path, flags: homes.os.open(path, flags, 0o600)) as file:
            homes.json.dump(settings, file)
        homes.forget()

    return write


@pytest.fixture
def daemon(home, store, configure):
    """Make a daemon, and in the end no thread of it is left; every kind but verdicts goes to `store`."""
    made = []

    def make():
        made.append(Daemon(home, Routing.read(home)))
        return made[-1]

    configure("panotti", enabled=True, url="memory://here")
    yield make
    for one in made:
        one.stop()
        for shipper in one.shippers:
            shipper.stop()
            if shipper.is_alive():
                shipper.join()
