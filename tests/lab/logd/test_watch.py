from __future__ import annotations

import errno
import os
import socket
import threading

import pytest

from ave import io
from ave.lab.logd import watch as watches
from ave.lab.logd.watch import Seen, Watch
from ave.spool import reader
from ave.spool.frames import Line
from ave.testing import wait_until
from tests.lab.logd.segments import footer, header, line, name, record, write


def inode(spool, segment):
    return os.stat(reader.path(spool, segment)).st_ino


def test_what_nobody_holds_open_is_final(watch, spool):
    segment = write(spool, 1, header(), record(1))
    assert watch.look()
    assert watch.segments == {segment: Seen(len(header() + record(1)), final=True, file=inode(spool, segment))}


def test_what_a_writer_has_locked_is_not_final_until_it_lets_go(watch, spool):
    segment = write(spool, 1, header(), record(1))
    fd = io.open_append(reader.path(spool, segment))
    io.lock_shared(fd)
    watch.look()
    assert not watch.segments[segment].final
    io.close(fd)
    assert watch.look()
    assert watch.segments[segment].final


def test_a_look_without_news_says_so(watch, spool):
    write(spool, 1, header())
    assert watch.look()
    assert not watch.look()


def test_segments_are_seen_oldest_first(watch, spool):
    for number in (3, 1, 2):
        write(spool, number, header())
    watch.look()
    assert list(watch.segments) == [name(1), name(2), name(3)]


def test_a_final_segment_is_opened_once(watch, spool, monkeypatch):
    write(spool, 1, header())
    opened = []
    monkeypatch.setattr(io, "open_read", lambda path, real=io.open_read: (opened.append(path), real(path))[1])
    for _ in range(3):
        watch.look()
    assert len(opened) == 1


def test_what_can_grow_is_opened_when_it_grew_and_once_a_second(watch, spool, monkeypatch):
    opened = []
    monkeypatch.setattr(io, "open_read", lambda path, real=io.open_read: (opened.append(path), real(path))[1])
    monkeypatch.setattr(watches, "CHECK_S", 60)
    segment = write(spool, 1, header())
    with open(reader.path(spool, segment), "ab", buffering=0) as file:
        io.lock_shared(file.fileno())
        watch.look()
        watch.look()
        assert len(opened) == 1
        file.write(record(1))
        assert watch.look()
        assert len(opened) == 2
        assert not watch.segments[segment].final
    assert not watch.look(), "that nobody writes it any more shows in nothing that a look sees"
    watch._next_check = 0.0
    assert watch.look()
    assert watch.segments[segment].final


def test_whether_final_segments_are_still_the_same_is_not_asked_at_every_look(watch, spool, monkeypatch):
    monkeypatch.setattr(watches, "CHECK_S", 60)
    asked = []
    monkeypatch.setattr(watch, "is_still", lambda segment, _seen: asked.append(segment) or True)
    segment = write(spool, 1, header())
    watch.look()
    watch.look()
    assert asked == []
    watch._next_check = 0.0
    watch.look()
    assert asked == [segment]


@pytest.mark.parametrize("content", [b"", header(), header() + record(2)], ids=["empty", "shorter", "as long"])
def test_a_final_segment_that_becomes_another_file_is_noticed(content, watch, spool):
    segment = write(spool, 1, header(), record(1))
    watch.look()
    before = watch.segments[segment]
    write(spool, 1, content)
    assert not watch.is_still(segment, before)
    assert watch.look()
    assert watch.segments == {segment: Seen(len(content), final=True, file=inode(spool, segment))}
    assert watch.is_still(segment, watch.segments[segment])


def test_a_final_segment_that_is_cut_where_it_lies_is_noticed(watch, spool):
    segment = write(spool, 1, header(), record(1))
    watch.look()
    os.truncate(reader.path(spool, segment), len(header()))
    assert watch.look()
    assert watch.segments[segment].size == len(header())


def test_whoever_waits_is_told_of_news(watch, spool):
    told = threading.Event()

    def wait():
        with watch.changed:
            waits.set()
            watch.changed.wait()
        told.set()

    waits = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait()
    write(spool, 1, header())
    watch.look()
    wait_until(told.is_set)
    thread.join()


def test_reading_goes_on_where_it_ended(watch, spool):
    segment = write(spool, 1, header(), record(1), record(2))
    watch.look()
    first = watch.read(segment, 0, 1)
    assert [type(item) for item in first] == [Line] * 3
    assert watch.read(segment, first[-1].end, 1) == []
    assert [item.offset for item in watch.read(segment, first[1].offset, 1)] == [item.offset for item in first[1:]]


def test_a_segment_that_vanishes_reads_as_empty(watch, spool):
    segment = write(spool, 1, header())
    watch.look()
    os.unlink(reader.path(spool, segment))
    assert watch.read(segment, 0, 1) == []
    assert watch.look()
    assert watch.segments == {}


