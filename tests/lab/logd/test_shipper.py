from __future__ import annotations

import math
import os

import pytest

from ave import io
from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.logd import shipper as shippers
from ave.lab.logd.letters import DeadLetters
from ave.lab.logd.shipper import Shipper
from ave.record import KINDS
from ave.spool import cursors, reader
from ave.testing import MemoryStore, wait_until
from tests.lab.logd.segments import GUID, fields, footer, header, line, name, record, write


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def make(watch):
    """Make a shipper; all are closed in the end."""
    made = []

    def one(store, kinds=KINDS, **options):
        made.append(Shipper("embedded", frozenset(kinds), lambda: store, watch, **options))
        return made[-1]

    yield one
    for shipper in made:
        if shipper.is_alive():
            shipper.stop()
            shipper.join()
        shipper.close()


@pytest.fixture
def shipper(make, store):
    return make(store)


def stored(store):
    return sorted(record.body["n"] for record in store.records.values())


def drain(shipper):
    while shipper.step():
        pass


def position(spool, segment):
    return cursors.positions(f"{spool}/cursors/embedded").get(segment)


def test_it_ships_the_kinds_of_its_store_and_passes_by_the_others(make, store, watch, spool):
    write(spool, 1, header(), record(1), record(2, "log"), record(3), footer(3))
    watch.look()
    shipper = make(store, ["log"])
    assert shipper.step()
    assert not shipper.step()
    assert stored(store) == [2]
    assert shipper.done == {name(1)}


def test_it_knows_where_it_is_behind_records_of_others_a_copied_one_too(make, store, watch, spool):
    segment = write(spool, 2, header(), record(1, of=name(2)), record(2, "log", of=name(2)), record(9, of=name(1)))
    watch.look()
    drain(make(store, ["verdict"]))
    assert store.records == {}
    assert position(spool, segment)[1] == 2


@pytest.mark.parametrize("order", [["kind", "id"], ["body", "kind", "id"]])
def test_a_record_whose_fields_are_in_another_order_is_shipped_all_the_same(make, store, watch, spool, order):
    odd = fields(1, "log", body={"a": "", "kind": "shout"})
    write(spool, 1, header(), line({**{key: odd[key] for key in order}, **odd}))
    watch.look()
    drain(make(store, ["log"]))
    assert [record.kind for record in store.records.values()] == ["log"]


def test_it_ships_the_oldest_segment_first_and_each_in_its_order(shipper, store, watch, spool):
    write(spool, 2, header(), record(1, of=name(2)))
    write(spool, 1, header(), *map(record, range(1, 4)))
    watch.look()
    drain(shipper)
    assert store.batches == [[f"{name(1)}-1", f"{name(1)}-2", f"{name(1)}-3", f"{name(2)}-1"]]


def test_a_batch_has_so_many_records_at_most(make, store, watch, spool):
    write(spool, 1, header(), *map(record, range(1, 26)))
    watch.look()
    drain(make(store, batch_records=10))
    assert [len(batch) for batch in store.batches] == [10, 10, 5]


def test_a_batch_has_about_so_many_bytes_at_most(shipper, store, watch, spool):
    size = len(record(1, body={"n": 1, "text": "x" * 50_000}))
    for number in (1, 2, 3):
        bodies = ({"n": seq, "text": "x" * 50_000} for seq in range(1, 11))
        write(spool, number, header(), *(record(body["n"], body=body, of=name(number)) for body in bodies))
    watch.look()
    drain(shipper)
    assert max(map(len, store.batches)) <= store.batch_bytes // size + 1
    assert len(store.records) == 30


def test_damage_is_passed_by(shipper, store, watch, spool):
    write(spool, 1, header(), record(1), b"damage\n", line({"no": "record"}), record(3)[:-5] + b"\n", record(4))
    watch.look()
    drain(shipper)
    assert stored(store) == [1, 4]
    assert shipper.done == {name(1)}


