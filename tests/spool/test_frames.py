"""The lines of a segment, found whole wherever the bytes are cut."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ave.spool.frames import FOOTER, HEADER, LINE_MAX, RECORD, Damage, Line, frame, kind_of, scan

PAYLOADS = [b"{}", b'{"id":"1"}', '{"text":"ö"}'.encode(), b""]
DATA = b"".join(map(frame, PAYLOADS))


def payloads(items):
    return [item.payload for item in items if isinstance(item, Line)]


def test_a_line_is_checksum_length_json():
    assert frame(b'{"a":1}') == b'%08x 00000007 {"a":1}\n' % zlib.crc32(b'00000007 {"a":1}')


def test_what_was_framed_is_found_with_its_place():
    found = scan(DATA, 100, final=True)
    assert payloads(found) == PAYLOADS
    assert found[0].offset == 100
    assert found[-1].end == 100 + len(DATA)
    assert all(before.end == behind.offset for before, behind in pairwise(found))


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize(
    "garbage", [b"garbage\n", b"\n", b"\x00" * 50 + b"\n", b"00000000 00000002 {}\n", frame(b"{}")[:-3] + b"\n"]
)
def test_garbage_between_lines_is_one_wound_and_costs_no_line(garbage, final):
    data = DATA + garbage + garbage + DATA
    found = scan(data, 0, final)
    assert payloads(found) == PAYLOADS + PAYLOADS
    [damage] = [item for item in found if isinstance(item, Damage)]
    assert (damage.offset, damage.end, damage.torn) == (len(DATA), len(DATA + garbage + garbage), False)


def test_a_line_that_holds_a_whole_line_as_text_is_one_line():
    inner = frame(b"{}").rstrip()
    assert payloads(scan(frame(inner), 0, final=True)) == [inner]


@pytest.mark.parametrize("cut", range(len(DATA)))
def test_every_cut_can_be_taken_up_again(cut):
    first = scan(DATA[:cut], 0, final=False)
    here = first[-1].end if first else 0
    assert payloads(first + scan(DATA[here:], here, final=True)) == PAYLOADS


def test_a_line_longer_than_any_writer_makes_is_damage():
    longest = b"x" * LINE_MAX
    assert payloads(scan(frame(longest) + DATA, 0, final=True)) == [longest, *PAYLOADS]
    found = scan(frame(longest + b"x") + DATA, 0, final=True)
    assert payloads(found) == PAYLOADS
    assert isinstance(found[0], Damage)


def test_garbage_without_an_end_is_not_waited_for_for_ever():
    assert scan(b"x" * (LINE_MAX + 18), 0, final=False) == []
    [damage] = scan(b"x" * (LINE_MAX + 19), 0, final=False)
    assert (damage.end, damage.torn) == (LINE_MAX + 19, False)


def test_a_line_without_its_lf_is_unfinished():
    assert scan(frame(b"{}")[:-1], 0, final=False) == []
    [damage] = scan(frame(b"{}")[:-1], 0, final=True)
    assert damage.torn


def test_the_kind_of_a_line_is_told_by_its_first_key():
    assert kind_of(b'{"v":1,"pid":2}') == HEADER
    assert kind_of(b'{"footer":1,"count":2}') == FOOTER
    assert kind_of(b'{"id":"v"}') == kind_of(b"") == RECORD


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30) | st.sampled_from(PAYLOADS).map(frame)), st.booleans())
def test_whatever_the_bytes_every_one_of_them_is_in_one_item_at_most(chunks, final):
    data = b"".join(chunks)
    found = scan(data, 0, final)
    ends = [0, *(item.end for item in found)]
    assert [item.offset for item in found] == ends[:-1]
    assert ends[-1] <= len(data)
    assert ends[-1] == len(data) or not final
    assert all(frame(item.payload)[:-1] == data[item.offset : item.end - 1] for item in found if isinstance(item, Line))


def test_a_line_is_found_behind_damage_that_took_the_border_before_it():
    first, second, third = (frame(b'{"id":"%d"}' % n) for n in range(3))
    data = b"\0" * len(first) + second + third
    found = scan(data, 0, final=False)
    assert [(item.offset, item.end) for item in found] == [
        (0, len(first)),
        (len(first), len(first) + len(second)),
        (len(first) + len(second), len(data)),
    ]
    assert [type(item) for item in found] == [Damage, Line, Line]
