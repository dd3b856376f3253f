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
    numbers,
    wait_until_stored,
)
from scale import dice, scaled
from storms import (
    POINTS,
    assert_deaths_are_survived,
    assert_refused_until_mended,
    assert_spoilt_cursors_are_harmless,
)

from ave import spool
from ave.testing import wait_until
from tests.system import servers_opensearch
from tests.system.gate import Gate

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

    def restart(emitting):
        node.stop()
        emitting.wait_for(scaled(500))
        node.start()
        node.wait_until_well()

    def kill_ave_logd(emitting):
        served.end(signal.SIGKILL)
        emitting.wait_for(scaled(200))
        served.begin()

    served.begin()
    with Emitting(home) as emitting:
        wait_until_stored(url, 50)
        faults = [stop, block, kill_ave_logd, kill, restart]
        for fault in [*faults, *random.choices(faults, k=scaled(20, least=2) - 2)]:
            fault(emitting)
            emitting.wait_for(scaled(300))
    assert_all_comes_once(home, served, url, emitting.count)
    assert "takes nothing, its records wait" in served.said()


@pytest.mark.parametrize("point", POINTS)
def test_r6_ave_logd_may_die_at_every_point(home, url, logd, drain, point):
    assert_deaths_are_survived(point, home, logd, drain, url, 3000)


def test_r7_cursors_before_opensearch_are_only_an_optimisation(home, served, url):
    assert_spoilt_cursors_are_harmless("opensearch", home, served, url)


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


def test_a_server_that_refuses_who_we_are_gets_everything_once_it_is_mended(home, served, url):
    """By way of a gate, for the server that Maven brings has no accounts."""
    with Gate(servers_opensearch.shared().port, "lab:right") as gate:
        everything_to(home, url.replace(f"127.0.0.1:{gate.to_port}", f"lab:wrong@127.0.0.1:{gate.port}"))

        def mend():
            gate.login = "lab:wrong"

        assert_refused_until_mended(home, served, url, mend, numbers)
