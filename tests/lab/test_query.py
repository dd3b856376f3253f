"""All stores as one: merged by time, each record once, and the story put together again."""

from __future__ import annotations

import json
import time

import pytest

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab import query
from ave.lab.config import bootstrap
from ave.lab.query import Follower, Stores, find, open_stores, story
from ave.lab.stores import EmbeddedStore
from ave.record import Query, Record
from ave.testing import MemoryStore

GUID = "run-0123456789"


def made(number: int, kind: str = "shout", *, at: int | None = None, guid: str = GUID, **body) -> Record:
    return Record(f"{'ab' * 13}-{number}", kind, guid, number if at is None else at, "lab1", 1, "test", body)


def holding(*records: Record) -> MemoryStore:
    store = MemoryStore()
    if records:
        store.put(records)
    return store


class Away(MemoryStore):
    """A store that is down, from its first answer on or after some."""

    def __init__(self, *before: Record) -> None:
        super().__init__()
        self.before = before

    def find(self, query):
        yield from self.before
        raise StoreUnavailable("no route to the store; mend the net")


def test_records_of_all_stores_come_in_order_of_time():
    stores = Stores({"a": holding(made(1), made(4)), "b": holding(made(2), made(3), made(5))})
    assert [record.time for record in stores.find(Query())] == [1, 2, 3, 4, 5]
    assert [record.time for record in stores.find(Query(newest=True, limit=3))] == [5, 4, 3]


def test_a_record_that_two_stores_have_comes_once():
    stores = Stores({"a": holding(made(1), made(2)), "b": holding(made(2), made(3)), "c": holding(made(2))})
    assert [record.time for record in stores.find(Query())] == [1, 2, 3]
    assert [record.time for record in stores.find(Query(limit=2))] == [1, 2]


def test_records_of_one_moment_come_in_order_of_their_numbers():
    stores = Stores({"a": holding(made(9, at=5), made(11, at=5)), "b": holding(made(10, at=5))})
    assert [record.id.rpartition("-")[2] for record in stores.find(Query())] == ["9", "10", "11"]


def test_a_store_that_is_away_is_named_and_the_others_answer():
    stores = Stores({"down": Away(made(2)), "up": holding(made(1), made(3))})
    assert [record.time for record in stores.find(Query())] == [1, 2, 3]
    assert stores.failed == {"down": "no route to the store; mend the net"}


def test_failures_are_those_of_the_last_question():
    store = holding(made(2))
    stores = Stores({"down": store, "up": holding(made(1))})
    store.down = True
    assert list(stores.find(Query())) == [made(1)]
    assert stores.failed.keys() == {"down"}
    store.down = False
    assert list(stores.find(Query())) == [made(1), made(2)]
    assert stores.failed == {}


def test_no_store_at_all_that_answers_is_an_error():
    with pytest.raises(StoreUnavailable, match="no route to the store"):
        list(Stores({"a": Away(), "b": Away()}).find(Query()))


def test_a_job_is_found_though_another_store_has_its_verdicts():
    starts = holding(
        made(1, "event", name="job.start", exe="/lab/nightly/run"),
        made(2, "event", guid="run-another-one", name="job.start", exe="/lab/weekly/run"),
    )
    verdicts = holding(made(3, "verdict", name="t"), made(4, "verdict", guid="run-another-one", name="t"))
    found = Stores({"panotti": starts, "decibel": verdicts}).find(Query(job="nightly"))
    assert [record.time for record in found] == [1, 3]


def test_a_job_that_never_ran_has_no_records():
    stores = Stores({"a": holding(made(1)), "b": holding(made(2))})
    assert list(stores.find(Query(job="nightly"))) == []


def test_the_stores_of_a_home_are_those_of_its_configuration(tmp_path):
    bootstrap(str(tmp_path))
    decibel = tmp_path / ".ave/config/decibel.json"
    decibel.write_text(json.dumps({"enabled": True, "url": "sqlite:///$HOME/verdicts.db"}))
    for path, record in ((".ave/lab.db", made(1)), ("verdicts.db", made(2, "verdict", name="t"))):
        store = EmbeddedStore(f"sqlite:///{tmp_path / path}")
        store.put([record])
        store.close()
    assert [record.time for record in find(str(tmp_path), Query(guid=GUID))] == [1, 2]


def test_asking_makes_no_store(tmp_path):
    bootstrap(str(tmp_path))
    with open_stores(str(tmp_path)) as stores:
        assert list(stores.find(Query())) == []
    assert not (tmp_path / ".ave/lab.db").exists()


def test_a_broken_file_is_named(tmp_path):
    bootstrap(str(tmp_path))
    (tmp_path / ".ave/config/decibel.json").write_text("{")
    with pytest.raises(ConfigError, match=r"decibel\.json"):
        open_stores(str(tmp_path))