def test_a_segment_that_grows_is_shipped_as_it_grows_but_is_not_done(shipper, store, watch, spool):
    segment = write(spool, 1, header(), record(1), record(2)[:-20])
    fd = io.open_append(reader.path(spool, segment))
    io.lock_shared(fd)
    watch.look()
    drain(shipper)
    assert stored(store) == [1]
    io.write(fd, record(2)[-20:])
    watch.look()
    drain(shipper)
    assert stored(store) == [1, 2]
    assert shipper.done == set()
    io.close(fd)
    watch.look()
    shipper.step()
    assert shipper.done == {segment}


# The order of the steps


@pytest.fixture
def steps(monkeypatch, store):
    """What is done, in the order in which it is done."""
    done = []

    def note(module, call, what):
        real = getattr(module, call)
        monkeypatch.setattr(module, call, lambda *rest, **named: (real(*rest, **named), done.append(what))[0])

    note(store, "put", "put")
    note(DeadLetters, "add", "letters")
    note(cursors.Cursor, "move", "cursor")
    note(cursors.Cursor, "sync", "sync")
    return done


def test_the_cursor_moves_only_behind_what_is_stored_or_dead(shipper, store, watch, spool, steps):
    write(spool, 1, header(), record(1), record(2))
    store.reject = lambda record: "too large" if record.body["n"] == 2 else ""
    watch.look()
    shipper.step()
    assert steps == ["put", "letters", "cursor", "sync"]
    assert [(letter.record.body, letter.reason) for letter in DeadLetters(spool, "embedded").read()] == [
        ({"n": 2}, "too large")
    ]


def test_a_segment_is_done_only_when_the_cursor_is_on_the_disk(shipper, store, watch, spool, monkeypatch):
    segment = write(spool, 1, header(), record(1))
    done = []
    monkeypatch.setattr(cursors.Cursor, "sync", lambda cursor: done.append((shipper.done, cursor.positions[segment])))
    watch.look()
    shipper.step()
    assert done == [(frozenset(), (len(header() + record(1)), 1))]
    assert shipper.done == {segment}


def test_a_store_that_is_down_gets_the_same_batch_again(shipper, store, watch, spool, caplog):
    segment = write(spool, 1, header(), record(1), record(2))
    watch.look()
    store.down = True
    for _ in range(3):
        assert not shipper.step()
    assert shipper.failure == "the store is down"
    assert position(spool, segment) is None
    assert len([text for text in caplog.messages if "takes nothing" in text]) == 1, "told once, not at each try"
    store.down = False
    assert shipper.step()
    assert shipper.failure == ""
    assert store.batches[0] == store.batches[-1]
    assert stored(store) == [1, 2]


def test_a_store_that_refuses_us_holds_the_queue_and_buries_nothing(shipper, store, watch, spool):
    segment = write(spool, 1, header(), record(1))
    watch.look()
    store.refusing = True
    for _ in range(5):
        assert not shipper.step()
    assert "password" in shipper.failure
    assert position(spool, segment) is None
    assert list(DeadLetters(spool, "embedded").read()) == []
    store.refusing = False
    assert shipper.step()
    assert stored(store) == [1]


@pytest.mark.parametrize(
    "error", [ConfigError("wrong password"), ValueError("a bug"), OSError(5, "Input/output error")]
)
def test_a_store_that_cannot_be_opened_holds_the_queue(error, make, store, watch, spool):
    def opener():
        if failing:
            raise error
        return store

    failing = True
    segment = write(spool, 1, header(), record(1))
    watch.look()
    shipper = make(store)
    shipper._open = opener
    assert not shipper.step()
    assert str(error) in shipper.failure
    assert position(spool, segment) is None
    failing = False
    assert shipper.step()
    assert stored(store) == [1]


@pytest.mark.parametrize("asked", [None, "soon", math.nan, -5, math.inf, 10**400])
def test_a_store_that_fails_oddly_is_asked_again_all_the_same(asked, make, store, watch, spool):
    def refuse(_batch):
        raise StoreUnavailable({"message": "", "retry_after_s": asked})

    write(spool, 1, header(), record(1))
    watch.look()
    shipper = make(store, retry_max_s=0.01)
    put, store.put = store.put, refuse
    store.close = lambda: (_ for _ in ()).throw(RuntimeError("not even that"))
    shipper.start()
    try:
        wait_until(lambda: shipper._failures > 3, what="it to try again")
        assert shipper.failure == "StoreUnavailable"
        store.put = put
        wait_until(lambda: stored(store) == [1], what="the record to be stored")
        wait_until(lambda: not shipper.failure)
    finally:
        shipper.stop()
        shipper.join()


