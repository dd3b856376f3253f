"""What all fault tests share: a home of their own, nothing remembered between them, and the seed at the end."""

from __future__ import annotations

import pytest
from scale import SCALE, SEED

from ave import home as homes
from ave import panotti
from ave.spool import writer


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"fault tests: AVE_TEST_SCALE={SCALE:g} AVE_TEST_SEED={SEED}")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home that exists; the spool of earlier tests is closed and forgotten."""
    _forget()
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"
    monkeypatch.undo()
    _forget()


@pytest.fixture
def spool(home):
    """The path of the spool below `home`."""
    return str(home / ".ave" / "spool")


@pytest.fixture
def settings(home):
    """A function that writes `"spool": {...}` into panotti.json, enabled."""

    def write(**spool):
        directory = home / ".ave" / "config"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / "panotti.json").write_text(homes.json.dumps({"enabled": True, "spool": spool}))
        _forget()

    return write


def _forget():
    writer.close()
    writer._emitters.clear()
    panotti._told.clear()
    panotti._enabled.clear()
    homes.forget()
