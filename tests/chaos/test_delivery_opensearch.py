"""Delivery into real OpenSearch nodes that are killed, stopped, blocked and lost: nothing lost, nothing twice."""

from __future__ import annotations

import signal
import threading

import pytest
import requests
from delivering import (
    SOON_S,
    Emitting,
    assert_all_comes_once,
    assert_delivered_once,
    count,
    emit,
    everything_to,
    is_delivered,
    letters,
    wait_until_stored,
)
from forked import at_point, points
from scale import SCALE, dice, scaled

from ave import spool
from ave.testing import wait_until
from tests.system import servers_opensearch

pytestmark = pytest.mark.slow


@pytest.fixture
def url():
    with servers_opensearch.fresh() as one:
        yield one


def test_a_server_that_is_killed_stopped_and_blocked_gets_everything_once(home, served, url):
    random = dice("opensearch")
    node = servers_opensearch.shared()
    everything_to(home, url)

    def kill(emitting):
        node.kill()
        emitting.wait_for(scaled(500))
        node.start()
        node.wait_until_well()

    def stop(emitting):
        node.send(signal.SIGSTOP)
        emitting.wait_for(scaled(2000))
        node.send(signal.SIGCONT)

    def block(emitting):
        path = f"{node.url}/{url.rpartition('/')[2].partition('?')[0]}-*/_settings"
        blocks = "index.blocks.read_only_allow_delete"  # what a server does when its disk is full
        requests.put(path, json={blocks: True}, timeout=30).raise_for_status()
        emitting.wait_for(scaled(1000))
        requests.put(path, json={blocks: None}, timeout=30).raise_for_status()

    def kill_ave_logd(emitting):
        served.end(signal.SIGKILL)
        emitting.wait_for(scaled(200))
        served.begin()

    served.begin()
    with Emitting(home) as emitting:
        wait_until_stored(url, 50)
        faults = [stop, block, kill_ave_logd, kill]
        for fault in [*faults, *random.choices(faults, k=scaled(20) - 2)]:
            fault(emitting)
            emitting.wait_for(scaled(300))
    assert_all_comes_once(home, served, url, emitting.count)
    assert "takes nothing, its records wait" in served.said()


#: In make test, those that the store has to do with.
POINTS = points() if SCALE >= 5 else ["batch-read", "batch-stored", "cursor-moved", "cursor-synced"]


@pytest.mark.parametrize("point", POINTS)
def test_r6_ave_logd_may_die_at_every_point(home, url, logd, drain, point):
    everything_to(home, url)
    emit(home, range(3000))
    spool.close()
    for reached in range(1, 2 + scaled(4)):
        first = logd("--once", fault=at_point(point, reached))
        assert first.wait() in {-signal.SIGKILL, 0}, first.said()
    drain()
    assert_delivered_once(home, url, 3000)


def primary_of(nodes):
    """Return the node that holds the first copy of our index."""
    rows = requests.get(f"{nodes[0].url}/_cat/shards/ave-*?format=json", timeout=30).json()
    [name] = [row["node"] for row in rows if row["prirep"] == "p"]
    return next(node for node in nodes if node.name == name)


def test_one_node_of_three_is_lost_in_the_middle_and_no_record_with_it(home, served):
    total = scaled(300_000)
    with servers_opensearch.cluster(3) as nodes:
        # the first that is asked is not the one that is lost, and the other way round
        url = "elasticsearch://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        everything_to(home, url)
        emit(home, range(100))
        served.begin()
        wait_until_stored(url, 100)
        nodes[0].wait_until_well(3)  # the second copy is there
        lost = primary_of(nodes)
        rest = [node for node in nodes if node is not lost]
        emitting = threading.Thread(target=emit, args=(home, range(100, total)))
        emitting.start()
        wait_until_stored(url, total // 5)
        assert count(url) < total, "it is in the middle"
        lost.kill()
        emitting.join()
        spool.close()
        wait_until(lambda: is_delivered(home), 2 * SOON_S)
        served.drain()
        left = "elasticsearch://" + ",".join(f"127.0.0.1:{node.port}" for node in rest)
        assert_delivered_once(home, left, total)


def test_a_server_that_refuses_who_we_are_holds_the_queue_and_buries_nothing(home, served):
    """The whole run long; a fake, for the server that Maven brings has no accounts."""
    from tests.lab.stores.fake_elasticsearch import Fake, serving

    fake = Fake()
    fake.answer = lambda *_asked: (401, {}, b'{"error": {"type": "security_exception", "reason": "who?"}}')
    with serving(fake):
        everything_to(home, f"elasticsearch://lab:wrong@127.0.0.1:{fake.port}")
        served.begin()
        emit(home, range(scaled(5000)))
        spool.close()
        wait_until(lambda: len(fake.requests) > 5, 30)
        assert letters(home) == []
        assert not is_delivered(home)
        assert "mend user, password" in served.said()
        fake.answer = lambda *_asked: None
        wait_until(lambda: is_delivered(home), SOON_S)
        [kept] = fake.documents.values()
        shouts = [source for source in kept.values() if "n" in source.get("body", {})]
        assert sorted(source["body"]["n"] for source in shouts) == list(range(scaled(5000)))
        assert letters(home) == []
