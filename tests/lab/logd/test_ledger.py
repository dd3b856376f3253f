from __future__ import annotations

import os
import sqlite3
import stat
import time

import pytest

from ave.exceptions import ConfigError
from ave.lab.logd import ledger as ledgers
from ave.lab.logd.ledger import Count, Gap, Ledger
from ave.spool import frames
from tests.lab.logd.segments import GUID, footer, header, line, name, record, refusal

OTHER = "20261122-nightly-18"


def take(ledger, *lines, segment=None, final=True):
    """Enter lines as a reader finds them; return the damage."""
    segment = segment or name()
    return ledger.take(segment, frames.scan(b"".join(lines), ledger.offset(segment), final), final=final)


def counts(ledger, guid=GUID):
    return {count.kind: (count.written, count.refused, count.unrouted) for count in ledger.counts(guid)}


def test_records_are_counted_per_run_and_kind(ledger):
    take(ledger, header(), record(1), record(2), record(3, "log"), record(4, guid=OTHER), footer(4))
    ledger.commit()
    assert counts(ledger) == {"log": (1, 0, 0), "shout": (2, 0, 0)}
    assert counts(ledger, OTHER) == {"shout": (1, 0, 0)}
    assert ledger.gaps(GUID) == []


def test_the_state_of_a_segment_is_told(ledger):
    take(ledger, header(), record(1), final=False)
    ledger.commit()
    assert not ledger.is_read(name())
    assert ledger.offset(name()) == len(header() + record(1))
    take(ledger, footer(1))
    ledger.commit()
    assert ledger.is_read(name())
    assert ledger.segments(GUID) == {name(): (ledgers.READ, 1)}
    assert ledger.hosts(GUID) == ["lab-1"]


def test_a_line_that_comes_twice_counts_once(ledger):
    take(ledger, header(), record(1), record(2), record(1), record(2), final=False)
    ledger.commit()
    take(ledger, record(2), record(1), footer(2))
    ledger.commit()
    assert counts(ledger) == {"shout": (2, 0, 0)}


def test_a_line_copied_into_another_segment_counts_once_whichever_is_read_first(ledger):
    take(ledger, header(), record(1), record(2), segment=name(2), final=False)
    take(ledger, header(), record(1), record(2), record(3), footer(3), segment=name(1))
    take(ledger, record(2), record(3), segment=name(2))
    ledger.commit()
    assert counts(ledger) == {"shout": (3, 0, 0)}
    assert ledger.gaps(GUID) == []


def test_a_copy_that_comes_after_the_footer_of_the_original_counts_once(ledger):
    take(ledger, header(), record(1), record(2), footer(2), segment=name(1))
    ledger.commit()
    take(ledger, header(), record(1), record(2), segment=name(2))
    ledger.commit()
    assert counts(ledger) == {"shout": (2, 0, 0)}


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        ((2, 3), [(1, 1)]),
        ((1, 3), [(2, 2)]),
        ((1, 5), [(2, 4)]),
        ((3, 6, 9), [(1, 2), (4, 5), (7, 8)]),
        ((1, 2), []),
    ],
)
def test_numbers_that_are_missing_are_a_gap(ledger, numbers, gaps):
    take(ledger, header(), *map(record, numbers))
    ledger.commit()
    assert ledger.gaps(GUID) == [Gap(name(), first, last, "lost") for first, last in gaps]


def test_the_last_records_are_missed_when_there_is_a_footer(ledger):
    take(ledger, header(), record(1), footer(4))
    ledger.commit()
    assert ledger.gaps(GUID) == [Gap(name(), 2, 4, "lost")]


@pytest.mark.parametrize(
    ("late", "left"),
    [((2,), [(3, 5)]), ((5,), [(2, 4)]), ((3,), [(2, 2), (4, 5)]), ((2, 3, 4, 5), []), ((4, 2), [(3, 3), (5, 5)])],
)
def test_what_arrives_late_fills_its_gap(ledger, late, left):
    take(ledger, header(), record(1), record(6), footer(6))
    ledger.commit()
    take(ledger, header(), *map(record, late), segment=name(2))
    ledger.commit()
    assert [(gap.first, gap.last) for gap in ledger.gaps(GUID)] == left
    assert counts(ledger) == {"shout": (2 + len(late), 0, 0)}


