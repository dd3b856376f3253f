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
from types import SimpleNamespace

import pytest
from delivering import SOON_S, emit, everything_to, is_delivered, letters, numbers, wait_until_stored
from forked import assert_balances, configure
from scale import SCALE, scaled
from storms import WAITING

from ave import spool
from ave.lab import config
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.testing import wait_until
from tests.lab.stores.fake_elasticsearch import Fake, serving
from tests.lab.stores.samples import record
from tests.system import servers_couchdb, servers_mariadb, servers_opensearch
from tests.system.gate import Gate
from tests.system.proxy import SERVER, Fault, Proxy

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


#: A server that is not next door, and one that is gone: nobody is let through, nor goes on.
SLOW = Fault(latency_s=0.1)
AWAY = Fault(to=SERVER, refuse=True, reset_after=0)


class Host:
    """A home, and a way from it to the server that is its own."""

    def __init__(self, home, to_port):
        self.home = home
        self.guid = f"run-of-{home.name}"
        self.proxy = Proxy(to_port)
        self._known = 0

    def configure(self, url, port, **logd):
        self.home.mkdir()
        config.bootstrap(str(self.home))
        configure(self.home, "logd", retry_max_s=RETRY_MAX_S, **logd)
        everything_to(self.home, url.replace(f":{port}", f":{self.proxy.port}"))

    def forget(self):
        """Forget what was said and done so far."""
        self.proxy.came.clear()
        self.proxy.asked.clear()
        log = self.home / "logd.log"
        self._known = log.stat().st_size if log.exists() else 0

    def is_waiting(self):
        log = self.home / "logd.log"
        return log.exists() and WAITING in log.read_text()[self._known :]


@pytest.fixture
def crowd(home):
    """Make so many hosts whose ave-logd run at once; returns them, and what ends those."""
    with ExitStack() as stack:

        def begin(url, port, to_port=0, **logd):
            hosts = [Host(home / f"host-{number}", to_port or port) for number in range(HOSTS)]
            for host in hosts:
                stack.enter_context(host.proxy)
                host.proxy.fault = SLOW
                host.configure(url, port, **logd)
            command = [sys.executable, str(CROWD), *(str(host.home) for host in hosts)]
            environment = {**os.environ, "PYTHONPATH": ROOT}
            running = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(running.communicate)
            # all at once, before the first of them is waited for
            stack.callback(lambda: [host.proxy.end() for host in hosts])

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


def place_of(doc):
    """Return the place of a document in the order of a search."""
    return [doc["ave"]["time"], doc["ave"]["order"]]


class Smooth(Fake):
    """A server that takes the same time for everything, so that all peaks are those of who asks."""

    request_queue_size = 128

    def __init__(self):
        super().__init__()
        self._serving = serving(self)
        self._serving.__enter__()

    def store_url(self):
        return f"elasticsearch://127.0.0.1:{self.port}"

    def usual(self, method, path, body):
        """Answer a search with the documents of its run alone, those behind where it was."""
        if "/_search" not in path:
            return super().usual(method, path, body)
        behind = json.loads(body).get("search_after", [])
        whole = [doc for kept in list(self.documents.values()) for doc in list(kept.values())]
        runs = {guid for guid in {doc["guid"] for doc in whole} if f'"{guid}"'.encode() in body}
        found = [doc for doc in whole if doc["guid"] in runs and place_of(doc) > behind]
        return 200, Fake._search(SimpleNamespace(documents={"all": dict(enumerate(found))}))

    def kill(self):
        """Do nothing: the ways to it are shut."""

    start = kill

    def remove(self):
        self._serving.__exit__(None, None, None)


SERVERS = {
    "smooth": Smooth,
    "couchdb": servers_couchdb.start,
    "mariadb": servers_mariadb.start,
    "opensearch": servers_opensearch.start,
}


#: Outages, if need be: a busy machine makes peaks now and then, a storm makes one each time.
ROUNDS = 3


