"""A home with a store, and records for it."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from calling import GUID, NOON, ROOT, SECOND, Ran, called

from ave.lab.config import bootstrap
from ave.lab.stores import EmbeddedStore
from ave.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch) -> Iterator[None]:
    """Keep the settings of this machine out of the tests."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("TERM", "xterm"), ("TZ", "UTC"), ("PYTHONPATH", str(ROOT)), ("AVE_HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def home(tmp_path) -> str:
    bootstrap(str(tmp_path))
    return str(tmp_path)


@pytest.fixture
def store(home) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(f"sqlite:///{home}/.ave/lab.db")
    yield store
    store.close()


@pytest.fixture
def made() -> Callable[..., Record]:
    """Make records: `made("shout", {...}, at=1.5)`, `at` in seconds since noon."""
    numbers = itertools.count(1)

    def make(kind: str, body: dict, *, at: float = 0.0, **other) -> Record:
        fields = {"id": f"{'0123456789abcdef' * 2:.26}-{next(numbers)}", "guid": GUID, "host": "lab1", "pid": 4711}
        return Record(kind=kind, time=NOON + round(at * SECOND), body=body, **fields | {"source": "test"} | other)

    return make


@pytest.fixture
def ave(capsys) -> Callable[..., Ran]:
    """Call the program in this process."""
    return partial(called, capsys)
