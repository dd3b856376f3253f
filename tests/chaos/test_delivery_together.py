"""R10, R12: several real servers under one ave-logd, and many ave-logd before one server."""

from __future__ import annotations

import signal

import pytest
from delivering import SOON_S, Logd, emit, everything_to, is_delivered, letters, numbers, wait_until_stored
from forked import GUID, assert_balances, configure
from scale import scaled

from ave import spool
from ave.lab import config
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.testing import wait_until
from tests.system import servers_couchdb, servers_mariadb

pytestmark = pytest.mark.slow


def measured(url):
    """Return how many measurements of the run a server has."""
    store = open_store(url, "/nowhere", KINDS, readonly=True)
    try:
        return store.count(GUID).get("measurement", 0)
    finally:
        store.close()


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


def test_r12_many_ave_logd_that_wait_for_one_couchdb_bring_everything_once(home):
    server = servers_couchdb.start()
    url, total = server.url(), scaled(1000)
    hosts = [home / f"host-{number}" for number in range(max(10, scaled(50)))]
    server.kill()
    running = []
    try:
        for host in hosts:
            host.mkdir()
            config.bootstrap(str(host))
            configure(host, "logd", retry_max_s=1)
            everything_to(host, url)
            emit(host, range(total), guid=f"run-of-{host.name}")
            running.append(Logd(host, host))
            running[-1].begin()
        spool.close()
        for logd in running:
            wait_until(lambda logd=logd: "takes nothing, its records wait" in logd.said(), 60)
        server.start()
        for host, logd in zip(hosts, running, strict=True):
            wait_until(lambda host=host: is_delivered(host), SOON_S)
            logd.end()
            assert numbers(url, f"run-of-{host.name}") == list(range(total))
            assert letters(host) == []
            assert_balances(host, f"run-of-{host.name}")
    finally:
        for logd in running:
            logd.end(signal.SIGKILL)
        server.remove()
