from __future__ import annotations

import errno
import os
import stat
import threading

import pytest

from ave import io
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import Rejected
from ave.record import Record
from ave.spool import frames
from ave.testing import wait_until
from tests.lab.logd.segments import fields


def letter(seq, reason="too large", **others):
    return Rejected(Record(**fields(seq, **others)), reason)


@pytest.fixture
def letters(spool):
    return DeadLetters(spool, "embedded")


def test_there_are_none_at_first(letters):
    assert list(letters.read()) == []


def test_letters_keep_record_and_reason_in_their_order(letters):
    letters.add([letter(1), letter(2, "bad\ntype", body={"ä": [1, None]})])
    letters.add([letter(3)])
    assert list(letters.read()) == [letter(1), letter(2, "bad\ntype", body={"ä": [1, None]}), letter(3)]


def test_a_letter_that_a_crash_made_come_twice_is_given_once(letters):
    letters.add([letter(1), letter(2)])
    letters.add([letter(2, "still too large"), letter(3)])
    assert list(letters.read()) == [letter(1), letter(2), letter(3)]


@pytest.mark.parametrize(
    "reason", ["x" * frames.LINE_MAX, "\udcff\udc00", "ä" * frames.LINE_MAX, "\0" * frames.LINE_MAX]
)
def test_whatever_a_store_says_the_letter_can_be_read_again(letters, reason):
    text = "y" * (frames.LINE_MAX - 300)
    letters.add([letter(1, reason, body={"text": text}), letter(2)])
    first, second = letters.read()
    assert (first.record.body["text"], second) == (text, letter(2))
    assert first.reason
    assert len(first.reason) <= 4000


def test_letters_are_read_a_page_at_a_time(letters, monkeypatch):
    monkeypatch.setattr("ave.lab.logd.letters.LETTER_MAX", 300)
    monkeypatch.setattr("ave.lab.logd.letters.PAGE", 600)
    all_of_them = [letter(number) for number in range(1, 30)]
    letters.add(all_of_them)
    for size in range(600, 900):
        monkeypatch.setattr("ave.lab.logd.letters.PAGE", size)
        assert list(letters.read()) == all_of_them


def test_nobody_else_may_read_them(letters, spool):
    letters.add([letter(1)])
    assert stat.S_IMODE(os.stat(letters.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(f"{spool}/dead").st_mode) == 0o700


@pytest.mark.parametrize("cut", range(0, 260, 13))
def test_a_letter_that_a_crash_cut_swallows_no_other(letters, cut):
    letters.add([letter(1), letter(2)])
    whole = frames.scan(io.read_file(letters.path, 1 << 20), 0, final=True)
    os.truncate(letters.path, whole[-1].offset + min(cut, whole[-1].end - whole[-1].offset - 1))
    letters.add([letter(3), letter(4)])
    kept = [found.record.id for found in list(letters.read())]
    assert kept[-2:] == [letter(3).record.id, letter(4).record.id]
    assert kept[0] == letter(1).record.id


def test_add_returns_only_when_they_are_on_the_disk(letters, monkeypatch):
    synced = []
    monkeypatch.setattr(io, "sync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(io, "sync_dir", synced.append)
    letters.add([letter(1)])
    assert synced[-2:] == [letters.path, letters.directory]


@pytest.mark.parametrize("room", [0, 1, 100, 300])
def test_a_disk_that_takes_only_a_part_is_an_error(room, letters, monkeypatch):
    letters.add([letter(1)])
    monkeypatch.setattr(io, "write", lambda fd, data: os.write(fd, data[:room]))
    with pytest.raises(OSError, match="No space") as error:
        letters.add([letter(2), letter(3)])
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    letters.add([letter(2), letter(3)])
    assert list(letters.read()) == [letter(1), letter(2), letter(3)]


def test_letters_that_were_taken_are_gone_but_for_those_that_were_put_back(letters):
    letters.add([letter(1), letter(2), letter(3)])
    with letters.taken() as dead:
        taken = list(dead)
        letters.add([letter(2, "again")])
        assert list(letters.read()) == taken, "whether they are stored is not known yet"
    assert taken == [letter(1), letter(2), letter(3)]
    assert list(letters.read()) == [letter(2, "again")]
    with letters.taken() as dead:
        assert list(dead) == [letter(2, "again")]
    assert not letters.are_there()
    assert list(letters.read()) == []


def test_nothing_is_taken_by_one_who_fails(letters):
    letters.add([letter(1), letter(2)])

    def fail():
        with letters.taken():
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert letters.are_there()
    letters.add([letter(3)])
    assert list(letters.read()) == [letter(1), letter(2), letter(3)]
    with letters.taken() as dead:
        assert list(dead) == [letter(1), letter(2), letter(3)]
    assert list(letters.read()) == []


def test_a_letter_is_added_while_others_are_taken_and_not_lost(letters):
    letters.add([letter(1)])
    with letters.taken() as dead:
        letters.add([letter(2)])
        assert list(dead) == [letter(1)]
    assert list(letters.read()) == [letter(2)]


def test_letters_are_taken_by_one_at_a_time(letters, spool):
    letters.add([letter(1)])
    found = []

    def take():
        with DeadLetters(spool, "embedded").taken() as dead:
            found.extend(dead)

    other = threading.Thread(target=take)
    with letters.taken() as dead:
        other.start()
        wait_until(lambda: _waits(letters), what="the other one to wait for the lock")
        letters.add([letter(2)])
        assert list(dead) == [letter(1)]
    other.join()
    assert found == [letter(2)]
    with letters.taken() as dead:
        assert list(dead) == [], "another one took them meanwhile"


def _waits(letters):
    """Tell whether somebody waits for the lock (proc(5), locks: a waiting one has an arrow)."""
    inode = str(os.stat(f"{letters.directory}/taking").st_ino)
    with open("/proc/locks") as locks:
        return any("->" in line and f":{inode} " in line for line in locks)
