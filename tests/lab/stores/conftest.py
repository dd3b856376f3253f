from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ave.lab.stores import open_store
from ave.network import find_free_port
from ave.record import KINDS
from ave.testing import MemoryStore, PanottiControl
from tests.system import servers_couchdb, servers_mariadb, servers_opensearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ave.lab.stores import Store


@contextmanager
def memory(_tmp_path) -> Iterator[Callable[[bool], Store]]:
    store = MemoryStore()
    yield lambda _readonly: store


@contextmanager
def embedded(tmp_path) -> Iterator[Callable[[bool], Store]]:
    yield lambda readonly: open_store("sqlite:///~/.ave/lab.db", str(tmp_path), KINDS, readonly=readonly)


@contextmanager
def panotti_rpc(_tmp_path) -> Iterator[Callable[[bool], Store]]:
    control = PanottiControl(find_free_port(), authkey="secret")
    control.start(synchronize=True)
    url = f"ave://:secret@localhost:{control.port}/panotti"
    try:
        yield lambda readonly: open_store(url, "/nowhere", KINDS, readonly=readonly)
    finally:
        control.terminate()
        control.join(10)


@contextmanager
def mariadb(_tmp_path) -> Iterator[Callable[[bool], Store]]:
    url = servers_mariadb.fresh_url()
    yield lambda readonly: open_store(url, "/nowhere", KINDS, readonly=readonly)


@contextmanager
def tables(tmp_path) -> Iterator[Callable[[bool], Store]]:
    yield lambda readonly: open_store("sqlite+tables:///~/tables.db", str(tmp_path), KINDS, readonly=readonly)


@contextmanager
def couchdb(_tmp_path) -> Iterator[Callable[[bool], Store]]:
    url = servers_couchdb.fresh_url()
    yield lambda readonly: open_store(url, "/nowhere", KINDS, readonly=readonly)


@contextmanager
def opensearch(_tmp_path) -> Iterator[Callable[[bool], Store]]:
    with servers_opensearch.fresh() as url:
        yield lambda readonly: open_store(url, "/nowhere", KINDS, readonly=readonly)


@pytest.fixture(
    params=[memory, embedded, panotti_rpc, couchdb, mariadb, tables, opensearch], ids=lambda way: way.__name__
)
def opened(request, tmp_path) -> Iterator[Callable[..., Store]]:
    """Open one and the same store as often as wanted: `opened()` to write, `opened(readonly=True)` to read."""
    stores: list[Store] = []
    with request.param(tmp_path) as way:

        def open_one(*, readonly: bool = False) -> Store:
            stores.append(way(readonly))
            return stores[-1]

        yield open_one
        for store in stores:
            store.close()


@pytest.fixture
def store(opened) -> Store:
    return opened()