def test_a_gap_beside_damage_is_called_damaged(ledger):
    wound = b"x" * 40 + b"\n"
    assert [type(item) for item in take(ledger, header(), record(1), wound, record(3))] == [frames.Damage]
    ledger.commit()
    assert ledger.gaps(GUID) == [Gap(name(), 2, 2, "damaged")]


def test_a_torn_end_is_no_damage_and_no_gap(ledger):
    assert take(ledger, header(), record(1), record(2)[:-9]) == []
    ledger.commit()
    assert ledger.gaps(GUID) == []


@pytest.mark.parametrize(
    "odd", [{"id": "x-1"}, {"seq": 1}, {"id": f"{name()}-0"}, {"id": f"{name()}-1", "time": "now"}]
)
def test_a_whole_line_that_is_no_record_is_damage(ledger, odd):
    assert len(take(ledger, header(), line(odd), record(1))) == 1
    ledger.commit()
    assert counts(ledger) == {"shout": (1, 0, 0)}


def test_refusals_are_counted_and_explain_their_numbers(ledger):
    take(ledger, header(), record(1), refusal(5, 2, 4, {"trace": 2, "log": 1}), record(6), footer(6))
    ledger.commit()
    assert counts(ledger) == {"shout": (2, 0, 0), "gap": (1, 0, 0), "trace": (0, 2, 0), "log": (0, 1, 0)}
    assert ledger.gaps(GUID) == []


def test_refusals_that_are_read_twice_count_once(ledger):
    told = refusal(3, 1, 2, {"trace": 2})
    take(ledger, header(), told, told)
    ledger.commit()
    take(ledger, header(), told, segment=name(2))
    ledger.commit()
    assert counts(ledger) == {"gap": (1, 0, 0), "trace": (0, 2, 0)}


@pytest.mark.parametrize(
    ("first", "last", "kinds"),
    [
        (1, 2, {"trace": 3}),
        (-5, 2, {"trace": 8}),
        (1, 10**30, {"trace": 10**30}),
        (1, 2, {"trace": -1, "log": 3}),
        (1, 2, {"trace": "two"}),
        (3, 1, {}),
    ],
)
def test_refusals_that_cannot_be_explain_nothing(ledger, first, last, kinds):
    take(ledger, header(), refusal(3, first, last, kinds))
    ledger.commit()
    assert counts(ledger) == {"gap": (1, 0, 0)}
    assert ledger.gaps(GUID) == [Gap(name(), 1, 2, "lost")]


@pytest.mark.parametrize("count", [10**18, 10**40, -1, "7", None, [[]]])
def test_a_footer_that_cannot_be_says_nothing(ledger, count):
    take(ledger, header(), record(1), footer(count))
    ledger.commit()
    assert ledger.gaps(GUID) == []


def test_a_header_or_footer_too_deep_to_read_hurts_nobody(ledger):
    deep = b"[" * 200_000 + b"]" * 200_000
    take(ledger, frames.frame(b'{"v":' + deep + b"}"), record(1), frames.frame(b'{"footer":' + deep + b"}"))
    ledger.commit()
    assert counts(ledger) == {"shout": (1, 0, 0)}


def test_a_kind_that_no_store_takes_is_counted_as_unrouted(spool):
    ledger = Ledger(f"{spool}/ledger.db", {"log": ["a"]})
    take(ledger, header(), record(1), record(2, "log"), record(3, "of-tomorrow"))
    ledger.commit()
    assert counts(ledger) == {"shout": (1, 0, 1), "log": (1, 0, 0), "of-tomorrow": (1, 0, 1)}
    ledger.close()


