"""R8: answers that are lost, cut, late or never come, in front of a real OpenSearch: harmless, all of them."""

from __future__ import annotations

import pytest
from delivering import Emitting, assert_all_comes_once, everything_to, wait_until_stored
from scale import dice, scaled

from ave.exceptions import StoreUnavailable
from ave.lab.stores import open_store
from ave.lab.stores.elasticsearch import wire
from ave.record import KINDS, Query
from tests.lab.stores.samples import record
from tests.system import servers_opensearch
from tests.system.proxy import CLIENT, SERVER, Fault, Proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def url():
    with servers_opensearch.fresh() as one:
        yield one


@pytest.fixture
def proxy():
    with Proxy(servers_opensearch.shared().port) as one:
        yield one


def through(proxy, url):
    """Return the URL by way of the proxy."""
    return url.replace(f":{servers_opensearch.shared().port}/", f":{proxy.port}/")


def a_fault(random):
    """Return a fault that ends a connection, anywhere in an exchange of a small batch."""
    way = random.choice(["reset_after", "cut_after", "half_close_after"])
    side, most = random.choice([(CLIENT, 1500), (SERVER, 6000)])
    return Fault(to=side, **{way: random.randrange(most)})


def test_r8_ambiguous_answers_lose_nothing_and_store_nothing_twice(url, proxy, monkeypatch):
    patience = wire.PIECE_S
    monkeypatch.setattr(wire, "PIECE_S", 0.5)
    random = dice("R8 opensearch")
    store = open_store(through(proxy, url), "/nowhere", KINDS)
    seq, ambiguous, failures = 0, 0, 0
    while ambiguous < scaled(2000):
        batch = [record(seq + n, body={"n": seq + n}) for n in range(1, 11)]
        seq += len(batch)
        proxy.fault, proxy.times = a_fault(random), random.choice([1, 1, 1, 2])
        happened = proxy.happened
        while True:
            try:
                assert store.put(batch) == []
                break
            except StoreUnavailable:
                failures += 1
        ambiguous += proxy.happened - happened
    proxy.heal()
    monkeypatch.setattr(wire, "PIECE_S", patience)
    assert failures > scaled(500)
    assert [one.body["n"] for one in store.find(Query())] == list(range(1, seq + 1))
    store.close()


def test_a_network_that_does_everything_to_ave_logd_loses_nothing(home, served, url, proxy):
    random = dice("proxy")
    everything_to(home, through(proxy, url))
    faults = [
        lambda: Fault(latency_s=0.05),
        lambda: Fault(bytes_per_s=20_000, to=SERVER),
        lambda: Fault(bytes_per_s=2000),
        lambda: Fault(black_hole=True),
        lambda: Fault(refuse=True, reset_after=0),
        lambda: Fault(reset_after=random.randrange(3000)),
        lambda: Fault(cut_after=random.randrange(3000)),
        lambda: Fault(half_close_after=random.randrange(3000)),
        lambda: Fault(reset_after=random.randrange(60_000), to=SERVER),
    ]
    served.begin()
    with Emitting(home) as emitting:
        wait_until_stored(url, 10)
        for fault in [*faults, *random.choices(faults, k=scaled(60) - 6)]:
            proxy.fault = fault()
            emitting.wait_for(scaled(2000))
            proxy.heal()
            emitting.wait_for(scaled(500))
    assert_all_comes_once(home, served, url, emitting.count)