def test_letters_that_cannot_be_kept_hold_the_cursor(shipper, store, watch, spool, monkeypatch):
    segment = write(spool, 1, header(), record(1), record(2))
    store.reject = lambda record: "too large" if record.body["n"] == 1 else ""
    monkeypatch.setattr(io, "sync_dir", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    watch.look()
    assert not shipper.step()
    assert "No space" in shipper.failure
    assert position(spool, segment) is None
    monkeypatch.undo()
    assert shipper.step()
    assert [letter.record.body for letter in DeadLetters(spool, "embedded").read()] == [{"n": 1}]


def test_after_a_crash_behind_the_store_the_same_batch_comes_again_and_is_harmless(
    make, store, watch, spool, monkeypatch
):
    segment = write(spool, 1, header(), record(1), record(2))
    watch.look()
    monkeypatch.setattr(cursors.Cursor, "move", lambda *_: (_ for _ in ()).throw(OSError("killed here")))
    make(store).step()
    monkeypatch.undo()
    drain(make(store))
    assert len(store.batches) == 2
    assert stored(store) == [1, 2]
    assert position(spool, segment) == (len(header() + record(1) + record(2)), 2)


# A batch that fails as a whole


@pytest.mark.parametrize("poison", [0, 1, 249, 498, 499])
def test_a_record_at_which_the_store_fails_is_found_by_halving_and_blocks_nobody(poison, shipper, store, watch, spool):
    def fail(record):
        if record.body["n"] == poison + 1:
            raise KeyError("no such column")
        return ""

    write(spool, 1, header(), *map(record, range(1, 501)))
    store.reject = fail
    watch.look()
    drain(shipper)
    [letter] = DeadLetters(spool, "embedded").read()
    assert (letter.record.body, letter.reason) == ({"n": poison + 1}, "KeyError: 'no such column'")
    assert stored(store) == [n for n in range(1, 501) if n != poison + 1]
    assert len(store.batches) <= 2 * math.log2(500) + 2


def test_a_store_that_goes_down_while_a_batch_is_halved_gets_it_again(shipper, store, watch, spool):
    def fail(record):
        if record.body["n"] == 3:
            store.down = len(store.batches) > 1
            raise KeyError("no such column")
        return ""

    segment = write(spool, 1, header(), *map(record, range(1, 9)))
    store.reject = fail
    watch.look()
    assert not shipper.step()
    assert position(spool, segment) is None
    assert list(DeadLetters(spool, "embedded").read()) == []
    store.down, store.reject = False, lambda _: ""
    drain(shipper)
    assert stored(store) == list(range(1, 9))


def test_several_poisoned_records_are_all_found(shipper, store, watch, spool):
    def fail(record):
        if record.body["n"] % 7 == 0:
            raise RuntimeError("bad")
        return ""

    write(spool, 1, header(), *map(record, range(1, 101)))
    store.reject = fail
    watch.look()
    drain(shipper)
    dead = [letter.record.body["n"] for letter in DeadLetters(spool, "embedded").read()]
    assert dead == list(range(7, 101, 7))
    assert sorted(stored(store) + dead) == list(range(1, 101))


def test_a_store_that_fails_at_every_record_sets_none_aside_and_is_told_of_once(shipper, store, watch, spool, caplog):
    def fail(_record):
        raise RuntimeError("'cryptography' package is required")

    segment = write(spool, 1, header(), *map(record, range(1, 101)))
    store.reject = fail
    watch.look()
    for _ in range(3):
        assert not shipper.step()
    assert list(DeadLetters(spool, "embedded").read()) == []
    assert position(spool, segment) is None
    assert shipper.failure.startswith("RuntimeError: 'cryptography' package is required; ")
    assert caplog.text.count("takes nothing, its records wait") == 1
    assert caplog.text.count("in fail") == 1, "the trace, once"
    store.reject = lambda _: ""
    drain(shipper)
    assert stored(store) == list(range(1, 101))


def test_a_record_of_numbers_no_store_can_hold_is_buried_with_all_it_has(shipper, store, watch, spool):
    write(spool, 1, header(), record(1, time=10**30, body={"n": 10**40}), record(2))
    store.reject = lambda record: "too large" if record.time >= 2**63 else ""
    watch.look()
    drain(shipper)
    assert stored(store) == [2]
    [letter] = DeadLetters(spool, "embedded").read()
    assert letter.record.time == 10**30
    assert letter.record.body == {"n": 10**40}


# Reading ahead


@pytest.fixture
def prepared(monkeypatch, store):
    """The batches that were read for the store, as numbers, in the order in which they were."""
    done = []
    monkeypatch.setattr(store, "prepare", lambda batch: (done.append([it.body["n"] for it in batch]), batch)[1])
    return done


def test_while_a_store_takes_a_batch_the_next_one_is_read_and_no_more(make, store, watch, spool, monkeypatch, prepared):
    def put(batch):
        first = batch[0].body["n"]
        wait_until(lambda: prepared[-1][0] == first + 2)
        shipper._batches._helper.submit(int).result()  # whatever the helper had to do is done
        assert prepared[-1][0] == first + 2
        return real(batch)

    write(spool, 1, header(), *map(record, range(1, 10)))
    watch.look()
    shipper, real = make(store, batch_records=2), store.put
    monkeypatch.setattr(store, "put", put)
    for _ in range(4):
        assert shipper.step()
    assert prepared == [[1, 2], [3, 4], [5, 6], [7, 8], [9]]
    monkeypatch.undo()
    drain(shipper)
    assert stored(store) == list(range(1, 10))


def test_what_was_read_ahead_of_a_failure_comes_behind_the_batch_that_failed(make, store, watch, spool, prepared):
    write(spool, 1, header(), *map(record, range(1, 6)))
    watch.look()
    shipper = make(store, batch_records=2)
    assert shipper.step()
    store.down = True
    for _ in range(3):
        assert not shipper.step()
    store.down = False
    drain(shipper)
    assert [[record_id.rpartition("-")[2] for record_id in batch] for batch in store.batches] == [
        ["1", "2"],
        *[["3", "4"]] * 4,
        ["5"],
    ]


def test_reading_ahead_that_fails_holds_up_only_what_was_to_be_read(make, store, watch, spool, monkeypatch):
    def fail_at_the_second(begin, into):
        if begin:
            raise OSError(5, "Input/output error")
        return real(begin, into)

    segment = write(spool, 1, header(), *map(record, range(1, 4)))
    watch.look()
    shipper = make(store, batch_records=2)
    real = shipper._batches._read
    monkeypatch.setattr(shipper._batches, "_read", fail_at_the_second)
    assert shipper.step()
    assert position(spool, segment) == (len(header() + record(1) + record(2)), 2)
    assert not shipper.step()
    assert "Input/output error" in shipper.failure
    monkeypatch.undo()
    drain(shipper)
    assert stored(store) == [1, 2, 3]


def test_a_batch_that_cannot_be_prepared_is_put_as_it_is(shipper, store, watch, spool, monkeypatch):
    monkeypatch.setattr(store, "prepare", lambda _batch: 1 / 0)
    write(spool, 1, header(), record(1), record(2))
    watch.look()
    drain(shipper)
    assert stored(store) == [1, 2]


# Cursors


@pytest.mark.parametrize("spoil", ["delete", "zero", "old", "garbage"])
def test_a_spoilt_cursor_makes_records_come_again_and_nothing_else(spoil, make, store, watch, spool):
    path = f"{spool}/cursors/embedded"
    write(spool, 1, header(), *map(record, range(1, 6)))
    watch.look()
    first = make(store)
    drain(first)
    old = io.read_file(path, 1 << 20)
    write(spool, 2, header(), *(record(seq, of=name(2)) for seq in range(6, 11)))
    watch.look()
    drain(first)
    if spoil == "delete":
        os.unlink(path)
    else:
        content = {"zero": b"\0" * os.path.getsize(path), "old": old, "garbage": os.urandom(300)}[spoil]
        with open(path, "wb") as file:
            file.write(content)
    again = make(store)
    drain(again)
    assert stored(store) == list(range(1, 11))
    assert again.done == {name(1), name(2)}


def test_a_store_that_takes_more_kinds_than_before_gets_what_was_passed_by(make, store, watch, spool):
    write(spool, 1, header(), record(1), record(2, "log"), footer(2))
    watch.look()
    first = make(store, ["shout"])
    drain(first)
    assert stored(store) == [1]
    more = make(store, ["shout", "log"])
    drain(more)
    assert stored(store) == [1, 2]
    assert more.done == {name(1)}


def test_positions_of_segments_that_are_gone_are_forgotten(shipper, store, watch, spool):
    segment = write(spool, 1, header(), record(1))
    watch.look()
    drain(shipper)
    os.unlink(reader.path(spool, segment))
    watch.look()
    drain(shipper)
    assert shipper._cursor.positions == {}


# The thread


def test_the_thread_ships_what_comes_and_stops_when_asked(shipper, store, watch, spool):
    shipper.start()
    for number in range(1, 4):
        write(spool, number, header(), record(number, of=name(number)))
        watch.look()
        wait_until(lambda count=number: len(store.records) == count)
    shipper.stop()
    shipper.join(2)
    assert not shipper.is_alive()


def raising(error):
    def put(_batch):
        raise error

    return put


def test_a_server_is_not_asked_before_it_wants_to_be(make, store, watch, spool, monkeypatch):
    monkeypatch.setattr(shippers.random, "uniform", lambda _least, _most: 0.5)
    shipper = make(store, retry_max_s=60)
    write(spool, 1, header(), record(1))
    watch.look()
    for wanted, pause in ((7, 7.5), (3600, 60.5), (None, 0.5)):
        details = {"message": "busy"} if wanted is None else {"message": "busy", "retry_after_s": wanted}
        monkeypatch.setattr(store, "put", raising(StoreUnavailable(details)))
        assert not shipper.step()
        assert shipper._pause() == pause


def test_a_stop_does_not_wait_for_a_long_pause(shipper, store, watch, spool, monkeypatch):
    monkeypatch.setattr(shipper, "_pause", lambda: 3600)
    write(spool, 1, header(), record(1))
    watch.look()
    store.down = True
    shipper.start()
    wait_until(lambda: shipper.failure)
    shipper.stop()
    shipper.join(2)
    assert not shipper.is_alive()


def test_an_error_that_nobody_foresaw_does_not_end_the_thread(make, store, watch, spool, monkeypatch, caplog):
    shipper = make(store, retry_max_s=0.01)
    monkeypatch.setattr(shipper._batches, "_read", lambda *_: 1 / 0)
    write(spool, 1, header(), record(1))
    shipper.start()
    watch.look()
    wait_until(lambda: shipper.failure)
    assert "division by zero" in shipper.failure
    assert any(record.exc_info for record in caplog.records), "the log must say where it was"
    monkeypatch.undo()
    wait_until(lambda: stored(store) == [1])
    wait_until(lambda: not shipper.failure)


def test_pauses_double_up_to_the_ceiling_and_are_drawn_from_the_whole_range(make, store, monkeypatch):
    asked = []
    monkeypatch.setattr(shippers.random, "uniform", lambda low, high: asked.append((low, high)) or high)
    shipper = make(store, retry_max_s=5)
    for failures in (1, 2, 3, 4, 5, 6, 1000, 10**6):
        shipper._failures = failures
        shipper._pause()
    assert asked == [(0, 0.4), (0, 0.8), (0, 1.6), (0, 3.2), (0, 5), (0, 5), (0, 5), (0, 5)]


def test_the_first_success_ends_the_doubling(shipper, store, watch, spool):
    write(spool, 1, header(), record(1))
    watch.look()
    store.down = True
    for _ in range(9):
        shipper.step()
    store.down = False
    shipper.step()
    assert shipper._failures == 0
    assert GUID in {record.guid for record in store.records.values()}
