"""The equation of the audit, term by term: emitted = stored + dead + refused + waiting."""

# ruff: noqa: F811 - the names of fixtures that are imported
from __future__ import annotations

import os
import sqlite3
import threading

import pytest

from ave import home as homes
from ave import spool as emit
from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab import audit as audits
from ave.lab.audit import Audit, Row, audit
from ave.lab.logd.ledger import Gap
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import Rejected
from ave.record import KINDS, Record
from ave.spool import reader
from ave.spool.cursors import Cursor
from ave.testing import wait_until
from tests.lab.logd.conftest import configure, daemon, home, spool, store  # noqa: F401 - the fixtures of the daemon
from tests.lab.logd.segments import GUID, fields, footer, header, name, record, refusal, write

OTHER = "20261122-nightly-18"


@pytest.fixture(autouse=True)
def _ready(daemon):
    """Every kind but verdicts, measurements and artifacts goes to `store`."""


@pytest.fixture
def memory(home):
    """The name of the store in memory."""
    [route] = [route for route in audits.Routing.read(home).routes if route.url.startswith("memory:")]
    return route.name


def row(home, kind="shout", guid=GUID):
    [found] = [found for found in audit(home, guid).rows if found.kind == kind]
    return found


def test_nothing_is_known_of_a_run_that_never_was(home):
    assert audit(home, GUID) == Audit(GUID, [], [])


def test_an_audit_of_a_home_that_is_not_there_makes_nothing(tmp_path):
    audit(str(tmp_path / "none"), GUID)
    assert not (tmp_path / "none").exists()


def test_what_is_delivered_is_stored(home, spool, daemon, memory):
    write(spool, 1, header(), record(1), record(2), record(3, "log"), record(4, guid=OTHER), footer(4))
    daemon().drain()
    assert audit(home, GUID) == Audit(
        GUID,
        [Row("log", 1, {memory: 1}, 0, 0, 0, True), Row("shout", 2, {memory: 2}, 0, 0, 0, True)],
        [],
    )
    assert row(home, guid=OTHER).emitted == 1


def test_what_is_in_the_spool_only_waits_whether_the_books_know_it_or_not(home, spool, store, daemon, memory):
    write(spool, 1, header(), record(1), record(2), footer(2))
    assert row(home) == Row("shout", 2, {memory: 0}, 0, 0, 2, True)
    store.down = True
    one = daemon()
    one.watch.look()
    one.books.keep()
    store.down = False
    write(spool, 2, header(), record(1, of=name(2)))
    assert row(home) == Row("shout", 3, {memory: 0}, 0, 0, 3, True)
    assert audit(home, GUID).waiting == 3


def test_what_is_stored_but_not_behind_the_cursor_does_not_wait(home, spool, store, memory):
    write(spool, 1, header(), record(1), record(2), footer(2))
    store.put([Record(**fields(1))])
    assert row(home) == Row("shout", 2, {memory: 1}, 0, 0, 1, True)


def test_an_audit_changes_nothing(home, spool, daemon, store):
    write(spool, 1, header(), record(1), b"damage\n", record(3), footer(3))
    os.mkfifo(reader.path(spool, name(2)))
    before = sorted(os.listdir(spool))
    audit(home, GUID)
    assert sorted(os.listdir(spool)) == before


def test_a_dead_letter_counts_as_dead(home, spool, store, daemon, memory):
    write(spool, 1, header(), *map(record, range(1, 6)), footer(5))
    store.reject = lambda record: "too large" if record.body["n"] in {2, 4} else ""
    daemon().drain()
    assert row(home) == Row("shout", 5, {memory: 3}, 2, 0, 0, True)


def test_a_dead_letter_whose_record_is_stored_all_the_same_is_not_dead(home, spool, store, daemon, memory):
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    DeadLetters(spool, memory).add([Rejected(Record(**fields(2)), "too large, it was")])
    assert row(home) == Row("shout", 2, {memory: 2}, 0, 0, 0, True)