def test_a_store_that_cannot_be_opened_keeps_nobody_from_asking_the_others(tmp_path):
    bootstrap(str(tmp_path))
    store = EmbeddedStore(f"sqlite:///{tmp_path / '.ave/lab.db'}")
    store.put([made(1)])
    store.close()
    decibel = tmp_path / ".ave/config/decibel.json"
    decibel.write_text(json.dumps({"enabled": True, "url": "nosuch://host"}))
    with open_stores(str(tmp_path)) as stores:
        for _ in range(2):
            assert [record.time for record in stores.find(Query(guid=GUID))] == [1]
            [why] = stores.failed.values()
            assert "nosuch" in why


# Long bodies


def long_shout() -> list[Record]:
    text = "x" * 1024
    head = made(1, title="t", text=text, _marks=[{"path": "text", "was": "long"}])
    more = [
        made(2, _continues=head.id, path="text", offset=1024, text="y" * 10),
        made(3, _continues=head.id, path="text", offset=1034, text="z", length=1035, sha256="-"),
    ]
    return [head, *more]


def test_a_story_puts_long_bodies_together():
    head, second, third = long_shout()
    told = list(story([head, made(5), second, made(6), third]))
    assert [record.id for record in told] == [head.id, made(5).id, made(6).id]
    assert told[0].body == {"title": "t", "text": "x" * 1024 + "y" * 10 + "z"}


def test_what_continues_an_unknown_record_passes_as_it_is():
    _, second, _ = long_shout()
    assert list(story([made(9), second])) == [made(9), second]


def test_a_story_is_told_while_it_comes(monkeypatch):
    monkeypatch.setattr(query, "WINDOW", 10)
    taken = []

    def coming():
        for number in range(1, 1001):
            taken.append(number)
            yield made(number)

    told = story(coming())
    assert next(told) == made(1)
    assert len(taken) == 11


# What comes


def now(number: int, ago_s: float = 0.0, **body) -> Record:
    return made(number, at=time.time_ns() - int(ago_s * 1e9), **body)


def test_a_follower_gives_each_record_once():
    recent = now(2, ago_s=1)
    store = holding(now(1, ago_s=3600), recent)
    follower = Follower(Stores({"a": store}))
    assert follower.new() == [recent]
    store.put([now(3), now(4, ago_s=2)])
    assert [record.id.rpartition("-")[2] for record in follower.new()] == ["4", "3"]
    assert follower.new() == []


def test_a_follower_begins_with_the_last_ones():
    store = holding(*(now(number, ago_s=3600 - number) for number in range(1, 10)))
    follower = Follower(Stores({"a": store}), GUID)
    assert [record.id.rpartition("-")[2] for record in follower.last(2)] == ["8", "9"]
    assert follower.new() == []
    store.put([now(10), now(11, ago_s=0)])
    assert len(follower.new()) == 2


def test_a_follower_told_to_begin_with_none_gives_only_what_is_new():
    store = holding(now(1))
    follower = Follower(Stores({"a": store}))
    assert follower.last(0) == []
    assert follower.new() == []


def test_a_follower_of_one_run_does_not_see_others():
    store = holding()
    follower = Follower(Stores({"a": store}), GUID)
    follower.last(0)
    store.put([now(1), Record(f"{'cd' * 13}-1", "shout", "run-another-one", time.time_ns(), "h", 1, "t", {})])
    assert [record.guid for record in follower.new()] == [GUID]


def test_a_record_from_the_future_does_not_stop_a_follower():
    store = holding(now(1, ago_s=-86400))
    follower = Follower(Stores({"a": store}))
    assert len(follower.new()) == 1
    store.put([now(2)])
    assert [record.id for record in follower.new()] == [now(2).id]


def test_what_a_store_had_before_it_went_away_is_not_new_when_it_is_back():
    store, other = holding(now(1)), holding(now(2))
    follower = Follower(Stores({"a": store, "b": other}))
    assert len(follower.new()) == 2
    store.down = True
    assert follower.new() == []
    store.down = False
    assert follower.new() == []


def test_what_came_while_a_store_was_away_is_seen_when_it_is_back(monkeypatch):
    monkeypatch.setattr(query, "LOOKBACK_S", 0.0)
    store, other = holding(), holding()
    follower = Follower(Stores({"a": store, "b": other}))
    store.down = True
    assert follower.new() == []
    late = now(1)
    other.put([now(2)])
    assert len(follower.new()) == 1
    store.down = False
    store.put([late])
    assert [record.id for record in follower.new()] == [late.id]


@pytest.mark.parametrize(
    "stores", [Stores({"up": MemoryStore(), "down": Away()}), Stores({"up": MemoryStore()}, {"x": "?"})]
)
def test_a_store_that_does_not_answer_for_long_costs_no_more_and_more(stores, monkeypatch):
    up = stores._stores["up"]
    asked = []
    monkeypatch.setattr(up, "find", lambda query, real=up.find: (asked.append(query.since), real(query))[1])
    clock = time.time_ns()
    monkeypatch.setattr(query.time, "time_ns", lambda: clock)
    follower = Follower(stores)
    for number in range(1, 200):
        clock += 1_000_000_000
        up.put([made(number, at=clock)])
        assert len(follower.new()) == 1
        assert clock - asked[-1] <= 71e9
        assert len(follower._seen) <= 72
