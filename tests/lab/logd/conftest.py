from __future__ import annotations

import pytest

from ave import home as homes
from ave.lab.logd.ledger import Ledger
from ave.lab.logd.watch import Watch
from ave.spool import writer


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home; what other tests left open in this process is closed."""
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    _forget()
    yield str(tmp_path / "home")
    _forget()


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


def _forget():
    writer.close()
    writer._emitters.clear()
    homes.forget()
