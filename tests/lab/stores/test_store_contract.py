"""What every store promises. A new store is one more parameter of the fixture `opened`."""

from __future__ import annotations

import pytest

from ave.lab.stores import Store, order
from ave.lab.stores import embedded as embedded_module
from ave.record import KINDS, Query
from tests.lab.stores.samples import GUID, SEGMENT, TIME, record

HOSTILE = {
    "int": [2**63 - 1, -(2**63), 2**64 - 1, 2**53 + 1],
    "float": [0.1, 1e16, 5e-324, -0.0, 1.7976931348623157e308],
    "text": "NUL \x00 ESC \x1b DEL \x7f, 漢字, \u2028, 🐍, quote \" backslash \\ slash / %_' ; DROP TABLE records",
    "": {"$.weird [key]": None, "true": True, "nested": [[], {}, [{"deep": [1, [2]]}]]},
}


def found(store: Store, **conditions) -> list[int]:
    """The counters of what is found, in the order of the answer."""
    return [int(record.id.rpartition("-")[2]) for record in store.find(Query(**conditions))]


def test_a_new_store_is_empty(store):
    assert list(store.find(Query())) == []
    assert store.count(GUID) == {}


def test_it_says_which_kinds_it_takes(store):
    assert store.kinds == KINDS


def test_what_was_put_is_found_unchanged(store):
    sent = record(1, body=HOSTILE, guid="http://ci/job/17?a=ö", host="läb", source="x y", pid=0)
    assert store.put([sent]) == []
    (back,) = store.find(Query())
    assert back == sent
    assert repr(back.body) == repr(sent.body), "types too: 1, 1.0 and True are equal in Python"


def test_a_repeat_is_stored_once_and_not_rejected(store):
    batch = [record(1), record(2)]
    assert store.put(batch) == []
    assert store.put([*batch, record(3)]) == []
    assert store.put(batch) == []
    assert found(store) == [1, 2, 3]


def test_what_is_prepared_is_the_same_batch_and_can_be_put_whole_again_and_in_parts(store):
    batch = [record(1), record(2), record(3), record(3, body={"n": 4})]
    ready = store.prepare(batch)
    assert list(ready) == batch
    for _ in range(2):
        (rejected,) = store.put(ready)
        assert rejected.record == batch[3]
    assert store.put(ready[1:3]) == []
    assert found(store) == [1, 2, 3]


def test_a_record_twice_in_one_batch_is_stored_once(store):
    assert store.put([record(1), record(2), record(1)]) == []
    assert found(store) == [1, 2]


