"""R13, R14: two ave-logd on one spool, and segments that vanish or become others while they are read."""

from __future__ import annotations

import os
import signal

import pytest
from delivering import Emitting, Logd, assert_all_comes_once, everything_to, letters, wait_until_stored
from forked import GUID, configure, segments
from scale import SCALE, dice, scaled

from ave import home as homes
from ave.lab.audit import audit
from ave.lab.stores import open_store
from ave.record import KINDS, Query, segment_of, seq_of
from ave.spool import reader
from ave.testing import wait_until
from tests.lab.logd.segments import footer, header, name, record, write
from tests.system import servers_mariadb
from tests.system.proxy import Fault, Proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def url():
    return servers_mariadb.fresh_url()


# Two ave-logd


@pytest.fixture
def others(home, tmp_path):
    """Begin more ave-logd for the home; whatever runs in the end is killed."""
    made = []

    def begin(*arguments):
        directory = tmp_path / f"other-{len(made)}"
        directory.mkdir()
        made.append(Logd(home, directory))
        made[-1].begin(*arguments)
        return made[-1]

    yield begin
    for one in made:
        one.end(signal.SIGKILL)


def test_a_second_ave_logd_refuses_and_does_no_harm(home, served, url, others):
    everything_to(home, url)
    served.begin()
    with Emitting(home) as emitting:
        wait_until_stored(url, 10)
        for number in range(scaled(50)):
            second = others(*([], ["--once"])[number % 2])
            assert second.wait() == 1
            assert f"another ave-logd serves {home} already (pid {served.pid}); stop that one first" in second.said()
            wait_until_stored(url, emitting.count)
    assert_all_comes_once(home, served, url, emitting.count)


def test_of_many_that_begin_when_one_was_killed_one_serves(home, served, url, others):
    everything_to(home, url)
    served.begin()
    with Emitting(home) as emitting:
        serving = served
        for _ in range(scaled(20)):
            wait_until_stored(url, emitting.count + 10)
            serving.end(signal.SIGKILL)
            several = [others() for _ in range(5)]
            wait_until(lambda several=several: sum(one.is_running for one in several) == 1, 60, "one to be left")
            [serving] = [one for one in several if one.is_running]
            several.remove(serving)
            assert [one.wait() for one in several] == [1] * 4
            assert all("another ave-logd serves" in one.said() for one in several)
        wait_until_stored(url, emitting.count + 10)
    serving.end()
    served.begin()
    assert_all_comes_once(home, served, url, emitting.count)


# Segments that are taken away or exchanged

#: Records of a segment, and the number of one that is not there.
RECORDS, OTHER = 30, 9999


def contents(number):
    of = name(number)
    return [header(), *(record(seq, of=of) for seq in range(1, RECORDS + 1)), footer(RECORDS)]


def is_removed(path, _random):
    os.unlink(path)


def is_emptied(path, _random):
    exchange(path, b"")


def is_noise(path, random):
    exchange(path, random.randbytes(random.choice([100, 10_000])))


def is_cut(path, random):
    content = content_of(path)
    exchange(path, content[: random.randrange(len(content))])


def is_copied(path, _random):
    exchange(path, content_of(path))


def is_longer(path, _random):
    exchange(path, content_of(path) + record(RECORDS + 1, guid="not-to-be-taken", of=os.path.basename(path)[:26]))


def is_anothers(path, _random):
    exchange(path, b"".join(contents(OTHER)))


def numbers(gaps):
    """Return the numbers that `gap` records or gaps of an audit name, with their segments."""
    return {(gap["segment"], seq) for gap in gaps for seq in range(gap["first"], gap["last"] + 1)}


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


def exchange(path, content):
    """Let the name lead to another file, all at once."""
    with open(f"{path}.other", "wb") as file:
        file.write(content)
    os.rename(f"{path}.other", path)


DEEDS = [is_removed, is_noise, is_cut, is_longer]
if SCALE >= 5:
    DEEDS += [is_emptied, is_copied, is_anothers]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_a_segment_that_is_taken_or_exchanged_under_the_reader_costs_no_other_and_is_missed(home, served, url, deed):
    random = dice(f"replaced {deed.__name__}")
    spool = homes.ave(str(home), "spool")
    count = scaled(300)
    for number in range(count):
        write(spool, number, *contents(number))
    with Proxy(servers_mariadb.shared().port) as proxy:
        everything_to(home, url.replace(f":{proxy.to_port}/", f":{proxy.port}/"))
        configure(home, "logd", batch_records=10, retry_max_s=1)
        proxy.fault = Fault(refuse=True)
        served.drain(code=1)  # the books know them all, the store has none
        proxy.fault = Fault(latency_s=0.005)
        served.begin()
        wait_until_stored(url, 100)
        victims = random.sample(range(count // 3, count), max(1, count // 10))
        for number in victims:
            path = reader.path(spool, name(number))
            if os.path.exists(path):
                deed(path, random)
        others = RECORDS * (count - len(victims))
        wait_until_stored(url, others)
        served.drain()
        found = audit(str(home), GUID)
    store = open_store(url, "/nowhere", KINDS, readonly=True)
    stored = list(store.find(Query(guid=GUID)))
    there = {one.id: one.body for one in stored if one.kind == "shout"}
    gaps = [one.body for one in stored if one.kind == "gap"]
    store.close()
    wanted = {f"{name(number)}-{seq}": {"n": seq} for number in range(count) for seq in range(1, RECORDS + 1)}
    foreign = {f"{name(OTHER)}-{seq}": {"n": seq} for seq in range(1, RECORDS + 1)} if deed is is_anothers else {}
    assert there.items() <= (wanted | foreign).items(), "a wrong one"
    missing = wanted.keys() - there.keys()
    assert {segment_of(id_) for id_ in missing} <= {name(number) for number in victims}
    assert bool(missing) == (deed not in {is_copied, is_longer}), "void: it came too late"
    assert letters(home) == []
    assert segments(home) == []
    assert found.ok == (not missing)
    lost = {(segment_of(id_), seq_of(id_)) for id_ in missing}
    assert numbers(gap._asdict() for gap in found.gaps) == lost
    assert numbers(gaps) == lost, "what the records of the gaps tell"
    [row] = [row for row in found.rows if row.kind == "shout"]
    assert row.emitted - sum(row.stored.values()) == len(missing)
