"""R6-R9, R13: MariaDB that dies, hangs, restarts and refuses under ave-logd: nothing lost, nothing twice."""

from __future__ import annotations

import pytest
from delivering import Emitting, everything_to, numbers
from forked import GUID
from storms import (
    POINTS,
    assert_deaths_are_survived,
    assert_refused_until_mended,
    assert_spoilt_cursors_are_harmless,
    assert_storm_is_survived,
    put_through_faults,
)

from ave import spool
from ave.lab.stores import open_store
from ave.record import KINDS, Query
from ave.report import oursql
from tests.system import servers_mariadb
from tests.system.proxy import Proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def server():
    one = servers_mariadb.start()
    yield one
    one.remove()


@pytest.fixture
def measuring(monkeypatch):
    """Let jobs emit rows of three tables instead of shouts."""

    def emit_one(self, n):
        body = {"table": f"boots_{n % 3}", "row": {"n": n, "seconds": n / 7, "device": "yuga"}}
        spool.append("measurement", GUID, body, source="test", home=str(self._home))

    monkeypatch.setattr(Emitting, "emit_one", emit_one)


def rows(url):
    store = open_store(url, "/nowhere", KINDS, readonly=True)
    try:
        return sorted(one.body["row"]["n"] for one in store.find(Query(kinds=["measurement"])))
    finally:
        store.close()


def test_mariadb_in_a_storm_gets_every_row_once(home, served, server, measuring):
    url = servers_mariadb.url(server)
    everything_to(home, url)
    assert_storm_is_survived("mariadb", home, served, server, url, rows)
    counted = server.execute("USE ave", "SELECT COUNT(*), COUNT(DISTINCT ave_id) FROM boots_1")[0]
    assert counted[0] == counted[1] > 0


def test_mariadb_that_refuses_the_password_gets_everything_once_it_is_mended(home, served, server):
    url = servers_mariadb.url(server)
    everything_to(home, url)
    user = f"ALTER USER {servers_mariadb.USER}@'127.0.0.1' IDENTIFIED BY "
    server.execute(user + "'another'")
    password = servers_mariadb.PASSWORD.replace("'", "''")
    assert_refused_until_mended(home, served, url, lambda: server.execute(user + f"'{password}'"), numbers)


@pytest.mark.parametrize("point", POINTS)
def test_r6_ave_logd_may_die_at_every_point(home, logd, drain, point):
    assert_deaths_are_survived(point, home, logd, drain, servers_mariadb.fresh_url(), 3000)


def test_r7_cursors_before_mariadb_are_only_an_optimisation(home, served):
    assert_spoilt_cursors_are_harmless("mariadb", home, served, servers_mariadb.fresh_url())


def test_r8_ambiguous_answers_of_mariadb_are_harmless(server, monkeypatch):
    monkeypatch.setattr(oursql, "TIMEOUT_S", 1)
    monkeypatch.setattr(oursql, "CONNECT_S", 1)
    with Proxy(server.port) as proxy:
        url = servers_mariadb.url(server)
        open_store(url, "/nowhere", KINDS).put([])
        store = open_store(url.replace(f":{server.port}/", f":{proxy.port}/"), "/nowhere", KINDS)
        count = put_through_faults(store, proxy, "mariadb", 1000, client_bytes=5000, server_bytes=6000)
        assert [one.body["n"] for one in store.find(Query())] == list(range(1, count + 1))
        store.close()
