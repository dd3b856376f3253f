"""R12: fifty ave-logd before one server that was away: they come back one by one, and none asks more than its share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from delivering import SOON_S, emit, everything_to, is_delivered, letters, numbers
from forked import assert_balances, configure
from scale import SCALE, scaled

from ave import spool
from ave.lab import config
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.testing import wait_until
from tests.lab.stores.samples import record
from tests.system import servers_couchdb, servers_mariadb, servers_opensearch
from tests.system.gate import Gate
from tests.system.proxy import Fault, Proxy

pytestmark = pytest.mark.slow

CROWD = Path(__file__).with_name("crowd.py")
ROOT = str(Path(__file__).parents[2])

#: As many as the promise names, whatever the scale: with fewer, chance alone makes peaks.
HOSTS = 50

#: Seconds of the longest pause; in a lab it is a minute.
RETRY_MAX_S = 2

#: Seconds: the length of what is called a moment here.
BUCKET_S = 0.1

#: What ave-logd may use of memory, as R10 has it.
PEAK_MIB = 150


class Host:
    """A home with records that wait, and the way from it to the server, which is the host's own."""

    def __init__(self, home, to_port):
        self.home = home
        self.guid = f"run-of-{home.name}"
        self.proxy = Proxy(to_port)

    def configure(self, url, port, **logd):
        self.home.mkdir()
        config.bootstrap(str(self.home))
        configure(self.home, "logd", retry_max_s=RETRY_MAX_S, **logd)
        everything_to(self.home, url.replace(f":{port}", f":{self.proxy.port}"))

    def is_waiting(self):
        log = self.home / "logd.log"
        return log.exists() and "takes nothing, its records wait" in log.read_text()


@pytest.fixture
def crowd(home):
    """Make so many hosts whose ave-logd run at once; returns them, and what ends those."""
    with ExitStack() as stack:

        def begin(url, port, records, to_port=0, **logd):
            hosts = [Host(home / f"host-{number}", to_port or port) for number in range(HOSTS)]
            for host in hosts:
                stack.enter_context(host.proxy)
                host.proxy.fault = Fault(refuse=True)
                host.configure(url, port, **logd)
                emit(host.home, range(records), guid=host.guid)
            spool.close()
            command = [sys.executable, str(CROWD), *(str(host.home) for host in hosts)]
            environment = {**os.environ, "PYTHONPATH": ROOT}
            running = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(running.communicate)

            def end():
                said, _ = running.communicate()
                return json.loads(said)

            return hosts, end

        yield begin


def in_buckets(times, begin):
    """Count the times of each bucket behind `begin`, those without any included."""
    counts = Counter(int((at - begin) / BUCKET_S) for at in times if at >= begin)
    return [counts[number] for number in range(max(counts) + 1)]


def let_time_pass(seconds):
    """Wait: what is looked at is what happens in so much time."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 10)


def put_one(url):
    """Let a server have a record already."""
    store = open_store(url, "/nowhere", KINDS)
    assert store.put([record(guid="a-run-before", time=time.time_ns())]) == []
    store.close()


SERVERS = {"couchdb": servers_couchdb, "mariadb": servers_mariadb, "opensearch": servers_opensearch}


#: Connections that may be tried after a pause; the library `couchdb` tries a second one when the first is broken.
ATTEMPTS = {"couchdb": 2}


@pytest.mark.parametrize("name", SERVERS if SCALE >= 5 else ["couchdb"])
def test_r12_fifty_that_waited_for_a_server_come_back_without_a_storm(home, crowd, name):
    server = SERVERS[name].start()
    url, total = server.store_url(), scaled(500, least=75)
    put_one(url)  # it has been there before: its tables are made
    server.kill()
    # small batches, so that there are enough of them to tell a rate by
    hosts, end = crowd(url, server.port, total, batch_records=5)
    wait_until(lambda: all(host.is_waiting() for host in hosts), 60)
    let_time_pass(2 * RETRY_MAX_S)  # until the pauses are as long as they get
    gone, away_s = time.monotonic(), scaled(20, least=4)
    let_time_pass(away_s)
    server.start()
    back = time.monotonic()
    for host in hosts:
        host.proxy.fault = Fault(latency_s=0.15)  # a server that is not next door
    for host in hosts:
        wait_until(lambda host=host: is_delivered(host.home), SOON_S)
    assert_few_ask_at_a_time(hosts, gone, away_s, ATTEMPTS.get(name, 1))
    if name != "mariadb":  # before that one they stand in line, for each looks at the tables alone first
        assert_no_moment_has_twice_its_share(hosts, back)
    for code, peak_mib in end():
        assert code == 0
        assert peak_mib <= PEAK_MIB
    for host in hosts:
        assert numbers(url, host.guid) == list(range(total))
        assert letters(host.home) == []
        assert_balances(host.home, host.guid)
    server.remove()


def assert_few_ask_at_a_time(hosts, gone, away_s, most):
    """Assert that no more than chance explains ask at a time while the server is away, `most` times after a pause."""
    away = in_buckets([at for host in hosts for at in host.proxy.came if at < gone + away_s], gone)
    expected = HOSTS * away_s / (RETRY_MAX_S / 2)
    print(f"away {away_s} s: {sum(away)} attempts, {max(away)} in a moment at most")
    assert 0.5 * expected <= sum(away) <= 1.3 * expected * most
    assert max(away) <= HOSTS / 2


def assert_no_moment_has_twice_its_share(hosts, back):
    """Assert that the requests after the return are spread over the time that they take, but for the first moment."""
    first, *after = in_buckets([at for host in hosts for at in host.proxy.asked], back)
    mean = sum(after) / len(after)
    print(f"back {len(after) * BUCKET_S:g} s: {first} at once, {mean:.1f} in a moment, {max(after)} at most")
    assert first <= HOSTS / 2
    assert max(after) <= 2 * mean, (mean, after)


def test_r12_fifty_that_are_told_to_come_later_come_no_earlier(home, crowd):
    with servers_opensearch.fresh() as url, Gate(servers_opensearch.shared().port) as gate:
        gate.answer = lambda: (429, {"Retry-After": str(RETRY_MAX_S)}, b'{"error": "busy"}')
        port, total = servers_opensearch.shared().port, scaled(1000)
        hosts, end = crowd(url, port, total, to_port=gate.port)
        for host in hosts:
            host.proxy.heal()
        wait_until(lambda: all(len(host.proxy.asked) >= 2 + scaled(10) for host in hosts), 90)
        gate.answer = None
        for host in hosts:
            wait_until(lambda host=host: is_delivered(host.home), SOON_S)
        for host in hosts:
            told = host.proxy.asked[: 2 + scaled(10)]
            assert min(later - earlier for earlier, later in pairwise(told)) > RETRY_MAX_S - 0.2
            assert numbers(url, host.guid) == list(range(total))
            assert letters(host.home) == []
            assert_balances(host.home, host.guid)
        assert {code for code, _ in end()} == {0}
