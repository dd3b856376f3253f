"""What an opened store takes for perhaps stored already: all but what it was given, and segments begun since."""

from __future__ import annotations

import pytest

from ave.lab.stores import seen
from ave.spool.segment import Segment
from tests.lab.stores.samples import record

NOW = 1_795_360_000_000_000_000
MS = 1_000_000


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = NOW

        def time_ns(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(seen, "time", made)
    return made


def born(time, seq):
    return record(seq, id=f"{time // MS:012x}{'5' * 14}-{seq}")


def doubtful(one, *batch):
    return [record.body["n"] for record in one.doubtful(batch)]


def test_a_segment_from_before_the_opening_is_doubtful_until_it_was_put(clock):
    one = seen.Seen()
    assert doubtful(one, born(NOW, 1), born(NOW - MS, 2)) == [1, 2]
    one.add([born(NOW, 1)])
    assert doubtful(one, born(NOW, 1), born(NOW, 2), born(NOW - MS, 2)) == [1, 2]
    assert [record.id for record in one.doubtful([born(NOW, 2), born(NOW - MS, 2)])] == [born(NOW - MS, 2).id]


def test_a_segment_that_was_begun_since_is_doubtful_only_where_it_was_put(clock):
    one = seen.Seen()
    clock.now += 5 * MS
    batch = [born(NOW + MS, 1), born(NOW + MS, 2)]
    assert doubtful(one, *batch) == []
    one.add(batch)
    assert doubtful(one, *batch, born(NOW + MS, 3)) == [1, 2]


@pytest.mark.parametrize("name", ["", "odd-1", "x" * 26, "-00000000001", "f" * 26, f"{(NOW + 9 * MS) // MS:012x}"])
def test_a_name_that_does_not_begin_with_a_time_that_has_been_is_doubtful(clock, name):
    one = seen.Seen()
    clock.now += 5 * MS
    assert doubtful(one, record(1, id=f"{name}-1")) == [1]
    assert seen.begun(f"{name}-1") == -(2**63)


def test_when_too_many_segments_are_known_it_is_as_if_just_opened(clock, monkeypatch):
    monkeypatch.setattr(seen, "SEGMENTS_MAX", 2)
    one = seen.Seen()
    clock.now += 5 * MS
    batch = [born(NOW + n * MS, 1) for n in (1, 2, 3)]
    one.add(batch)
    assert doubtful(one, *batch) == [1, 1, 1]
    one.add([])
    assert doubtful(one, *batch) == [1, 1, 1], "they may be stored, though nobody knows any more"


def test_the_time_in_a_name_is_that_of_its_making(tmp_path, clock, monkeypatch):
    # names go on behind a clock that was ahead once
    monkeypatch.setattr("ave.spool.segment._newest_ms", 0)
    monkeypatch.setattr("ave.spool.segment.time", clock)
    made = Segment(str(tmp_path))
    made.leave()
    clock.now += 5 * MS
    # the names of one process are a millisecond apart, and the file had another one while it was made
    assert seen.begun(made.name) == seen.begun(f"{made.name}-17") == NOW + MS
