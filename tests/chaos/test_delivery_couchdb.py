"""R6-R9, R13: a CouchDB-protocol server that dies, hangs, restarts and refuses: nothing lost, nothing twice."""

from __future__ import annotations

import pytest
from delivering import everything_to, numbers
from scale import SCALE, scaled
from storms import (
    POINTS,
    assert_deaths_are_survived,
    assert_refused_until_mended,
    assert_spoilt_cursors_are_harmless,
    assert_storm_is_survived,
    put_through_faults,
)

from ave.lab.stores import open_store
from ave.lab.stores.couchdb import client
from ave.record import KINDS, Query
from tests.system import servers_couchdb
from tests.system.proxy import Proxy

pytestmark = pytest.mark.slow

#: Seconds from record to record: pouchdb-server makes its views at some hundred documents a second.
PACE_S = 0.01 if SCALE < 5 else 0.02


@pytest.fixture
def server():
    one = servers_couchdb.start()
    yield one
    one.remove()


def test_couchdb_in_a_storm_gets_everything_once(home, served, server):
    url = servers_couchdb.url(server)
    everything_to(home, url)
    assert_storm_is_survived("couchdb", home, served, server, url, numbers, pace_s=PACE_S)


def test_couchdb_that_refuses_the_password_gets_everything_once_it_is_mended(home, served, server):
    url = servers_couchdb.url(server)
    everything_to(home, servers_couchdb.url(server, password="wrong"))

    def mend():
        everything_to(home, url)
        served.end()
        served.begin()

    assert_refused_until_mended(home, served, url, mend, numbers)


@pytest.mark.parametrize("point", POINTS)
def test_r6_ave_logd_may_die_at_every_point(home, logd, drain, point):
    assert_deaths_are_survived(point, home, logd, drain, servers_couchdb.fresh_url(), scaled(3000, least=1000))


def test_r7_cursors_before_couchdb_are_only_an_optimisation(home, served):
    assert_spoilt_cursors_are_harmless("couchdb", home, served, servers_couchdb.fresh_url(), pace_s=PACE_S)


def test_r8_ambiguous_answers_of_couchdb_are_harmless(server, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_S", 1.0)
    with Proxy(server.port) as proxy:
        url = servers_couchdb.url(server)
        store = open_store(url.replace(f":{server.port}/", f":{proxy.port}/"), "/nowhere", KINDS)
        count = put_through_faults(store, proxy, "couchdb", 1000, client_bytes=4000, server_bytes=3000)
        store.close()
        # the views are made now
        monkeypatch.undo()
        assert [one.body["n"] for one in store.find(Query())] == list(range(1, count + 1))
        store.close()
