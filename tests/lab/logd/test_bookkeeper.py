from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from ave import home as homes
from ave import io
from ave import spool as emit
from ave.exceptions import ConfigError, SpoolError, SpoolFull, StoreUnavailable
from ave.lab.config import Routing
from ave.lab.logd import ledger as ledgers
from ave.lab.logd.bookkeeper import Bookkeeper
from ave.lab.logd.ledger import Gap
from ave.record import KINDS
from ave.spool import reader
from ave.spool.cursors import Cursor
from ave.testing import read_spool
from tests.lab.logd.segments import GUID, footer, header, name, record, write


@pytest.fixture
def routing(home, configure):
    return Routing.read(home)


@pytest.fixture
def books(home, watch, routing):
    keeper = Bookkeeper(home, watch, routing)
    yield keeper
    keeper.ledger.close()


def keep_all(books):
    books.watch.look()
    while books.keep():
        pass


def told(spool):
    """The gap records that lie in the spool: (run, body) of each."""
    emit.close()
    return [(record.guid, record.body) for record in read_spool(spool).records if record.source == "ave-logd"]


# Going through the spool


def test_a_segment_is_entered_in_parts_and_is_read_only_when_all_of_it_is_in(books, spool):
    segment = write(spool, 1, header(), *(record(seq, body={"text": "x" * 60_000}) for seq in range(1, 41)), footer(40))
    books.watch.look()
    steps = 0
    while books.keep():
        steps += 1
        assert books.ledger.is_read(segment) == (books.ledger.offset(segment) == books.watch.segments[segment].size)
    assert steps > 1
    assert [count[:2] for count in books.ledger.counts(GUID)] == [("shout", 40)]


