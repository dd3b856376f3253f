"""How much room an emitter sees, and from whom it knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ave.record import KINDS
from ave.spool import room
from ave.spool.room import Room, used_bytes


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


def fill(directory, size, name="x.seg"):
    path = Path(directory, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))


def asked(directory, quota, *, afresh=False):
    seen = Room(directory, quota)
    seen.ask(afresh=afresh)
    return seen


def test_the_lesser_kinds_have_less_room():
    shares = ["trace", "metric", "request", "log", "stderr", "shout", "verdict"]
    assert [room.SHARES.get(kind, 1.0) for kind in shares] == [0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 1.0]
    assert set(KINDS) - set(shares[:-1]) >= {"verdict", "measurement", "artifact", "exception", "event", "gap"}


@pytest.mark.parametrize(("kind", "takes"), [("trace", 700), ("log", 850), ("shout", 950), ("verdict", 1000)])
def test_a_kind_is_taken_up_to_its_share(directory, kind, takes):
    seen = asked(directory, 1000)
    assert seen.takes(kind, takes)
    assert not seen.takes(kind, takes + 1)
    seen.used = 100
    assert seen.takes(kind, takes - 100)
    assert not seen.takes(kind, takes - 99)


def test_nothing_is_taken_before_it_was_asked(directory):
    assert not Room(directory, 1000).takes("verdict", 1)


def test_all_that_lies_in_the_spool_counts_but_the_books(directory):
    fill(directory, 100)
    fill(directory, 10, "dead/letters")
    fill(directory, 1000, "ledger.db")
    fill(directory, 1000, "ledger.db-wal")
    assert used_bytes(directory) == 110


def test_a_sparse_file_counts_what_it_takes(directory):
    fill(directory, 4096)
    os.truncate(f"{directory}/x.seg", 1 << 40)
    assert used_bytes(directory) < 1 << 20


def test_a_total_that_was_just_noted_is_believed_but_not_afresh(directory):
    fill(directory, 100)
    assert asked(directory, 1000).left["verdict"] == 900
    fill(directory, 500)
    assert asked(directory, 1000).left["verdict"] == 900
    assert asked(directory, 1000, afresh=True).left["verdict"] == 500 - len("100")
    assert Path(directory, "size").read_text() == str(500 + len("100"))


@pytest.mark.parametrize("age_s", [1.5, 3600, -1, -3600])
def test_an_old_note_and_one_of_the_future_are_not_believed(directory, age_s):
    fill(directory, 100)
    note = Path(directory, "size")
    note.write_text("0")
    stamp = note.stat().st_mtime - age_s
    os.utime(note, (stamp, stamp))
    assert asked(directory, 1000).left["verdict"] == 899


@pytest.mark.parametrize("content", [b"", b"x", b"\xff", b"9" * 40, b"1.5"])
def test_nonsense_in_the_note_is_not_believed(directory, content):
    fill(directory, 100)
    Path(directory, "size").write_bytes(content)
    seen = asked(directory, 1000)
    assert seen.left["verdict"] == 900 - len(content) or content == b"9" * 40


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_something_else_in_place_of_the_note_is_no_error(directory, make):
    fill(directory, 100)
    make(f"{directory}/size")
    assert 0 < asked(directory, 1_000_000).left["verdict"] <= 999_900


def test_a_note_that_cannot_be_written_is_no_error(directory, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "full")

    monkeypatch.setattr("ave.io.replace_file", fail)
    assert asked(directory, 1000).left["verdict"] == 1000


def test_it_looks_again_after_a_second_at_most(directory, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    seen = asked(directory, 1000)
    fill(directory, 600)
    os.unlink(f"{directory}/size")
    now[0] += 0.9
    seen.ask(afresh=False)
    assert seen.left["verdict"] == 1000
    now[0] += 0.2
    seen.ask(afresh=False)
    assert seen.left["verdict"] == 400


def test_the_default_is_a_tenth_of_the_disk_and_4_gib_at_most(directory):
    disk = os.statvfs(directory)
    assert room.default_quota(directory) == min(4 << 30, disk.f_frsize * disk.f_blocks // 10)
    assert asked(directory, None).quota == room.default_quota(directory)