def test_a_dead_letter_with_other_content_than_the_stored_record_is_dead(home, spool, store, daemon, memory):
    store.put([Record(**fields(2, body={"n": "another"}, guid=OTHER))])
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    assert row(home) == Row("shout", 2, {memory: 1}, 1, 0, 0, True)


def test_dead_letters_are_looked_for_once_per_kind(home, spool, store, daemon, memory, monkeypatch):
    write(spool, 1, header(), *map(record, range(1, 30)), record(30, "log"), footer(30))
    store.reject = lambda record: "too large"
    daemon().drain()
    store.reject = lambda record: ""
    store.put([Record(**fields(9))])
    queries = []
    monkeypatch.setattr(store, "find", lambda query: queries.append(query) or type(store).find(store, query))
    assert row(home) == Row("shout", 29, {memory: 1}, 28, 0, 0, True)
    assert [query.kinds for query in queries] == [{"log"}, {"shout"}]


def test_a_dead_letter_that_no_query_can_name_hides_no_other(home, spool, store, daemon, memory, monkeypatch):
    write(spool, 1, header(), record(1), record(2), record(3, time=-5), footer(3))
    daemon().drain()
    del store.records[f"{name(1)}-3"]
    letters = [Record(**fields(1)), Record(**fields(2)), Record(**fields(3, time=-5))]
    DeadLetters(spool, memory).add([Rejected(letter, "odd") for letter in letters])

    def find(query):
        if query.since < 0:
            raise UsageError("no record has such a time")
        return type(store).find(store, query)

    monkeypatch.setattr(store, "find", find)
    assert row(home) == Row("shout", 3, {memory: 2}, 1, 0, 0, True)


def test_refusals_count_as_refused(home, spool, daemon, memory):
    write(spool, 1, header(), record(1), refusal(4, 2, 3, {"trace": 2}), footer(4))
    daemon().drain()
    assert [found[:6] for found in audit(home, GUID).rows] == [
        ("gap", 1, {memory: 1}, 0, 0, 0),
        ("shout", 1, {memory: 1}, 0, 0, 0),
        ("trace", 2, {memory: 0}, 0, 2, 0),
    ]
    assert audit(home, GUID).ok


def test_a_kind_that_no_store_takes_counts_as_refused(home, spool, daemon, configure):
    configure("mysql", enabled=False)
    write(spool, 1, header(), record(1, "measurement"), footer(1))
    daemon().drain()
    assert row(home, "measurement") == Row("measurement", 1, {}, 0, 1, 0, True, dropped=1)


def test_with_several_stores_each_required_one_must_have_it_all(home, spool, store, configure, daemon, memory):
    configure("elasticsearch", url="sqlite:///$HOME/search.db")
    write(spool, 1, header(), record(1), record(2), footer(2))
    assert daemon().drain() == 0
    found = row(home)
    assert found.ok
    assert sorted(found.stored.values()) == [2, 2]
    with sqlite3.connect(f"{home}/search.db") as db:
        db.execute("DELETE FROM records WHERE id LIKE '%-2'")
    db.close()
    assert not row(home).ok


def test_a_store_that_is_not_required_is_shown_and_may_lack_some_or_be_away(home, spool, store, configure, daemon):
    configure("elasticsearch", url="sqlite:///$HOME/search.db", required=False)
    write(spool, 1, header(), record(1), footer(1))
    os.mkdir(f"{home}/search.db")
    daemon().drain()
    assert row(home).ok
    assert len(row(home).stored) == 1
    os.rmdir(f"{home}/search.db")
    daemon().drain()
    assert sorted(row(home).stored.values()) == [1, 1]


# What does not balance


def test_a_record_that_the_store_lost_does_not_balance(home, spool, store, daemon):
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    del store.records[f"{name(1)}-2"]
    assert not row(home).ok
    assert not audit(home, GUID).ok


def test_a_record_that_nobody_emitted_does_not_balance(home, spool, store, daemon):
    write(spool, 1, header(), record(1), footer(1))
    daemon().drain()
    store.put([Record(**fields(7)), Record(**fields(8, "log"))])
    assert not row(home).ok
    assert not row(home, "log").ok


