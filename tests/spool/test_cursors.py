"""R7, the file: a cursor that is lost, cut, zeroed or old is only an old position."""

from __future__ import annotations

import os

import pytest

from ave.record import KINDS
from ave.spool import cursors, frames
from ave.spool.cursors import Cursor


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "cursors" / "store")


def test_positions_survive_and_the_last_one_holds(path):
    cursor = Cursor(path, KINDS)
    assert cursor.positions == {}
    cursor.move({"a": (10, 1), "b": (20, 2)})
    cursor.move({"a": (30, 3)})
    cursor.sync()
    assert Cursor(path, KINDS).positions == {"a": (30, 3), "b": (20, 2)} == cursors.positions(path)
    cursor.close()


def test_forgotten_segments_are_gone_from_the_file_when_it_is_written_anew(path):
    cursor = Cursor(path, KINDS)
    cursor.move({"a": (10, 1), "b": (20, 2)})
    cursor.forget(["a", "never there"])
    assert cursor.positions == {"b": (20, 2)}
    cursor.close()
    assert Cursor(path, KINDS).positions == {"a": (10, 1), "b": (20, 2)}  # old, which is harmless
    cursor.forget(["a"])


def test_a_file_that_grew_is_written_anew(path, monkeypatch):
    monkeypatch.setattr(cursors, "COMPACT_SIZE", 1000)
    cursor = Cursor(path, KINDS)
    for n in range(1000):
        cursor.move({f"segment{n % 3}": (n, n)})
        assert os.path.getsize(path) < 1500
    assert Cursor(path, KINDS).positions == cursor.positions
    cursor.close()


def test_very_many_segments_are_not_written_anew_at_every_move(path, monkeypatch):
    monkeypatch.setattr(cursors, "COMPACT_SIZE", 1000)
    cursor = Cursor(path, KINDS)
    cursor.move({f"segment{n}": (n, n) for n in range(500)})
    rewritten = []
    monkeypatch.setattr(cursor, "_rewrite", lambda: rewritten.append(1))
    for n in range(10):
        cursor.move({"segment0": (n, n)})
    assert rewritten == []
    cursor.close()


@pytest.mark.parametrize("cut", range(0, 140, 3))
def test_a_cut_file_gives_what_was_whole(path, cut):
    cursor = Cursor(path, ["log"])
    begin = os.path.getsize(path)
    cursor.move({"a": (10, 1)})
    cursor.move({"b": (20, 2)})
    cursor.move({"a": (30, 3)})
    cursor.close()
    os.truncate(path, cut)
    line = len(frames.frame(b'["a", 10, 1]'))
    sure = [{}, {"a": (10, 1)}, {"a": (10, 1), "b": (20, 2)}, {"a": (30, 3), "b": (20, 2)}]
    whole = sure[min(max(cut - begin, 0) // line, 3)]
    assert cursors.positions(path) == whole
    assert Cursor(path, ["log"]).positions == whole


@pytest.mark.parametrize(
    ("before", "after", "is_kept"),
    [
        (["log", "shout"], ["log", "shout"], True),
        (["log", "shout"], ["log"], True),
        (["log"], ["log", "shout"], False),
        (["log"], ["shout"], False),
        ([], ["log"], False),
    ],
)
def test_a_reader_that_takes_what_was_passed_by_begins_anew(path, before, after, is_kept):
    cursor = Cursor(path, before)
    cursor.move({"a": (10, 1)})
    cursor.close()
    kept = {"a": (10, 1)} if is_kept else {}
    assert cursors.positions(path, after) == kept
    assert Cursor(path, after).positions == kept


def test_what_was_passed_by_once_is_passed_by_for_a_reader_that_takes_it_again(path):
    for kinds in (["log", "shout"], ["log"]):
        cursor = Cursor(path, kinds)
        cursor.move({"a": (10, 1)})
        cursor.close()
    assert Cursor(path, ["log", "shout"]).positions == {}


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"", bytes(4096), b"garbage", b"{}", b"null", b"[1,2,3]", b'["a",-1,2]', b'["a",1.5,2]', b'["a",1]'),
        *(b"[[],1,2]", b'["a",Infinity,2]', b'["a",1,' + b"9" * 4000 + b"]", b"[" * 100_000),
        *(b'{"kinds":1}', b'{"kinds":[[]]}'),
    ],
    ids=lambda nonsense: str(nonsense[:20]),
)
@pytest.mark.parametrize("framed", [True, False])
def test_nonsense_is_no_position(path, nonsense, framed):
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(frames.frame(b'{"kinds":["log"]}') + frames.frame(b'["good",5,1]'))
        file.write(frames.frame(nonsense) if framed else nonsense)
    cursor = Cursor(path, ["log"])
    assert cursor.positions == {"good": (5, 1)}
    cursor.close()


@pytest.mark.parametrize("kinds", [b"", b'{"kinds":1}', b'{"kinds":[[]]}', b"{}"])
def test_who_does_not_say_what_it_took_took_nothing(path, kinds):
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(frames.frame(kinds) + frames.frame(b'["good",5,1]'))
    cursor = Cursor(path, ["log"])
    assert cursor.positions == {}
    cursor.close()


def test_a_short_write_is_healed_at_once(path, monkeypatch):
    cursor = Cursor(path, KINDS)
    with monkeypatch.context() as patch:
        writes = []

        def short(fd, data):
            writes.append(data)
            return os.write(fd, data[:-5] if len(writes) == 1 else data)

        patch.setattr("ave.io.write", short)
        cursor.move({"a": (10, 1)})
    assert Cursor(path, KINDS).positions == {"a": (10, 1)}
    cursor.close()


def test_a_failed_rewrite_leaves_the_file_usable(path, monkeypatch):
    cursor = Cursor(path, KINDS)
    cursor.move({"a": (10, 1)})
    with monkeypatch.context() as patch:

        def fail(*_, **__):
            raise OSError(28, "full")

        patch.setattr("ave.io.rename", fail)
        with pytest.raises(OSError, match="full"):
            cursor._rewrite()
    cursor.move({"a": (20, 2)})
    assert Cursor(path, KINDS).positions == {"a": (20, 2)}
    assert os.listdir(os.path.dirname(path)) == ["store"]
    cursor.close()


def test_reading_positions_touches_nothing(path):
    assert cursors.positions(path) == {}
    assert not os.path.exists(os.path.dirname(path))
