"""R10: several real servers under one ave-logd: one that is dead or hangs delays no other."""

from __future__ import annotations

import signal
import time

import pytest
from delivering import SOON_S, Emitting, emit, is_delivered, letters, numbers, wait_until_stored
from forked import GUID, assert_balances, configure, peak_mib
from scale import scaled

from ave import spool
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.testing import wait_until
from tests.system import servers_couchdb, servers_mariadb, servers_opensearch
from tests.system.proxy import Fault, Proxy
from tests.system.sink import Sink

pytestmark = pytest.mark.slow


def measured(url):
    """Return how many measurements of the run a server has."""
    store = open_store(url, "/nowhere", KINDS, readonly=True)
    try:
        return store.count(GUID).get("measurement", 0)
    finally:
        store.close()


#: Kinds that go to three different stores.
ALL = ("shout", "verdict", "measurement")


class EmittingAll(Emitting):
    """Emits records of one kind after the other."""

    def emit_one(self, n):
        emit(self._home, [n], kind=ALL[n % 3])


def arrived(sink):
    """Return the number in every record that went to Logstash."""
    return [event["body"]["n"] for event in list(sink.events) if "n" in event.get("body", {})]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_r10_a_server_that_is_dead_or_hangs_delays_no_other(home, served, number):
    mariadb = servers_mariadb.start()
    url, panotti = mariadb.url(), servers_couchdb.fresh_url()
    configure(home, "panotti", enabled=True, url=panotti)
    configure(home, "mysql", enabled=True, url=url)
    served.begin()
    emit(home, [0], kind="measurement")
    wait_until_stored(url, 1)
    if number == signal.SIGKILL:
        mariadb.kill()
    else:
        mariadb.send(number)
    total = scaled(5000)
    emit(home, range(total), kind="measurement")
    emit(home, range(total))
    wait_until_stored(panotti, total)
    assert not is_delivered(home), "the other's wait"
    assert letters(home) == []
    if number == signal.SIGKILL:
        mariadb.start()
    else:
        mariadb.send(signal.SIGCONT)
    spool.close()
    wait_until(lambda: is_delivered(home), SOON_S)
    served.drain()
    assert measured(url) == total + 1
    assert numbers(panotti) == list(range(total))
    assert letters(home) == []
    assert_balances(home)
    mariadb.remove()


def test_r10_four_that_are_dead_each_in_its_way_do_not_delay_the_fifth(home, served):
    couchdb, mariadb = servers_couchdb.start(), servers_mariadb.fresh_url()
    lab, panotti, total = home / "lab.db", couchdb.url(), scaled(20_000)
    with servers_opensearch.fresh() as url, Sink() as sink, Proxy(servers_opensearch.shared().port) as proxy:
        configure(home, "panotti", enabled=True, url=panotti)
        configure(home, "decibel", enabled=True, url=f"sqlite://{lab}")
        configure(home, "mysql", enabled=True, url=mariadb)
        configure(home, "elasticsearch", enabled=True, url=url.replace(f":{proxy.to_port}/", f":{proxy.port}/"))
        configure(home, "logstash", host="127.0.0.1", port=sink.port)
        couchdb.kill()
        lab.mkdir()
        proxy.fault, sink.mood = Fault(black_hole=True), "stall"
        served.begin()
        with EmittingAll(home, pace_s=0.001) as emitting:
            wait_until_stored(mariadb, 1)
            lags = []
            while emitting.count < total:
                said, began = emitting.count, time.monotonic()
                wait_until(lambda said=said: measured(mariadb) >= said // len(ALL), 20)
                lags.append(time.monotonic() - began)
        assert sorted(lags)[int(0.99 * len(lags))] <= 2.0
        assert peak_mib(served.pid) <= 150
        assert letters(home) == []
        couchdb.start()
        lab.rmdir()
        proxy.heal()
        sink.mood = "well"
        wait_until(lambda: is_delivered(home), SOON_S)
        served.drain()
        each = list(range(emitting.count))
        assert numbers(url) == each
        assert sorted(set(arrived(sink))) == each
        assert numbers(panotti) == [n for n in each if ALL[n % 3] == "shout"]
        assert numbers(f"sqlite://{lab}") == [n for n in each if ALL[n % 3] == "verdict"]
        assert measured(mariadb) == len([n for n in each if ALL[n % 3] == "measurement"])
        assert letters(home) == []
        assert_balances(home)
    couchdb.remove()