def make_fifo(path):
    os.mkfifo(path)


def make_directory(path):
    os.mkdir(path)


def make_link(path):
    os.symlink("/etc/hostname", path)


def make_dangling_link(path):
    os.symlink("nowhere", path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # the address has room for 107 bytes
        try:
            listener.bind(os.path.basename(path))
        finally:
            os.chdir(here)


def make_foreign(path):
    with open(path, "wb") as file:
        file.write(header() + record(1))
    os.chown(path, 12345, 12345)


HOSTILE = [make_fifo, make_directory, make_link, make_dangling_link, make_socket]
if os.geteuid() == 0:
    HOSTILE.append(make_foreign)


@pytest.mark.parametrize("make", HOSTILE)
def test_what_is_no_segment_of_ours_is_set_aside_and_told(make, watch, spool, caplog):
    make(reader.path(spool, name(1)))
    good = write(spool, 2, header())
    watch.look()
    assert list(watch.segments) == [good]
    assert os.listdir(f"{spool}/damaged") == [f"{name(1)}.seg"]
    assert [message for message in caplog.messages if name(1) in message and "set aside" in message]


@pytest.mark.parametrize("odd", ["", "notes", "..", name(1).upper(), f"{name(1)}x", os.fsdecode(b"\xff" * 26)])
def test_a_file_with_a_name_that_none_of_ours_has_is_set_aside(odd, watch, spool):
    with open(f"{spool}/{odd}.seg", "wb") as file:
        file.write(header() + record(1))
    watch.look()
    assert watch.segments == {}
    assert os.listdir(f"{spool}/damaged") == [f"{odd}.seg"]


def test_what_cannot_be_set_aside_is_told_once_and_hurts_nobody(watch, spool, caplog, monkeypatch):
    os.mkfifo(reader.path(spool, name(1)))
    good = write(spool, 2, header())
    monkeypatch.setattr(io, "rename", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    for _ in range(3):
        watch.look()
    assert list(watch.segments) == [good]
    assert len([message for message in caplog.messages if "cannot be set aside" in message]) == 1


def test_a_look_that_only_reads_moves_nothing(spool):
    os.mkfifo(reader.path(spool, name(1)))
    watch = Watch(spool, readonly=True)
    watch.look()
    assert watch.segments == {}
    assert os.listdir(spool) == [f"{name(1)}.seg"]


@pytest.mark.parametrize("call", ["open_read", "pread", "is_unlocked"])
def test_an_error_at_one_segment_leaves_what_is_known_of_it_and_the_others(call, watch, spool, monkeypatch, caplog):
    bad, good = write(spool, 1, header()), write(spool, 2, header())
    io_error = OSError(errno.EIO, "Input/output error")
    real = getattr(io, call)
    inode = os.stat(reader.path(spool, bad)).st_ino

    def failing(where, *rest):
        if (os.fstat(where) if isinstance(where, int) else os.stat(where)).st_ino == inode:
            raise io_error
        return real(where, *rest)

    monkeypatch.setattr(io, call, failing)
    for _ in range(3):
        watch.look()
    assert list(watch.segments) == [good]
    assert len(caplog.messages) == 1
    monkeypatch.undo()
    watch.look()
    assert list(watch.segments) == [bad, good]


def test_what_a_later_version_wrote_waits_and_is_told_once(watch, spool, caplog):
    later = write(spool, 1, header(v=2), record(1))
    for _ in range(3):
        watch.look()
    assert watch.segments == {}
    assert os.path.exists(reader.path(spool, later))
    assert len([message for message in caplog.messages if "format 2" in message]) == 1


def test_a_flipped_bit_makes_no_later_version(watch, spool):
    written = header() + record(1)
    at = written.index(b'{"v":1') + 5
    for bit in range(8):
        with open(reader.path(spool, name(1 + bit)), "wb") as file:
            file.write(written[:at] + bytes([written[at] ^ 1 << bit]) + written[at + 1 :])
    watch.look()
    assert len(watch.segments) == 8


def test_a_header_that_is_nonsense_with_a_right_checksum_hurts_nobody(watch, spool):
    segment = write(spool, 1, line({"v": {}})[:-3] + b"\n", header())
    watch.look()
    assert list(watch.segments) == [segment]


def test_an_empty_segment_is_final(watch, spool):
    segment = write(spool, 1)
    watch.look()
    assert watch.segments == {segment: Seen(0, final=True, file=inode(spool, segment))}


def test_a_sparse_giant_is_read_no_further_than_any_segment_of_ours_goes(watch, spool):
    segment = write(spool, 1, header(), record(1), footer(1))
    os.truncate(reader.path(spool, segment), 1 << 40)
    watch.look()
    assert watch.segments[segment].size == reader.SEGMENT_MAX