@pytest.mark.parametrize("name", SERVERS if SCALE >= 5 else ["smooth"])
def test_r12_fifty_that_waited_for_a_server_come_back_without_a_storm(home, crowd, name):
    server = SERVERS[name]()
    url, total = server.store_url(), scaled(500, least=200)
    put_one(url)  # it has been there before: its tables are made
    # small batches, so that there are enough of them to tell a rate by
    hosts, end = crowd(url, server.port, batch_records=5)
    for turn in range(ROUNDS):
        away_s, came, asked = an_outage(server, hosts, range(turn * total, (turn + 1) * total))
        assert_few_ask_at_a_time(came, away_s)
        # a real server stalls now and then, and all who wait get their answers, and ask, at once
        if name != "smooth" or no_moment_has_twice_its_share(asked):
            break
    else:
        pytest.fail("there was a storm each time")
    for code, peak_mib in end():
        assert code == 0
        assert peak_mib <= PEAK_MIB
    # CouchDB makes its views when it is asked, which may take longer than a client waits
    wait_until_stored(url, (turn + 1) * total, hosts[0].guid)
    for host in hosts:
        assert numbers(url, host.guid) == list(range((turn + 1) * total))
        assert letters(host.home) == []
        assert_balances(host.home, host.guid)
    server.remove()


def an_outage(server, hosts, records):
    """Let a server be away, and all hosts have something for it when it is back.

    Returns for how many seconds it was looked at while away, the attempts in each moment of that, and the requests in
    each moment from its return until all was delivered.
    """
    for host in hosts:
        host.forget()
        host.proxy.fault = SLOW
        emit(host.home, records, guid=host.guid)
    spool.close()
    # it goes when all are busy, so that all miss it at the same moment
    wait_until(lambda: all(host.proxy.asked for host in hosts), 60)
    for host in hosts:
        host.proxy.fault = AWAY
    server.kill()
    wait_until(lambda: all(host.is_waiting() for host in hosts), 60)
    let_time_pass(2 * RETRY_MAX_S)  # until the pauses are as long as they get
    gone, away_s = time.monotonic(), scaled(20, least=4)
    let_time_pass(away_s)
    server.start()
    back = time.monotonic()
    for host in hosts:
        host.proxy.asked.clear()
        host.proxy.fault = SLOW
    for host in hosts:
        wait_until(lambda host=host: is_delivered(host.home), SOON_S)
        host.proxy.heal()
    came = [at for host in hosts for at in host.proxy.came if at < gone + away_s]
    return away_s, in_buckets(came, gone), in_buckets([at for host in hosts for at in host.proxy.asked], back)


def assert_few_ask_at_a_time(came, away_s):
    """Assert that no more than chance explains ask at a time while the server is away, each once after a pause."""
    expected = HOSTS * away_s / (RETRY_MAX_S / 2)
    print(f"away {away_s} s: {sum(came)} attempts, {max(came)} in a moment at most")
    assert 0.7 * expected <= sum(came) <= 1.3 * expected
    # five on average: nineteen are there by chance in one of a million moments
    assert max(came) <= 18


def no_moment_has_twice_its_share(asked):
    """Tell whether the requests after the return are spread over the time that they take, but for the first moment."""
    first, *after = asked
    mean = sum(after) / len(after)
    print(f"back {len(after) * BUCKET_S:g} s: {first} at once, {mean:.1f} in a moment, {max(after)} at most: {after}")
    assert first <= HOSTS / 2
    return max(after) <= 2 * mean


def test_r12_fifty_that_are_told_to_come_later_come_no_earlier(home, crowd):
    server = SERVERS["opensearch" if SCALE >= 5 else "smooth"]()
    url, total = server.store_url(), scaled(1000)
    with Gate(server.port) as gate:
        gate.answer = lambda: (429, {"Retry-After": str(RETRY_MAX_S)}, b'{"error": "busy"}')
        hosts, end = crowd(url, server.port, to_port=gate.port)
        for host in hosts:
            emit(host.home, range(total), guid=host.guid)
            host.proxy.heal()
        spool.close()
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
    server.remove()
