"""A home of its own for each test, and what was emitted into it."""

from __future__ import annotations

import pytest

from ave import home as homes
from ave import spool
from ave.spool import writer
from ave.testing import read_spool


def forget():
    spool.close()
    writer._emitters.clear()
    homes.forget()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    forget()
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("AVE_HOME", str(path))
    yield path
    forget()


@pytest.fixture
def emitted(home):
    """A function that returns all records in the spool."""
    return lambda: read_spool(str(home / ".ave" / "spool")).records
