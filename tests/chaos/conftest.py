"""What all fault tests share: a home of their own, the parts of a lab, and the seed at the end."""

from __future__ import annotations

import pytest
from delivering import served  # noqa: F401 - a fixture, as are those below
from forked import drain, fork, job, logd  # noqa: F401
from scale import SCALE, SEED
from scene import scene  # noqa: F401

from ave import home as homes
from tests.forgetting import forget
from tests.network.conftest import call, fds, serve  # noqa: F401


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"fault tests: AVE_TEST_SCALE={SCALE:g} AVE_TEST_SEED={SEED}")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home that exists."""
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


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
        forget()

    return write
