"""A home of its own for each test of the spool."""

from __future__ import annotations

import json

import pytest

from tests.forgetting import forget


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def spool(home):
    """The path of the spool below `home`."""
    return str(home / ".ave" / "spool")


@pytest.fixture
def settings(home):
    """A function that writes `"spool": {...}` into panotti.json."""

    def write(**spool):
        (home / ".ave" / "config").mkdir(parents=True, exist_ok=True)
        (home / ".ave" / "config" / "panotti.json").write_text(json.dumps({"spool": spool}))
        forget()

    return write
