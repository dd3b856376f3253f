from __future__ import annotations

import errno
import fcntl
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
    assert letters.read() == []


def test_letters_keep_record_and_reason_in_their_order(letters):
    letters.add([letter(1), letter(2, "bad\ntype", body={"ä": [1, None]})])
    letters.add([letter(3)])
    assert letters.read() == [letter(1), letter(2, "bad\ntype", body={"ä": [1, None]}), letter(3)]


def test_a_letter_that_a_crash_made_come_twice_is_there_once_with_the_latest_reason(letters):
    letters.add([letter(1), letter(2)])
    letters.add([letter(2, "still too large")])
    assert letters.read() == [letter(1), letter(2, "still too large")]


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
    kept = [found.record.id for found in letters.read()]
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
    assert letters.read() == [letter(1), letter(2), letter(3)]


def test_whoever_takes_letters_leaves_those_that_stay(letters):
    letters.add([letter(1), letter(2), letter(3)])
    with letters.taken() as dead:
        dead.remove(letter(2))
    assert letters.read() == [letter(1), letter(3)]
    with letters.taken() as dead:
        dead.clear()
    assert letters.read() == []


def test_nothing_is_taken_by_one_who_fails(letters):
    letters.add([letter(1), letter(2)])

    def fail():
        with letters.taken() as dead:
            dead.clear()
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert letters.read() == [letter(1), letter(2)]


def test_a_letter_added_while_others_are_taken_is_not_lost(letters, spool):
    letters.add([letter(1)])
    adding = threading.Thread(target=DeadLetters(spool, "embedded").add, args=([letter(2)],))
    with letters.taken() as dead:
        adding.start()
        wait_until(lambda: _waits(letters), what="the other one to wait for the lock")
        dead.clear()
    adding.join()
    assert letters.read() == [letter(2)]


def _waits(letters):
    """Tell whether somebody waits for the lock (proc(5), locks: a waiting one has an arrow)."""
    inode = str(os.stat(f"{letters.directory}/lock").st_ino)
    with open("/proc/locks") as locks:
        return any("->" in line and f":{inode} " in line for line in locks)


def test_the_lock_is_a_real_one(letters):
    letters.add([letter(1)])
    with letters.taken():
        fd = io.open_append(f"{letters.directory}/lock")
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        io.close(fd)