def test_a_cursor_ahead_of_the_store_does_not_balance(home, spool, memory):
    segment = write(spool, 1, header(), record(1), footer(1))
    cursor = Cursor(f"{spool}/cursors/{memory}", KINDS)
    cursor.move({segment: (os.path.getsize(reader.path(spool, segment)), 1)})
    cursor.close()
    assert not row(home).ok


@pytest.mark.parametrize("first", [1, 2, 5])
def test_a_record_missing_in_a_segment_is_named_before_and_after_the_daemon_saw_it(first, home, spool, daemon):
    write(spool, 1, header(), *(record(seq) for seq in range(1, 6) if seq != first), footer(5))
    gap = Gap(name(1), first, first, "lost")
    assert audit(home, GUID).gaps == [gap]
    daemon().drain()
    found = audit(home, GUID)
    assert found.gaps == [gap]
    assert not found.ok
    assert all(row.ok for row in found.rows), "what is there is accounted for"


def test_a_segment_that_vanished_is_named_before_and_after_the_daemon_saw_it(home, spool, store, daemon):
    write(spool, 1, header(), *map(record, range(1, 6)), footer(5))
    store.down = True
    daemon().drain()
    store.down = False
    os.unlink(reader.path(spool, name(1)))
    gap = Gap(name(1), 1, 5, "lost")
    assert audit(home, GUID).gaps == [gap]
    daemon().drain()
    assert audit(home, GUID).gaps == [gap]
    assert not row(home).ok


def test_what_a_segment_that_was_cut_had_is_named_before_and_after_the_daemon_saw_it(home, spool, store, daemon):
    write(spool, 1, header(), *map(record, range(1, 6)), footer(5))
    store.down = True
    daemon().drain()
    store.down = False
    write(spool, 1, header(), record(1), record(2))
    gap = Gap(name(1), 3, 5, "lost")
    assert audit(home, GUID).gaps == [gap]
    daemon().drain()
    found = audit(home, GUID)
    assert found.gaps == [gap]
    assert (row(home).emitted, *row(home).stored.values()) == (5, 2)


def test_the_json_form_has_what_the_design_says(home, spool, daemon, memory):
    write(spool, 1, header(), record(2), footer(2))
    daemon().drain()
    assert audit(home, GUID).as_dict() == {
        "guid": GUID,
        "ok": False,
        "rows": [
            {"kind": "gap", "emitted": 1, "stored": {memory: 1}, "dead": 0, "refused": 0, "waiting": 0},
            {"kind": "shout", "emitted": 1, "stored": {memory: 1}, "dead": 0, "refused": 0, "waiting": 0},
        ],
        "gaps": [{"segment": name(1), "first": 1, "last": 1, "reason": "lost"}],
    }


# Who cannot be asked


def test_a_required_store_that_is_away_proves_nothing_and_the_rest_is_told(home, spool, store, daemon, memory):
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    write(spool, 2, header(), record(1, of=name(2)), footer(1))
    store.down = True
    found = audit(home, GUID)
    assert found.rows == [Row("shout", 3, {memory: None}, 0, 0, 1, True)]
    assert found.away == {memory: "the store is down"}
    assert not found.ok
    assert found.as_dict()["away"] == {memory: "the store is down"}


def test_a_required_store_that_a_person_has_to_mend_is_an_error(home, spool, store):
    store.refusing = True
    with pytest.raises(ConfigError):
        audit(home, GUID)


@pytest.fixture
def deaf(store, configure):
    """The store in memory, of verdicts, too, which it takes but cannot be asked for."""
    configure("decibel", enabled=True, url="memory://here")
    store.answers = False
    store.count = store.find = None
    return store


def test_what_a_store_that_cannot_be_asked_has_not_acknowledged_waits(home, spool, deaf, daemon, memory):
    write(spool, 1, header(), record(1, "verdict"), footer(1))
    deaf.down = True
    assert daemon().drain() == 1
    assert row(home, "verdict") == Row("verdict", 1, {memory: 0}, 0, 0, 1, True)
    deaf.down = False
    daemon().drain()
    assert row(home, "verdict") == Row("verdict", 1, {memory: 1}, 0, 0, 0, True)