def test_a_kind_is_counted_as_unrouted_while_no_store_takes_it_and_for_ever_if_its_segment_goes_then(ledger):
    take(ledger, header(), record(1), footer(1), segment=name(1))
    take(ledger, header(), record(1, of=name(2)), footer(1), segment=name(2))
    ledger.commit()
    ledger.takers = {}
    assert counts(ledger) == {"shout": (2, 0, 2)}
    ledger.delete([name(1)])
    ledger.takers = {"shout": ["a"]}
    assert counts(ledger) == {"shout": (2, 0, 1)}


def test_what_each_store_has_to_have_is_noted_when_a_segment_goes(ledger):
    for number, takers in enumerate((None, {"shout": ["a"]}, {"shout": ["a", "b"]}, {"shout": []}), 1):
        take(ledger, header(), record(1, of=name(number)), footer(1), segment=name(number))
        ledger.commit()
        ledger.takers = takers
        if number == 3:
            ledger.lose(name(number), 2, 1)
        ledger.delete([name(number)])
    take(ledger, header(), record(1, of=name(5)), footer(1), segment=name(5))
    ledger.commit()
    ledger.takers = {"shout": ["c"]}
    assert ledger.counts(GUID) == [Count("shout", 5, due={"a": 2, "b": 1, "c": 1}, unknown=1)]


# Transactions


def test_what_is_not_committed_is_gone_after_a_crash(ledger, spool):
    take(ledger, header(), record(1), final=False)
    ledger.commit()
    take(ledger, record(2))
    ledger.close()
    after = Ledger(f"{spool}/ledger.db")
    assert counts(after) == {"shout": (1, 0, 0)}
    assert after.offset(name()) == len(header() + record(1))
    take(after, record(2))
    after.commit()
    assert counts(after) == {"shout": (2, 0, 0)}
    after.close()


def test_a_rollback_undoes_counts_and_positions(ledger):
    take(ledger, header(), record(1), record(3), final=False)
    assert ledger.in_batch
    ledger.rollback()
    assert not ledger.in_batch
    assert ledger.offset(name()) == 0
    take(ledger, header(), record(1))
    ledger.commit()
    assert counts(ledger) == {"shout": (1, 0, 0)}
    assert ledger.gaps(GUID) == []


def test_a_transaction_that_the_disk_undid_leaves_no_position_behind(ledger):
    take(ledger, header(), record(1))
    ledger._db.execute("ROLLBACK")  # as SQLite does by itself after some errors of the disk
    ledger.rollback()
    assert ledger.offset(name()) == 0
    assert not ledger.is_read(name())


def test_a_full_disk_undoes_the_whole_batch(ledger):
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    take(ledger, header(), *(record(seq, guid=f"run-number-{seq}" * 100) for seq in range(1, 100)))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        ledger.commit()
    ledger.rollback()
    assert ledger.offset(name()) == 0
    ledger._db.execute("PRAGMA max_page_count = 100000")
    take(ledger, header(), record(1))
    ledger.commit()
    assert counts(ledger) == {"shout": (1, 0, 0)}


