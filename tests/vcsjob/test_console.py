"""Lines of output as records: which, where they say they are, and what is said of those left out."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vcsjob
from ave import home as homes
from ave.exceptions import ConfigError
from ave.spool import writer
from ave.testing import read_spool
from vcsjob import console
from vcsjob.console import LAST_LINES, LINE_MAX, Console
from vcsjob.joblog import JobLog

GUID = "guid-0123456789"


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(console, "time", Clock())
    return console.time


def bodies_of(chunks, lines_per_s=1e6, at=0):
    """Return the bodies that come of chunks written one behind the other, the first at the offset `at`."""
    kept = []
    lines = Console("/log", lines_per_s, kept.extend)
    for chunk in chunks:
        lines.write(chunk, at)
        at += len(chunk)
    lines.close(at)
    return kept


def test_each_line_is_one_with_its_place_in_the_log():
    assert bodies_of([b"one\r\n\r\nthree\r\n"], at=100) == [
        {"stream": "console", "text": "one", "file": "/log", "offset": 100},
        {"stream": "console", "text": "", "file": "/log", "offset": 105},
        {"stream": "console", "text": "three", "file": "/log", "offset": 107},
    ]


def test_without_a_file_none_is_named():
    kept = []
    Console(None, 10, kept.extend).write(b"hi\n", 7)
    assert kept == [{"stream": "console", "text": "hi", "offset": 7}]


def test_what_has_no_line_end_waits_for_the_end_of_the_job():
    kept = []
    lines = Console("/log", 10, kept.extend)
    lines.write(b"pass", 0)
    lines.write(b"word: ", 4)
    assert kept == []
    lines.close(10)
    assert [(body["text"], body["offset"]) for body in kept] == [("password: ", 0)]


def test_any_bytes_become_text():
    assert [body["text"] for body in bodies_of([b"\xff\x00\xc3\xa4\x1b[1m\n"])] == ["\\xff\x00ä\x1b[1m"]


def test_a_long_line_goes_on_in_further_records():
    long = b"a" * LINE_MAX + b"b" * LINE_MAX + b"c"
    bodies = bodies_of([b"x\n" + long + b"\ny\n"])
    assert [(body["text"][:1], body["offset"], body.get("continued", False)) for body in bodies] == [
        ("x", 0, False),
        ("a", 2, False),
        ("b", 2 + LINE_MAX, True),
        ("c", 2 + 2 * LINE_MAX, True),
        ("y", 4 + 2 * LINE_MAX, False),
    ]


@pytest.mark.parametrize("character", ["ä", "€", "😀"])
@pytest.mark.parametrize("before", range(4))
def test_a_character_is_not_cut_in_two(character, before):
    line = b"x" * before + character.encode() * LINE_MAX
    bodies = bodies_of([line])
    assert len(bodies) > 1
    assert "".join(body["text"] for body in bodies) == line.decode()


@given(
    data=st.binary(max_size=300).map(lambda data: data.replace(b"\x01", b"\n").replace(b"\x02", b"y" * LINE_MAX)),
    cuts=st.lists(st.integers(0, 20_000), max_size=8),
)
@settings(deadline=None)
def test_however_it_comes_in_all_of_it_is_there_where_it_says(data, cuts):
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    bodies = bodies_of([data[begin:end] for begin, end in pairwise(bounds)])
    offsets = [body["offset"] for body in bodies] + [len(data)]
    pieces = [data[begin:end] for begin, end in pairwise(offsets)]
    assert b"".join(pieces) == data
    assert [piece.rstrip(b"\r\n").decode(errors="backslashreplace") for piece in pieces] == [b["text"] for b in bodies]
    assert [body.get("continued", False) for body in bodies] == [
        offset > 0 and data[offset - 1] != ord("\n") for offset in offsets[:-1]
    ]
    assert not any("left_out" in body for body in bodies)


class TestRate:
    def test_a_burst_is_kept_and_then_so_many_a_second(self, clock):
        kept = []
        lines = Console("/log", 2, kept.extend)
        flood = b"".join(b"%d\n" % n for n in range(100))
        lines.write(flood, 0)
        assert [body["text"] for body in kept] == [str(n) for n in range(2 * console.BURST_S)]
        for _ in range(3):
            clock.now += 1
            lines.write(flood, 1000)
        assert [body["text"] for body in kept[2 * console.BURST_S :]] == ["0", "1"] * 3
        assert [body.get("left_out") for body in kept[-6:]] == [80, None, 98, None, 98, None]

    def test_silence_earns_a_burst_and_no_more(self, clock):
        kept = []
        lines = Console("/log", 2, kept.extend)
        for _ in range(2):
            clock.now += 1e6
            lines.write(b"x\n" * 100, 0)
        assert len(kept) == 2 * 2 * console.BURST_S

    def test_a_long_line_counts_as_several(self, clock):
        kept = []
        Console("/log", 1, kept.extend).write((b"x" * (console.EXTRA_BYTES * 4 - 1) + b"\n") * 100, 0)
        assert len(kept) == console.BURST_S // 5

    def test_the_last_lines_are_kept_at_any_rate(self, clock):
        bodies = bodies_of([b"".join(b"line %d\r\n" % n for n in range(1000)), b"last words"], lines_per_s=1)
        texts = [body["text"] for body in bodies]
        first = 1000 - (LAST_LINES - 1)
        assert texts[10:] == [f"line {n}" for n in range(first, 1000)] + ["last words"]
        assert bodies[10]["left_out"] == first - 10
        assert not any("left_out" in body for body in bodies[11:])

    def test_few_enough_at_the_end_are_kept_all(self, clock):
        bodies = bodies_of([b"".join(b"%d\n" % n for n in range(15))], lines_per_s=1)
        assert [body["text"] for body in bodies] == [str(n) for n in range(15)]
        assert not any("left_out" in body or "continued" in body for body in bodies)

    def test_a_flood_without_a_line_end_is_counted_too(self, clock):
        data = b"z" * (LINE_MAX * 50)
        bodies = bodies_of([data[at : at + 100_000] for at in range(0, len(data), 100_000)], lines_per_s=1)
        assert len(bodies[0]["text"]) == LINE_MAX
        assert all(body["continued"] for body in bodies[1:])
        assert len(bodies) + sum(body.get("left_out", 0) for body in bodies) == 50
        assert bodies[-1]["offset"] + len(bodies[-1]["text"]) == len(data)

    def test_of_lines_too_long_to_look_at_the_end_is_kept(self, clock):
        bodies = bodies_of([b"x\n" * 10 + (b"a" * 9000 + b"\n") * 100], lines_per_s=1)
        assert bodies[10]["left_out"] == 98
        assert bodies[10]["continued"] is True
        assert "".join(body["text"] for body in bodies[10:]) == "a" * (console.LAST_BYTES - 1)

    @given(sizes=st.lists(st.integers(0, 200), max_size=200), cuts=st.lists(st.integers(0, 20_000), max_size=8))
    @settings(deadline=None)
    def test_every_line_is_kept_or_counted(self, sizes, cuts):
        data = b"".join(b"%d:" % n + b"." * size + b"\n" for n, size in enumerate(sizes))
        bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        bodies = bodies_of([data[begin:end] for begin, end in pairwise(bounds)], lines_per_s=0.01)
        number = 0
        for body in bodies:
            number += body.get("left_out", 0)
            assert body["text"].startswith(f"{number}:")
            assert data[body["offset"] :].startswith(body["text"].encode())
            number += 1
        assert number == len(sizes)

    def test_memory_does_not_grow_with_what_is_left_out(self, clock):
        lines = Console("/log", 1, lambda bodies: None)
        for n in range(200):
            lines.write(b"some line or other\n" * 5000, n * 95_000)
        assert len(lines._last) + len(lines._part) <= console.LAST_BYTES + LINE_MAX


class TestOfARun:
    @pytest.fixture
    def enable(self, home):
        def write(wanted, **others):
            directory = home / ".ave" / "config"
            directory.mkdir(parents=True, mode=0o700, exist_ok=True)
            (directory / "panotti.json").write_text(json.dumps({"console": wanted, **others}))
            homes.forget()

        return write

    def records(self, home):
        return [record for record in read_spool(str(home / ".ave" / "spool")).records if record.kind == "log"]

    def test_nobody_gets_them_unasked(self, tree, home, enable):
        tree.run("echo hi", guid=GUID)
        enable(False)
        tree.run("echo hi", guid=GUID)
        assert self.records(home) == []

    def test_they_come_under_the_guid_between_start_and_end(self, tree, home, enable):
        enable(True)
        tree.run("echo one; echo two >&2; printf three", guid=GUID)
        records = read_spool(str(home / ".ave" / "spool")).records
        assert [record.body.get("name", record.body.get("text")) for record in records] == [
            *("job.start", "one", "two", "three", "job.end")
        ]
        assert {(record.guid, record.source) for record in records} == {(GUID, "vcsjob")}
        for record in self.records(home):
            assert record.body["file"] == str(tree.log_path)
            assert tree.log[record.body["offset"] :].startswith(record.body["text"].encode())

    def test_none_without_a_guid(self, tree, home, enable):
        enable(True)
        assert tree.run("echo hi") == vcsjob.OK
        assert not (home / ".ave" / "spool").exists()

    def test_a_rate_holds(self, tree, home, enable):
        enable({"rate": 0.1})
        tree.run("seq 100", guid=GUID)
        records = self.records(home)
        assert [record.body["text"] for record in records] == ["1", *map(str, range(81, 101))]
        assert [record.body.get("left_out") for record in records[:3]] == [None, 79, None]

    def test_a_time_out_has_them_too(self, tree, home, enable):
        enable(True)
        assert tree.run("printf stuck; sleep 60", guid=GUID, timeout=0.5) == vcsjob.TIMEOUT
        assert [record.body["text"] for record in self.records(home)] == ["stuck"]

    def test_what_vcsjob_itself_says_in_the_log_is_none_of_them(self, tree, home, enable, monkeypatch):
        enable(True)
        write = JobLog.write

        def interrupted(log, data):
            write(log, data)
            if b"now!" in data:
                raise KeyboardInterrupt

        monkeypatch.setattr(JobLog, "write", interrupted)
        assert tree.run("printf 'one\\nnow!'; sleep 60", guid=GUID) == vcsjob.NORUN
        assert tree.output.endswith(b"KeyboardInterrupt\n")
        for record in self.records(home):
            assert tree.log[record.body["offset"] :].startswith(record.body["text"].encode())

    def test_secrets_are_masked(self, tree, home, enable):
        enable(True)
        tree.run("echo password=hunter2", guid=GUID)
        assert b"hunter2" in tree.output
        assert "hunter2" not in self.records(home)[0].body["text"]

    def test_a_spool_without_room_is_told_once_and_stops_nothing(self, tree, enable, capfd):
        enable(True, spool={"quota_bytes": 1})
        writer._emitters.clear()
        assert tree.run("seq 10; sleep 0.1; seq 10; exit 5", guid=GUID) == vcsjob.FAILURES
        writer._emitters.clear()
        assert tree.output.count(b"\n") == 20
        assert capfd.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize(
        "wanted",
        [0, 1, "yes", None, [], {}, {"rate": 0}, {"rate": -1}, {"rate": True}, {"rate": 1, "x": 1}, {"rat": 1}],
    )
    def test_a_wrong_setting_is_refused_and_named(self, tree, home, enable, wanted):
        enable(wanted)
        with pytest.raises(ConfigError, match=r"console.*panotti.json|panotti.json: console must be"):
            homes.load("panotti", str(home))
        assert tree.run("echo hi", guid=GUID) == vcsjob.OK
        assert self.records(home) == []