def test_a_repeat_with_its_keys_in_another_order_is_the_same(store):
    assert store.put([record(1, body={"a": 1, "b": {"c": 2, "d": 3}})]) == []
    assert store.put([record(1, body={"b": {"d": 3, "c": 2}, "a": 1})]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"body": {"n": 2}},
        {"kind": "log"},
        {"guid": "another-guid"},
        {"time": 1},
        {"host": "b"},
        {"pid": 1},
        {"source": "c"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_different_content_under_the_same_id_is_rejected_and_the_first_stays(store, change):
    first, second, other = record(1), record(1, **change), record(2)
    assert store.put([first]) == []
    (rejected,) = store.put([second, other])
    assert rejected.record == second
    assert rejected.reason == "different content under the same id"
    assert list(store.find(Query())) == [first, other]


def test_different_content_within_one_batch_is_rejected_too(store):
    (rejected,) = store.put([record(1), record(1, body={"n": "other"})])
    assert rejected.record.body == {"n": "other"}
    assert [record.body for record in store.find(Query())] == [{"n": 1}]


def test_of_a_large_batch_all_is_stored_but_what_differs(store):
    store.put([record(seq) for seq in range(150, 250)])
    batch = [record(seq, body={"n": "other"} if seq == 230 else None) for seq in range(1, 451)]
    (rejected,) = store.put([*batch, record(7)])
    assert rejected.record is batch[229]
    assert found(store) == list(range(1, 451))


def test_answers_are_in_order_of_time_then_of_the_counter_as_a_number(store):
    late = [record(seq, time=TIME) for seq in range(1, 13)]
    early = record(99, time=TIME - 1)
    assert store.put([*reversed(late), early]) == []
    assert found(store) == [99, *range(1, 13)]
    assert found(store, newest=True) == [*range(12, 0, -1), 99]


def test_the_order_is_that_of_the_function_order(store):
    batch = [record(seq, id=f"{SEGMENT[:-1]}{seq % 3}-{seq}", time=TIME + seq % 2) for seq in range(1, 30)]
    store.put(batch)
    assert list(store.find(Query())) == sorted(batch, key=order)


@pytest.fixture
def story(store) -> Store:
    """Two runs and something about the host."""
    other = "20261122-nightly-18"
    store.put(
        [
            record(1, "event", {"name": "job.start", "exe": "/lab/jobs/boot/run"}, source="vcsjob"),
            record(2, "shout", {"title": "flashing ÅÄÖ", "count": 4242, "steps": ["1\nErase"], "result": "failure"}),
            record(3, "verdict", {"name": "test_a", "result": "passed"}, source="pytest"),
            record(4, "verdict", {"name": "test_b", "result": "failure", "message": "50% of 3\nlost"}, source="pytest"),
            record(5, "event", {"name": "job.end", "status": 5, "result": "vcsjob.FAILURES"}, source="vcsjob"),
            record(6, "event", {"name": "job.start", "exe": "/lab/jobs/suite/run"}, guid=other, host="lab-2"),
            record(7, "verdict", {"name": "test_a", "result": "failure"}, guid=other, host="lab-2"),
            record(8, "event", {"name": "job.end", "status": 0, "result": "vcsjob.OK"}, guid=other, host="lab-2"),
            record(9, "metric", {"source": "machine"}, guid=""),
        ]
    )
    return store


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"guid": GUID}, [1, 2, 3, 4, 5]),
        ({"guid": ""}, [9]),
        ({"guid": "no-such-guid"}, []),
        ({"kinds": ["verdict"]}, [3, 4, 7]),
        ({"kinds": ["verdict", "shout"]}, [2, 3, 4, 7]),
        ({"guid": GUID, "kinds": ["verdict"]}, [3, 4]),
        ({"since": TIME + 8}, [8, 9]),
        ({"until": TIME + 3}, [1, 2]),
        ({"since": TIME + 3, "until": TIME + 5, "newest": True}, [4, 3]),
        ({"host": "lab-2"}, [6, 7, 8]),
        ({"source": "pytest"}, [3, 4]),
        ({"host": "lab-2", "source": "pytest"}, []),
        ({"job": "/lab/jobs/boot"}, [1, 2, 3, 4, 5]),
        ({"job": "run"}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"job": "run", "newest": True, "limit": 4}, [8, 7, 6, 5]),
        ({"job": "suite", "kinds": ["verdict"]}, [7]),
        ({"job": "suite", "guid": GUID}, []),
        ({"job": "flashing"}, []),
        ({"result": "failure"}, [4, 7]),
        ({"result": "FAILURES"}, [5]),
        ({"result": "OK"}, [8]),
        ({"result": "title"}, []),
        ({"text": "FLASHING"}, [2]),
        ({"text": "åäö"}, [2]),
        ({"text": "50%"}, [4]),
        ({"text": "3\nLost"}, [4]),
        ({"text": "nlost"}, []),
        ({"text": "1\nerase"}, [2]),
        ({"text": "nerase"}, []),
        ({"text": "242"}, [2]),
        ({"text": "exe"}, [1, 6]),
        ({"text": '": "'}, []),
        ({"text": "machine", "guid": GUID}, []),
        ({"text": "run", "limit": 1}, [1]),
        ({"limit": 2}, [1, 2]),
        ({"limit": 2, "newest": True}, [9, 8]),
        ({"limit": 0}, []),
    ],
    ids=str,
)
def test_every_condition_of_a_query_must_hold(story, conditions, wanted):
    assert found(story, **conditions) == wanted


def test_count_gives_the_kinds_of_one_run(story):
    assert story.count(GUID) == {"event": 2, "shout": 1, "verdict": 2}
    assert story.count("") == {"metric": 1}
    assert story.count("no-such-guid") == {}


def test_count_can_be_of_some_hosts_only(store):
    store.put([record(1, host="a"), record(2, host="b"), record(3, "log", host="c")])
    assert store.count(GUID, ["a", "c"]) == {"shout": 1, "log": 1}
    assert store.count(GUID, []) == {"shout": 2, "log": 1}


def test_a_reader_sees_what_was_put_and_goes_on_while_more_is_put(opened):
    writer, reader = opened(), opened(readonly=True)
    assert found(reader) == [], "even before the first record"
    writer.put([record(seq) for seq in range(1, 6)])
    answer = reader.find(Query())
    first = next(answer)
    writer.put([record(0, time=TIME - 5), record(6)])
    assert [first.body["n"], *(record.body["n"] for record in answer)][:5] == [1, 2, 3, 4, 5]
    assert found(reader) == [0, 1, 2, 3, 4, 5, 6]


def test_a_long_answer_comes_whole_and_in_order(store, monkeypatch):
    monkeypatch.setattr(embedded_module, "PAGE_RECORDS", 60)
    store.put([record(seq, time=TIME + seq // 100) for seq in range(1, 400)])
    assert found(store) == list(range(1, 400))
    assert found(store, newest=True) == list(range(399, 0, -1))
    assert found(store, limit=130) == list(range(1, 131))
    assert found(store, since=TIME + 1, until=TIME + 3) == list(range(100, 300))
    assert found(store, since=TIME + 1, until=TIME + 3, newest=True) == list(range(299, 99, -1))


def test_an_answer_left_half_read_holds_nobody_up(opened):
    writer, reader = opened(), opened(readonly=True)
    writer.put([record(seq) for seq in range(1, 20)])
    answer = reader.find(Query())
    next(answer)
    assert writer.put([record(20)]) == []
    answer.close()


def test_closing_twice_is_safe_and_what_was_stored_stays(opened):
    store = opened()
    store.put([record(1)])
    store.close()
    store.close()
    assert found(opened()) == [1]