def test_a_segment_that_cannot_be_read_now_is_not_taken_for_empty(books, spool, monkeypatch):
    segment = write(spool, 1, header(), record(1), footer(1))
    books.watch.look()
    monkeypatch.setattr(io, "open_read", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    assert not books.keep()
    assert not books.ledger.is_read(segment)
    monkeypatch.undo()
    assert books.keep()
    assert books.ledger.is_read(segment)


# Damage


def test_damaged_bytes_are_copied_and_named(books, spool, caplog):
    segment = write(spool, 1, header(), record(1), b"damage" * 9 + b"\n", record(3))
    keep_all(books)
    offset = len(header() + record(1))
    path = f"{spool}/damaged/{segment}-{offset}"
    with open(path, "rb") as file:
        assert file.read() == b"damage" * 9 + b"\n"
    assert f"55 bytes of segment {segment} at offset {offset} are damaged; a copy is in {path}" in caplog.messages


def test_the_books_go_on_when_no_copy_can_be_kept(books, spool, caplog, monkeypatch):
    segment = write(spool, 1, header(), record(1), b"damage\n", record(3))
    monkeypatch.setattr(io, "replace_file", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    keep_all(books)
    assert books.ledger.is_read(segment)
    assert any("no copy could be kept" in message for message in caplog.messages)


def test_a_wound_of_any_size_costs_a_mebibyte_of_copy_at_most(books, spool):
    segment = write(spool, 1, header())
    os.truncate(reader.path(spool, segment), 5 << 20)
    keep_all(books)
    assert max(entry.stat().st_size for entry in os.scandir(f"{spool}/damaged")) == 1 << 20


# What no store takes


def test_a_kind_that_no_store_takes_is_told_once_until_the_routes_change(books, home, spool, configure, caplog):
    configure("panotti", enabled=False)
    books.follow(Routing.read(home))
    for number in (1, 2):
        write(spool, number, header(), *(record(seq, of=name(number)) for seq in (1, 2)), footer(2))
        keep_all(books)
    told = (
        f"no store takes shout, so such records are dropped, one of run {GUID!r} first; to keep them: "
        f'"enabled": true in {homes.config_file("panotti", home)}, then `ave-logd --restart`'
    )
    assert caplog.messages == [told]
    books.follow(Routing.read(home))
    write(spool, 3, header(), record(1, of=name(3)), footer(1))
    keep_all(books)
    assert caplog.messages == [told, told]


def test_kinds_of_another_version_are_told_as_one(books, spool, caplog):
    write(spool, 1, header(), record(1, "rumour"), footer(1))
    keep_all(books)
    write(spool, 2, header(), record(1, "hearsay", of=name(2)), footer(1))
    keep_all(books)
    [message] = caplog.messages
    assert message.startswith("no store takes kinds of another version, so such records are dropped, ")
    assert message.endswith("; to keep them: upgrade ave-logging")


# Gaps


def test_a_gap_is_told_once_under_its_run(books, spool):
    write(spool, 1, header(), record(1), record(4), footer(4))
    keep_all(books)
    for _ in range(3):
        books.tell_gaps()
    gap = {"segment": name(1), "first": 2, "last": 3, "reason": "lost", "count": 2, "kinds": {}}
    assert told(spool) == [(GUID, gap)]


def test_a_gap_that_could_not_be_told_is_told_later(books, spool, monkeypatch):
    write(spool, 1, header(), record(1), record(3), footer(3))
    keep_all(books)
    monkeypatch.setattr(emit, "append", lambda *_, **__: (_ for _ in ()).throw(SpoolFull("no room")))
    with pytest.raises(SpoolError, match="no room"):
        books.tell_gaps()
    monkeypatch.undo()
    assert books.tell_gaps()
    assert [body["first"] for _, body in told(spool)] == [2]


def test_many_gaps_are_told_in_several_steps(books, spool):
    write(spool, 1, header(), *map(record, range(2, 502, 2)), footer(500))
    keep_all(books)
    steps = 0
    while books.tell_gaps():
        steps += 1
    assert steps == 3
    assert [body["first"] for _, body in told(spool)] == list(range(1, 501, 2))


def test_a_gap_is_told_again_after_a_crash_in_between_and_the_books_still_balance(books, spool, monkeypatch):
    write(spool, 1, header(), record(1), record(3), footer(3))
    keep_all(books)
    monkeypatch.setattr(books.ledger, "tell", lambda gaps: (_ for _ in ()).throw(sqlite3.OperationalError("killed")))
    with pytest.raises(sqlite3.OperationalError):
        books.tell_gaps()
    monkeypatch.undo()
    books.tell_gaps()
    assert len(told(spool)) == 2
    keep_all(books)
    assert {count.kind: count.written for count in books.ledger.counts(GUID)} == {"shout": 2, "gap": 2}


# Segments that somebody removed


def test_a_segment_that_somebody_removed_is_told_with_what_was_not_stored(books, spool, caplog):
    segment = write(spool, 1, header(), *map(record, range(1, 6)), footer(5))
    keep_all(books)
    cursor = Cursor(f"{spool}/cursors/embedded", KINDS)
    cursor.move({segment: (len(header() + record(1) + record(2)), 2)})
    os.unlink(reader.path(spool, segment))
    books.look_for_lost()
    assert books.note_lost()
    assert books.ledger.gaps(GUID) == [Gap(segment, 3, 5, "lost")]
    assert f"segment {segment} has vanished" in caplog.messages
    books.tell_gaps()
    assert [(guid, body["first"], body["last"]) for guid, body in told(spool)] == [(GUID, 3, 5)]
    assert not books.note_lost(), "it is noted once"
    cursor.close()


def test_a_segment_that_somebody_exchanged_is_told_with_what_is_lost_and_kept_for_a_person(books, spool, caplog):
    segment = write(spool, 1, header(), *map(record, range(1, 6)), footer(5))
    keep_all(books)
    noise = b"\xa5" * 300 + b"\n"
    write(spool, 1, header(), *map(record, range(1, 4)), noise)
    books.watch.look()
    books.look_for_lost()
    assert books.note_lost()
    assert f"segment {segment} is not the one that was read" in caplog.messages
    books.tell_gaps()
    assert [(guid, body["segment"], body["first"], body["last"]) for guid, body in told(spool)] == [
        (GUID, segment, 4, 5)
    ]
    [copy] = os.listdir(f"{spool}/damaged")
    with open(f"{spool}/damaged/{copy}", "rb") as file:
        assert file.read() == noise


def test_a_store_that_is_not_required_makes_nothing_lost(books, spool, home, configure):
    configure("logstash", url="sqlite:///$HOME/other.db", required=False)
    books.follow(Routing.read(home))
    segment = write(spool, 1, header(), record(1), footer(1))
    keep_all(books)
    cursor = Cursor(f"{spool}/cursors/embedded", KINDS)
    cursor.move({segment: (1000, 1)})
    cursor.close()
    os.unlink(reader.path(spool, segment))
    books.note_lost()
    assert books.ledger.gaps(GUID) == []


def test_what_is_old_or_unfinished_is_swept_away_once_in_a_while(books, spool, monkeypatch):
    with open(f"{spool}/0193.new", "w"):
        pass
    os.utime(f"{spool}/0193.new", (1, 1))
    assert books.prune()
    assert not os.path.exists(f"{spool}/0193.new")
    assert not books.prune(), "not again before an hour is over"


# The file


def broken_by_garbage(path):
    with open(path, "wb") as file:
        file.write(os.urandom(20_000))


def broken_by_other_tables(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE segments (x)")
    db.close()


@pytest.mark.parametrize("spoil", [broken_by_garbage, broken_by_other_tables])
def test_broken_books_are_set_aside_and_new_ones_begun(spoil, home, spool, watch, routing, caplog):
    spoil(f"{spool}/ledger.db")
    write(spool, 1, header(), record(1), footer(1))
    books = Bookkeeper(home, watch, routing)
    keep_all(books)
    assert [count[:2] for count in books.ledger.counts(GUID)] == [("shout", 1)]
    assert any(entry.startswith("ledger.db-") for entry in os.listdir(f"{spool}/damaged"))
    assert any("ledger.db in the spool is broken" in message for message in caplog.messages)
    books.ledger.close()


def test_books_that_break_while_the_daemon_runs_are_set_aside_too(books, spool):
    write(spool, 1, header(), record(1), footer(1))
    keep_all(books)
    broken_by_garbage(f"{spool}/like-this")
    with pytest.raises(sqlite3.DatabaseError) as error, closing(sqlite3.connect(f"{spool}/like-this")) as broken:
        broken.execute("SELECT * FROM segments")
    books.recover(error.value)
    assert books.ledger.counts(GUID) == []
    keep_all(books)
    assert [count[:2] for count in books.ledger.counts(GUID)] == [("shout", 1)]
    assert any(entry.startswith("ledger.db-") for entry in os.listdir(f"{spool}/damaged"))


def test_books_that_only_have_no_room_are_kept(books, spool):
    write(spool, 1, header(), record(1), footer(1))
    keep_all(books)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    books.recover(full)
    assert [count[:2] for count in books.ledger.counts(GUID)] == [("shout", 1)]


def test_books_that_somebody_keeps_locked_are_left_alone(books, home, spool, watch, routing, monkeypatch):
    monkeypatch.setattr(ledgers, "BUSY_S", 0.1)
    write(spool, 1, header(), record(1), footer(1))
    keep_all(books)
    books.ledger.close()
    other = sqlite3.connect(f"{spool}/ledger.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match=r"ledger\.db: cannot be opened now: database is locked; `ave doctor`"):
        Bookkeeper(home, watch, routing)
    other.close()
    again = Bookkeeper(home, watch, routing)
    assert [count[:2] for count in again.ledger.counts(GUID)] == [("shout", 1)]
    assert not os.path.exists(f"{spool}/damaged")
    again.ledger.close()


def test_books_of_a_newer_version_are_left_alone(books, home, watch, routing):
    books.ledger._db.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="schema 99"):
        Bookkeeper(home, watch, routing)