def test_the_dead_letters_of_a_store_that_cannot_be_asked_count_as_dead(home, spool, deaf, daemon, memory):
    deaf.reject = lambda record: "too large" if record.body["n"] == 2 else ""
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    assert row(home) == Row("shout", 2, {memory: 1}, 1, 0, 0, True)


# Stores that come and go


def test_a_store_that_is_named_later_is_not_asked_for_what_went_before(home, spool, store, configure, daemon, memory):
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    configure("elasticsearch", url="sqlite:///$HOME/search.db")
    [search] = set(row(home).stored) - {memory}
    assert row(home) == Row("shout", 2, {memory: 2, search: 0}, 0, 0, 0, True, earlier={search: 2})
    write(spool, 2, header(), record(1, of=name(2)), footer(1))
    daemon().drain()
    assert row(home) == Row("shout", 3, {memory: 3, search: 1}, 0, 0, 0, True, earlier={search: 2})
    with sqlite3.connect(f"{home}/search.db") as db:
        db.execute("DELETE FROM records")
    db.close()
    assert not audit(home, GUID).ok
    assert row(home).missing == {search: 1}


def test_a_store_that_became_a_required_one_may_have_what_came_before(home, spool, configure, daemon, memory):
    configure("elasticsearch", url="sqlite:///$HOME/search.db", required=False)
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    configure("elasticsearch", url="sqlite:///$HOME/search.db")
    [search] = set(row(home).stored) - {memory}
    assert row(home) == Row("shout", 2, {memory: 2, search: 2}, 0, 0, 0, True)
    write(spool, 2, header(), record(1, of=name(2)), footer(1))
    assert row(home) == Row("shout", 3, {memory: 2, search: 2}, 0, 0, 1, True)
    daemon().drain()
    assert row(home) == Row("shout", 3, {memory: 3, search: 3}, 0, 0, 0, True)


def test_after_a_move_the_old_store_answers_for_what_it_took_if_it_is_still_there(home, spool, configure, daemon):
    configure("panotti", enabled=True)
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    configure("panotti", enabled=True, url="memory://here")
    found = row(home)
    assert found.ok
    assert sorted(found.stored.values()) == [0, 2]
    assert list(found.earlier.values()) == [2]
    with sqlite3.connect(f"{home}/.ave/lab.db") as db:
        db.execute("DELETE FROM records WHERE id LIKE '%-2'")
    db.close()
    assert row(home).missing == {"embedded": 1}
    assert not row(home).ok


def test_what_a_store_took_that_no_file_names_any_more_is_told(home, spool, configure, daemon, memory):
    write(spool, 1, header(), record(1), footer(1))
    daemon().drain()
    configure("panotti", enabled=False)
    assert row(home) == Row("shout", 1, {}, 0, 0, 0, True, elsewhere={memory: 1})


def test_what_went_before_anybody_noted_the_stores_is_held_against_one_that_has_some(
    home, spool, store, daemon, memory
):
    write(spool, 1, header(), record(1), record(2), footer(2))
    daemon().drain()
    with sqlite3.connect(f"{spool}/ledger.db") as db:
        db.execute("UPDATE segments SET routing = 0")
    db.close()
    assert row(home) == Row("shout", 2, {memory: 2}, 0, 0, 0, True)
    del store.records[f"{name(1)}-2"]
    assert row(home).missing == {memory: 1}
    store.records.clear()
    assert row(home) == Row("shout", 2, {memory: 0}, 0, 0, 0, True, earlier={memory: 2})


def test_a_kind_that_gets_a_store_in_time_is_no_more_refused(home, spool, configure, daemon):
    configure("decibel", enabled=False)
    write(spool, 1, header(), record(1, "verdict"))
    one = daemon()
    one.watch.look()
    one.books.keep()
    assert row(home, "verdict") == Row("verdict", 1, {}, 0, 1, 0, True, dropped=1)
    configure("decibel", enabled=True, url="sqlite:///$HOME/other.db")
    daemon().drain()
    found = row(home, "verdict")
    assert (found.refused, list(found.stored.values()), found.ok) == (0, [1], True)