def test_another_one_that_keeps_the_file_locked_is_not_waited_for_long(spool, monkeypatch):
    monkeypatch.setattr(ledgers, "BUSY_S", 0.05)
    ledger = Ledger(f"{spool}/ledger.db")
    other = sqlite3.connect(f"{spool}/ledger.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        take(ledger, header())
    other.close()
    ledger.close()


# The end of a segment


def test_a_deleted_segment_that_is_read_again_is_not_counted_again(ledger, spool):
    lines = header(), record(1), record(3), refusal(6, 4, 5, {"trace": 2}), footer(6)
    take(ledger, *lines)
    ledger.commit()
    ledger.delete([name()])
    ledger.close()  # and now the process dies before it can unlink
    after = Ledger(f"{spool}/ledger.db")
    assert after.offset(name()) == 0
    take(after, *lines)
    after.commit()
    assert counts(after) == {"shout": (2, 0, 0), "gap": (1, 0, 0), "trace": (0, 2, 0)}
    assert after.gaps(GUID) == [Gap(name(), 2, 2, "lost")]
    after.close()


def test_a_segment_vanishes_with_what_was_in_it_whether_it_had_a_footer_or_not(ledger):
    take(ledger, header(), record(1), record(2), footer(2), segment=name(1))
    take(ledger, header(), record(1, of=name(2)), record(2, of=name(2)), segment=name(2), final=False)
    take(ledger, header(), record(1, of=name(3)), footer(1), segment=name(3))
    take(ledger, segment=name(4))  # empty: there was nothing in it
    ledger.commit()
    ledger.delete([name(3)])
    assert ledger.vanished(set()) == {name(1): 2, name(2): 2}
    assert ledger.vanished({name(1)}) == {name(2): 2}


def test_what_vanished_is_a_gap_of_its_run_and_is_told(ledger):
    take(ledger, header(), record(1), record(2), record(3), footer(3))
    ledger.commit()
    gap = Gap(name(), 2, 3, "lost")
    assert ledger.lose(name(), 2, 3) == gap
    assert ledger.gaps(GUID) == [gap]
    assert ledger.untold(10) == [(gap, GUID)]
    assert ledger.vanished(set()) == {}


def test_what_vanished_after_it_was_stored_is_no_gap(ledger):
    take(ledger, header(), record(1), footer(1))
    ledger.commit()
    assert ledger.lose(name(), 2, 1) is None
    assert ledger.gaps(GUID) == []
    assert ledger.vanished(set()) == {}


def test_gaps_are_told_once_their_segment_is_read_to_the_end_and_then_never_again(ledger):
    take(ledger, header(), record(2), record(4), final=False)
    ledger.commit()
    assert ledger.untold(10) == []
    take(ledger, footer(4))
    ledger.commit()
    gaps = [(Gap(name(), 1, 1, "lost"), GUID), (Gap(name(), 3, 3, "lost"), GUID)]
    assert ledger.untold(10) == gaps
    assert ledger.untold(1) == gaps[:1]
    ledger.tell([gap for gap, _ in gaps])
    assert ledger.untold(10) == []
    assert len(ledger.gaps(GUID)) == 2


def test_a_gap_in_a_segment_of_several_runs_is_nobodys(ledger):
    take(ledger, header(), record(2), record(3, guid=OTHER), footer(3))
    ledger.commit()
    assert ledger.untold(10) == [(Gap(name(), 1, 1, "lost"), "")]


def test_books_of_segments_deleted_long_ago_are_dropped_and_no_others(ledger, monkeypatch):
    monkeypatch.setattr(ledgers, "KEPT_SEGMENTS", 0)
    for number in (1, 2, 3):
        take(ledger, header(), record(2, of=name(number), guid=f"run-number-{number}"), footer(2), segment=name(number))
    ledger.commit()
    ledger.delete([name(1), name(2)])
    old = int(time.time()) - ledgers.KEPT_DAYS * 86400 - 10
    ledger._db.execute("UPDATE segments SET changed = ? WHERE name != ?", (old, name(2)))
    ledger.prune()
    assert [counts(ledger, f"run-number-{number}") for number in (1, 2, 3)] == [{}, *[{"shout": (1, 0, 0)}] * 2]
    assert ledger._db.execute("SELECT count(*) FROM gaps").fetchone() == (2,)


def test_a_clock_that_is_wrong_for_a_while_drops_no_books_of_the_newest_segments(ledger, monkeypatch):
    monkeypatch.setattr(ledgers, "KEPT_SEGMENTS", 2)
    for number in (1, 2, 3):
        take(ledger, header(), record(1, of=name(number), guid=f"run-number-{number}"), segment=name(number))
    ledger.commit()
    ledger.delete([name(1), name(2), name(3)])
    in_ten_years = time.time() + 10 * 365 * 86400
    monkeypatch.setattr(ledgers.time, "time", lambda: in_ten_years)
    ledger.prune()
    assert [bool(ledger.counts(f"run-number-{number}")) for number in (1, 2, 3)] == [False, True, True]


# The file


def test_nobody_else_may_read_the_file(spool):
    mask = os.umask(0)
    try:
        ledger = Ledger(f"{spool}/ledger.db")
        take(ledger, header(), record(1))
        ledger.commit()
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(spool)}
    finally:
        os.umask(mask)
    assert set(modes) == {"ledger.db", "ledger.db-shm", "ledger.db-wal"}
    assert set(modes.values()) == {0o600}
    ledger.close()


