"""R8, R9, R13: MariaDB that dies, hangs, restarts and refuses under ave-logd: nothing lost, nothing twice."""

from __future__ import annotations

import pytest
from delivering import Emitting, everything_to, numbers
from storms import assert_refused_until_mended, assert_storm_is_survived, put_through_faults

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

    def run(self):
        while not self._ending.wait(self._pace_s):
            row = {"n": self.count, "seconds": self.count / 7, "device": "yuga"}
            body = {"table": f"boots_{self.count % 3}", "row": row}
            spool.append("measurement", "20261122-nightly-17", body, source="test", home=str(self._home))
            self.count += 1

    monkeypatch.setattr(Emitting, "_run", run)


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
