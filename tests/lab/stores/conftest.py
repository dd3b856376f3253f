from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ave.lab.stores import open_store
from ave.record import KINDS
from ave.testing import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ave.lab.stores import Store


def memory(_tmp_path) -> Callable[[bool], Store]:
    store = MemoryStore()
    return lambda _readonly: store


def embedded(tmp_path) -> Callable[[bool], Store]:
    return lambda readonly: open_store("sqlite:///~/.ave/lab.db", str(tmp_path), KINDS, readonly=readonly)


@pytest.fixture(params=[memory, embedded], ids=lambda way: way.__name__)
def opened(request, tmp_path) -> Iterator[Callable[..., Store]]:
    """Open one and the same store as often as wanted: `opened()` to write, `opened(readonly=True)` to read."""
    way, stores = request.param(tmp_path), []

    def open_one(*, readonly: bool = False) -> Store:
        stores.append(way(readonly))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened) -> Store:
    return opened()