def test_what_a_store_passed_by_before_it_was_to_take_it_waits_until_ave_logd_knows(
    home, spool, store, configure, daemon, memory
):
    configure("decibel", enabled=True, url="mysql://127.0.0.1:1/away")
    write(spool, 1, header(), record(1), record(2, "verdict"), footer(2))
    assert daemon().drain() == 1
    configure("decibel", enabled=True, url="memory://here")
    found = row(home, "verdict")
    assert (found.waiting, found.ok) == (1, True)
    assert row(home).waiting == 0
    daemon().drain()
    found = row(home, "verdict")
    assert (found.stored, found.waiting, found.ok) == ({memory: 1}, 0, True)


def test_a_kind_that_had_no_store_when_its_segment_went_stays_refused(home, spool, configure, daemon):
    configure("decibel", enabled=False)
    write(spool, 1, header(), record(1, "verdict"), footer(1))
    daemon().drain()
    configure("decibel", enabled=True)
    found = row(home, "verdict")
    assert (found.refused, found.dropped, found.ok, found.earlier) == (1, 1, True, {})


def test_a_broken_ledger_is_an_error_with_its_path(home, spool):
    with open(f"{spool}/ledger.db", "wb") as file:
        file.write(os.urandom(20_000))
    with pytest.raises(StoreUnavailable, match=r"spool/ledger\.db cannot be read: .*; `ave doctor` tells the mend"):
        audit(home, GUID)


def test_a_broken_configuration_is_an_error(home, configure):
    with open(homes.config_file("panotti", home), "w") as file:
        file.write("{")
    with pytest.raises(ConfigError, match=r"panotti\.json"):
        audit(home, GUID)


# In motion


def test_a_segment_that_is_removed_while_one_looks_is_not_taken_for_lost(home, spool, store, daemon, monkeypatch):
    write(spool, 1, header(), record(1), record(2), footer(2))
    store.down = True
    daemon().drain()
    store.down = False
    real = audits.Ledger.copy_of

    def copy_of(path, routed):
        copy = real(path, routed)
        daemon().drain()  # delivers and removes the segment behind our back
        return copy

    monkeypatch.setattr(audits.Ledger, "copy_of", copy_of)
    assert audit(home, GUID).ok
    assert reader.list_segments(spool) == []


def test_what_is_emitted_and_stored_while_one_looks_is_in_the_books_too(home, spool, store, daemon, monkeypatch):
    monkeypatch.setattr(audits, "TRIES", 1)
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()

    def count(guid, hosts=()):
        write(spool, 2, header(), record(1, of=name(2)), footer(1))
        one.watch.look()
        for shipper in one.shippers:
            while shipper.step():
                pass
        return type(store).count(store, guid, hosts)

    monkeypatch.setattr(store, "count", count)
    found = audit(home, GUID)
    assert found.ok
    assert [row.emitted for row in found.rows] == [2]


def test_it_balances_at_every_moment_while_jobs_emit_and_the_daemon_ships(home, configure, daemon):
    configure("panotti", enabled=True)
    one = daemon()
    serving = threading.Thread(target=one.serve)
    ending = threading.Event()

    def job():
        while not ending.wait(0.002):
            emit.append_all("shout", GUID, ({"n": n} for n in range(20)), source="test")
            emit.close()

    emitting = threading.Thread(target=job)
    serving.start()
    emitting.start()
    try:
        wait_until(lambda: audit(home, GUID).rows)
        found = [audit(home, GUID) for _ in range(30)]
    finally:
        ending.set()
        emitting.join()
        one.stop()
        serving.join()
    assert [one for one in found if not one.ok] == []
    assert found[0].rows[0].emitted < found[-1].rows[0].emitted, "void: nothing moved"
    daemon().drain()
    last = audit(home, GUID)
    assert last.ok
    assert last.waiting == 0
