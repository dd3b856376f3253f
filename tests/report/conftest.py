"""A home of its own for each test, and what was emitted into it."""

from __future__ import annotations

import pytest

from ave.testing import read_spool


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("AVE_HOME", str(path))
    return path


@pytest.fixture
def emitted(home):
    """A function that returns all records in the spool."""
    return lambda: read_spool(str(home / ".ave" / "spool")).records
