"""Logstash that stalls, resets and vanishes: best effort means that all comes, some of it twice, and nobody waits."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from delivering import Emitting, emit, is_delivered, letters, numbers
from forked import DATABASE, assert_balances, configure
from scale import dice, scaled
from storms import POINTS

from ave import spool
from ave.testing import wait_until
from tests.system.proxy import Fault, Proxy
from tests.system.sink import Sink

pytestmark = pytest.mark.slow

#: Records that may be there twice after each fault: those of one batch.
BATCH = 1000


def arrived(sink):
    return Counter(event["body"]["n"] for event in list(sink.events) if event["kind"] == "shout")


def embedded(home):
    return f"sqlite://{home}/{DATABASE}"


@pytest.fixture
def sink(home, served):
    """A sink beside the embedded store; ave-logd runs."""
    with Sink() as one:
        configure(home, "logstash", host="127.0.0.1", port=one.port)
        served.begin()
        yield one


def test_whatever_it_does_all_comes_and_the_other_store_does_not_notice(home, served, sink):
    random = dice("logstash")

    def stall():
        sink.mood = "stall"

    def reset():
        sink.bytes_first, sink.mood = random.randrange(20_000), "reset"

    def close():
        sink.bytes_first, sink.mood = random.randrange(20_000), "close"

    moods = [stall, reset, close, sink.vanish]
    faults = [*moods, *random.choices(moods, k=scaled(40))]
    with Emitting(home, pace_s=0.001) as emitting:
        for fault in faults:
            fault()
            emitting.wait_for(scaled(2000))
            wait_until(lambda wanted=emitting.count: len(numbers(embedded(home))) >= wanted, 10)
            if fault == sink.vanish:
                sink.come_back()
            sink.mood = "well"
            emitting.wait_for(scaled(500))
    wanted = set(range(emitting.count))
    wait_until(lambda: arrived(sink).keys() >= wanted, 120, "all to arrive")
    wait_until(lambda: is_delivered(home), 60)
    twice = sum(arrived(sink).values()) - len(wanted)
    assert twice <= BATCH * len(faults), "a batch of each fault at most"
    served.drain()
    assert numbers(embedded(home)) == sorted(wanted)
    assert letters(home) == []
    assert_balances(home)


def test_events_keep_their_order_where_nothing_goes_wrong(home, served, sink):
    total = scaled(50_000)
    emit(home, range(total))
    spool.close()
    wait_until(lambda: is_delivered(home), 60)
    assert [event["body"]["n"] for event in sink.events if event["kind"] == "shout"] == list(range(total))
    assert len({event["id"] for event in sink.events}) == len(sink.events)
    assert_balances(home)


@pytest.mark.parametrize("fault", [Fault(reset_after=3000, to="server"), Fault(cut_after=3000, to="server")], ids=str)
def test_what_a_network_breaks_on_the_way_is_sent_again(home, served, fault):
    total = scaled(10_000)
    with Sink() as sink, Proxy(sink.port) as proxy:
        proxy.fault, proxy.times = fault, scaled(50)
        configure(home, "logstash", host="127.0.0.1", port=proxy.port)
        emit(home, range(total))
        spool.close()
        served.begin()
        wait_until(lambda: is_delivered(home), 120)
        assert proxy.happened == scaled(50)
        assert arrived(sink).keys() == set(range(total))
        assert_balances(home)


@pytest.mark.parametrize("point", POINTS)
def test_r6_ave_logd_may_die_at_every_point_and_all_arrives(home, served, point):
    total, deaths = scaled(20_000), 1 + scaled(4)
    with Sink() as sink:
        configure(home, "logstash", host="127.0.0.1", port=sink.port)
        emit(home, range(total))
        spool.close()
        for reached in range(1, 1 + deaths):
            served.begin("--once", dies=(point, reached))
            assert served.wait() in {-signal.SIGKILL, 0}
        served.drain()
        wait_until(lambda: arrived(sink).keys() == set(range(total)), 60)
        assert sum(arrived(sink).values()) <= total + BATCH * deaths
        assert numbers(embedded(home)) == list(range(total))
        assert letters(home) == []
        assert_balances(home)
