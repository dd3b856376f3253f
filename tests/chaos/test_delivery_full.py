"""R13: a real server whose disk has no room: nothing that it said yes to is lost, nothing is there twice."""

from __future__ import annotations

import pytest
from delivering import Emitting, assert_all_comes_once, emit, everything_to, is_delivered, letters, wait_until_stored
from forked import GUID, assert_balances, configure
from scale import SCALE, scaled
from small_disk import mounted
from storms import WAITING

from ave import spool
from ave.exceptions import SpoolFull
from ave.testing import wait_until
from etc.demo.servers import MAKERS
from tests.system import servers_mariadb
from tests.system.serving import started

pytestmark = pytest.mark.slow

#: MiB: what each of them needs to begin, and some more.
MIB = {"couchdb": 32, "mariadb": 256, "opensearch": 64}


@pytest.fixture
def disk(tmp_path, name):
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path, MIB[name]) as one:
        yield one


@pytest.mark.parametrize("name", MIB if SCALE >= 5 else ["mariadb", "opensearch"])
def test_a_server_whose_disk_fills_up_gets_everything_once_there_is_room(home, served, disk, name):
    server = started(MAKERS[name], disk.path / "server")
    url = server.store_url()
    everything_to(home, url)
    served.begin()
    with Emitting(home, pace_s=0.01, size=2000) as emitting:
        wait_until_stored(url, 10)
        for _ in range(scaled(10)):
            disk.fill()
            told = served.said().count(WAITING)
            wait_until(lambda told=told: served.said().count(WAITING) > told, 60, "the disk to be told full")
            emitting.wait_for(scaled(500))
            assert letters(home) == []
            disk.free()
            # as its operator does, for not every server goes on by itself
            server.stop()
            server.start()
            wait_until_stored(url, emitting.count)
    assert_all_comes_once(home, served, url, emitting.count)
    server.remove()


def test_a_spool_that_fills_up_while_the_server_is_away_refuses_in_order_and_all_is_accounted_for(home, served):
    server = servers_mariadb.start()
    url = server.url()
    everything_to(home, url)
    configure(home, "panotti", enabled=True, url=url, spool={"quota_bytes": scaled(20_000_000)})
    served.begin()
    emit(home, [0])
    wait_until_stored(url, 1)
    server.kill()
    tried = {"shout": 1, "verdict": 0}
    refused = 0
    while refused < scaled(1000):
        kind = "shout" if sum(tried.values()) % 50 else "verdict"
        tried[kind] += 1
        try:
            emit(home, [tried[kind]], kind=kind, size=2000)
        except SpoolFull:
            assert kind == "shout", "a verdict is kept as long as there is a reserve"
            refused += 1
    spool.close()
    server.start()
    wait_until(lambda: is_delivered(home), 120)
    served.drain()
    assert letters(home) == []
    rows = {row.kind: row for row in assert_balances(home, GUID).rows}
    assert (rows["shout"].emitted, rows["shout"].refused) == (tried["shout"], refused)
    assert (rows["verdict"].emitted, rows["verdict"].refused) == (tried["verdict"], 0)
    server.remove()
