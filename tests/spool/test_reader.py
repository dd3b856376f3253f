"""Segments, as a reader sees them while and after they are written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ave import spool as spools
from ave.spool import frames, reader
from ave.testing import wait_until

ROOT = str(Path(__file__).parents[2])


def append(n=0):
    spools.append("log", "guid-of-reader", {"n": n}, source="test")


def only(spool):
    [name] = reader.list_segments(spool)
    return reader.Segment(spool, name)


def test_segments_are_listed_oldest_first_and_nothing_else_is(spool):
    assert reader.list_segments(spool) == []
    for n in range(3):
        append(n)
        spools.close()
    Path(spool, "size").write_text("1")
    Path(spool, "0123.seg.new").write_text("")
    names = reader.list_segments(spool)
    assert names == sorted(names)
    assert len(names) == 3
    assert all(len(name) == 26 for name in names)


def test_a_segment_grows_until_its_writer_lets_go(spool):
    append(1)
    segment = only(spool)
    assert not segment.is_final()
    before = segment.read(0)
    append(2)
    more = segment.read(before[-1].end)
    assert [frames.kind_of(line.payload) for line in before + more] == ["header", "record", "record"]
    spools.close()
    assert segment.is_final()
    [footer] = segment.read(more[-1].end)
    assert footer.payload == b'{"footer":1,"count":2}'
    assert footer.end == segment.size()
    assert segment.read(footer.end, final=True) == []
    segment.close()


def test_a_segment_is_final_when_its_writer_is_dead(spool, home):
    code = "from ave import spool; spool.append('log', 'guid-of-reader', {}, source='test'); print(flush=True); input()"
    environment = {**os.environ, "PYTHONPATH": ROOT}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, env=environment) as writer:
        writer.stdout.readline()
        segment = only(spool)
        assert not segment.is_final()
        writer.kill()
    assert segment.is_final()
    assert len(segment.read(0, final=True)) == 2
    segment.close()


def test_a_forked_child_that_lives_on_does_not_keep_its_parents_segment_open(spool):
    append()
    segment = only(spool)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    spools.close()
    wait_until(segment.is_final, what="the child to let go")
    os.write(writing, b".")
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    segment.close()


def test_looking_at_a_segment_never_disturbs_its_writer(spool):
    append(0)
    segment = only(spool)
    for n in range(1, 100):
        assert not segment.is_final()
        append(n)
    segment.close()
    assert len(reader.list_segments(spool)) == 1


def test_no_segment_is_ever_seen_without_its_writers_lock(spool, monkeypatch):
    seen = []

    def look(rename):
        def looking(old, new):
            seen.append(reader.list_segments(spool))
            rename(old, new)
            segment = only(spool)
            seen.append((segment.is_final(), segment.header() is not None))
            segment.close()

        return looking

    monkeypatch.setattr("ave.io.rename", look(os.rename))
    Path(spool).mkdir(parents=True)
    Path(spool, "size").write_text("0")
    append()
    assert seen == [[], (False, True)]


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path), lambda path: os.symlink("nowhere", path)],
    ids=["fifo", "directory", "link", "dangling link"],
)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, make):
    make(tmp_path / "x.seg")
    open_before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"x\.seg") as caught:
        reader.Segment(str(tmp_path), "x")
    assert caught.value.errno in {errno.ELOOP, errno.EINVAL}
    assert os.listdir("/proc/self/fd") == open_before


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\n", frames.frame(b'{"id":1}'), frames.frame(b'{"v":'), frames.frame(b'{"v":1}')[:-1]]
)
def test_a_segment_without_a_header_says_none(tmp_path, content):
    (tmp_path / "x.seg").write_bytes(content)
    segment = reader.Segment(str(tmp_path), "x")
    assert segment.header() is None
    segment.close()


def test_a_header_tells_which_process_of_which_boot_wrote(spool):
    append()
    segment = only(spool)
    header = segment.header()
    segment.close()
    assert list(header) == ["v", "pid", "start", "boot", "uid", "host"]
    assert (header["v"], header["pid"], header["uid"]) == (1, os.getpid(), os.geteuid())
    assert header["host"] == os.uname().nodename
    assert header["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert header["start"] == int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


@pytest.mark.parametrize("limit", [1, 100, 10_000, 1 << 20])
def test_any_limit_leads_to_the_end(spool, limit):
    for n in range(50):
        append(n)
    spools.append("log", "guid-of-reader", {"text": "7 " * 30_000}, source="test")
    spools.close()
    segment, offset, found = only(spool), 0, []
    while items := segment.read(offset, limit, final=True):
        found += items
        offset = items[-1].end
    assert offset == segment.size()
    assert len(found) == 1 + 51 + 1
    segment.close()
