from __future__ import annotations

import os
from contextlib import closing

import pytest

from ave import io
from ave.lab.logd.account import union
from ave.lab.logd.books import enter, lose_replaced, replaced
from ave.lab.logd.ledger import Gap, Ledger
from ave.record import KINDS
from ave.spool import reader
from ave.spool.cursors import Cursor
from tests.lab.logd.segments import GUID, footer, header, name, record, refusal, write

LIMIT = 1 << 20
WHOLE = [header(), *map(record, range(1, 11)), footer(10)]
STORE = "there"


@pytest.fixture
def read(watch, spool, ledger):
    """Enter all of the spool, and be past as many records of the segment as are given."""

    def enter_all(*, stored=0, store=STORE):
        watch.look()
        while enter(ledger, watch, LIMIT) or ledger.in_batch:
            ledger.commit()
        with closing(Cursor(f"{spool}/cursors/{store}", KINDS)) as cursor:
            cursor.move({name(): (len(b"".join(WHOLE[: stored + 1])), stored)})

    return enter_all


def lost(ledger, watch, *stores):
    """Go through what was replaced; return what the books miss then."""
    watch.look()
    lose_replaced(ledger, watch, replaced(ledger, watch), stores or [STORE])
    assert not replaced(ledger, watch)
    assert ledger.is_read(name())
    return [gap[1:] for gap in ledger.gaps(GUID)]


def written(ledger):
    return sum(count.written for count in ledger.counts(GUID))


CONTENTS = {
    "emptied": ([], [(4, 10, "lost")]),
    "cut behind the cursor": (WHOLE[:8], [(8, 10, "lost")]),
    "cut before the cursor": (WHOLE[:2], [(4, 10, "lost")]),
    "cut in a line": ([*WHOLE[:8], WHOLE[8][:20]], [(8, 10, "lost")]),
    "without some": ([*WHOLE[:6], *WHOLE[8:]], [(6, 7, "lost")]),
    "noise": ([b"\xa5" * 5_000 + b"\n"], [(4, 10, "damaged")]),
    "another's": ([header(), *(record(seq, of=name(7)) for seq in range(1, 11))], [(4, 10, "lost")]),
    "the same": (WHOLE, []),
    "longer": ([*WHOLE, record(11)], []),
}


@pytest.mark.parametrize("deed", CONTENTS)
def test_what_a_replaced_segment_has_no_more_and_no_store_got_is_lost(deed, read, watch, spool, ledger):
    write(spool, 1, *WHOLE)
    read(stored=3)
    content, gaps = CONTENTS[deed]
    write(spool, 1, *content)
    assert lost(ledger, watch) == gaps
    assert {gap[0].segment for gap in ledger.untold(9)} == ({name()} if gaps else set())
    # what was emitted stays emitted; what is news in the other file is emitted, too
    assert written(ledger) == 10 + {"longer": 1, "another's": 10}.get(deed, 0)


def test_a_segment_that_is_cut_where_it_lies_is_gone_through_again(read, watch, spool, ledger):
    write(spool, 1, *WHOLE)
    read(stored=3)
    os.truncate(reader.path(spool, name()), len(b"".join(WHOLE[:6])))
    assert lost(ledger, watch) == [(6, 10, "lost")]


def test_books_that_are_opened_again_know_which_file_they_read(read, watch, spool, ledger):
    write(spool, 1, *WHOLE)
    read()
    write(spool, 1, *WHOLE[:5], WHOLE[5].replace(b"test", b"tost"), *WHOLE[6:])  # as long as the first
    with closing(Ledger(f"{spool}/ledger.db")) as again:
        assert lost(again, watch) == [(5, 5, "damaged")]


def test_what_one_of_several_stores_did_not_get_is_lost(read, watch, spool, ledger):
    write(spool, 1, *WHOLE)
    read(stored=3)
    read(stored=8, store="ahead")
    write(spool, 1, *WHOLE[:6])
    assert lost(ledger, watch, STORE, "ahead") == [(6, 10, "lost")]


def test_without_a_required_store_nothing_is_lost(read, watch, spool, ledger):
    write(spool, 1, *WHOLE)
    read()
    write(spool, 1)
    watch.look()
    lose_replaced(ledger, watch, replaced(ledger, watch), [])
    assert ledger.gaps(GUID) == []


def test_what_was_missing_before_or_refused_is_not_missed_again(read, watch, spool, ledger):
    refused = refusal(9, 6, 8, {"shout": 3})
    write(spool, 1, header(), *map(record, (1, 2, 4, 5)), refused, record(10), footer(10))
    read()
    ledger.tell([Gap(name(), 3, 3, "lost")])
    write(spool, 1, header(), *map(record, (1, 2, 4, 5)), refused)
    assert lost(ledger, watch) == [(3, 3, "lost"), (10, 10, "lost")]
    assert [gap[1:3] for gap, _ in ledger.untold(9)] == [(10, 10)]


def test_what_can_still_grow_is_gone_through_at_its_end(read, watch, spool, ledger):
    segment = write(spool, 1, *WHOLE[:-1])
    fd = io.open_append(reader.path(spool, segment))
    io.lock_shared(fd)
    read(stored=5)
    os.ftruncate(fd, len(header()))
    watch.look()
    assert replaced(ledger, watch) == [segment]
    lose_replaced(ledger, watch, [segment], [STORE])
    assert replaced(ledger, watch) == []
    assert ledger.gaps(GUID) == []
    # grows beyond what was read, which hides the cut; what lies before the cursor is never read by the store
    io.write(fd, b"".join(record(seq) for seq in range(11, 25)))
    read(stored=5)
    io.close(fd)
    with closing(Ledger(f"{spool}/ledger.db")) as again:
        gaps = lost(again, watch)
        assert gaps[0][:2] == (6, 10)
        assert written(again) == 24


def test_one_that_cannot_be_read_now_is_gone_through_later(read, watch, spool, ledger, monkeypatch):
    write(spool, 1, *WHOLE)
    read()
    write(spool, 1, *WHOLE[:6])
    watch.look()
    with monkeypatch.context() as patch:
        patch.setattr(io, "pread", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        lose_replaced(ledger, watch, replaced(ledger, watch), [STORE])
    assert ledger.gaps(GUID) == []
    assert replaced(ledger, watch) == [name()]
    assert lost(ledger, watch) == [(6, 10, "lost")]


def test_ranges_that_overlap_or_touch_become_one():
    assert union([(5, 9), (1, 3), (4, 4), (8, 12), (20, 20)]) == [(1, 12), (20, 20)]