def test_a_file_of_a_newer_version_is_refused_with_its_version(ledger, spool):
    ledger._db.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match=r"ledger\.db has schema 99, this ave-logd knows \d+: upgrade ave-logging"):
        Ledger(f"{spool}/ledger.db")


def test_an_older_file_is_brought_up_to_date_step_by_step(spool, monkeypatch):
    Ledger(f"{spool}/ledger.db").close()
    monkeypatch.setattr(
        ledgers, "MIGRATIONS", (*ledgers.MIGRATIONS, "CREATE TABLE more (x);", "INSERT INTO more VALUES (1);")
    )
    ledger = Ledger(f"{spool}/ledger.db")
    assert ledger._db.execute("SELECT x FROM more").fetchone() == (1,)
    ledger.close()
    ledger = Ledger(f"{spool}/ledger.db")  # no step is taken twice
    assert ledger._db.execute("SELECT count(*) FROM more").fetchone() == (1,)
    ledger.close()


def test_books_from_before_the_stores_were_noted_say_so(spool, monkeypatch):
    steps = ledgers.MIGRATIONS
    monkeypatch.setattr(ledgers, "MIGRATIONS", steps[:2])
    Ledger(f"{spool}/ledger.db").close()
    with sqlite3.connect(f"{spool}/ledger.db") as db:
        for number, state in ((1, ledgers.DELETED), (2, ledgers.READ)):
            db.execute("INSERT INTO segments (name, offset, top, state) VALUES (?, 9, 5, ?)", (name(number), state))
            db.execute("INSERT INTO counts VALUES (?, 'shout', ?, 5, 1, 2)", (GUID, name(number)))
    db.close()
    monkeypatch.setattr(ledgers, "MIGRATIONS", steps)
    ledger = Ledger(f"{spool}/ledger.db", {"shout": ["a"]})
    assert ledger.counts(GUID) == [Count("shout", 10, 2, 2, {"a": 5}, 3)]
    ledger.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(spool, monkeypatch):
    Ledger(f"{spool}/ledger.db").close()
    steps = ledgers.MIGRATIONS
    monkeypatch.setattr(ledgers, "MIGRATIONS", (*steps, "CREATE TABLE more (x); CREATE TABLE more (x);"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Ledger(f"{spool}/ledger.db")
    monkeypatch.setattr(ledgers, "MIGRATIONS", steps)
    ledger = Ledger(f"{spool}/ledger.db")
    assert ledger._db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)
    ledger.close()


def test_a_copy_knows_all_and_changes_nothing(ledger, spool):
    take(ledger, header(), record(1), final=False)
    ledger.commit()
    copy = Ledger.copy_of(f"{spool}/ledger.db", {"log": ["a"]})
    assert copy.offset(name()) == ledger.offset(name())
    take(copy, record(2))
    copy.commit()
    assert counts(copy) == {"shout": (2, 0, 2)}
    assert counts(ledger) == {"shout": (1, 0, 0)}
    copy.close()


@pytest.mark.parametrize("odd", ["what?", "100%", "#1", "a b", "äöü"])
def test_a_copy_is_made_whatever_the_path(odd, tmp_path):
    path = str(tmp_path / odd / "ledger.db")
    os.mkdir(os.path.dirname(path))
    ledger = Ledger(path)
    take(ledger, header(), record(1))
    ledger.commit()
    copy = Ledger.copy_of(path, {"shout": ["a"]})
    assert counts(copy) == {"shout": (1, 0, 0)}
    copy.close()
    ledger.close()


def test_a_copy_of_no_file_is_empty_and_makes_none(spool):
    copy = Ledger.copy_of(f"{spool}/none.db", {"log": ["a"]})
    assert copy.counts(GUID) == []
    copy.close()
    assert not os.path.exists(f"{spool}/none.db")
