"""R3, R4, R5, R14, R21: whatever lies in the spool, ave-logd starts, brings whole records home and names the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from forked import assert_balances, segments, stored
from scale import dice, scaled

from ave import home as homes
from ave.lab.audit import audit
from ave.lab.config import DEFAULT_URL
from ave.lab.logd import wire
from ave.lab.stores import open_store
from ave.record import KINDS, Query, segment_of, seq_of
from ave.spool import frames, reader
from ave.testing import wait_until
from tests.lab.logd.segments import fields, footer, header, line, name, record

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "data" / "spool"


@pytest.fixture
def spool(home):
    path = homes.ave(str(home), "spool")
    os.makedirs(path, mode=0o700)
    return path


def lines(number, count=10, size=40):
    """Return the lines of a segment of so many records."""
    random = dice(f"lines {number}")
    body = {"n": number, "text": "".join(random.choices('abcdefgh \n"\\ä', k=size))}
    return [header(), *(record(seq, body=body, of=name(number)) for seq in range(1, count + 1)), footer(count)]


def put(spool, number, content):
    path = reader.path(spool, name(number))
    with open(path, "wb") as file:
        file.write(content)
    return path


def bodies(home):
    """Return what is stored: id -> body; gaps aside."""
    return {id_: body for id_, (kind, body) in stored(home).items() if kind != "gap"}


# R3


def test_r3_a_torn_tail_costs_only_the_unfinished_record(home, spool, drain):
    whole = b"".join(lines(0))
    cuts = [cut * len(whole) // scaled(3000) for cut in range(scaled(3000))]
    expected = {}
    for number, cut in enumerate(cuts):
        mine = lines(number)
        put(spool, number, b"".join(mine)[:cut])
        at = 0
        for content in mine[:-1]:
            at += len(content)
            if at <= cut and b'"id"' in content:
                found = wire.decode(content[18:-1])
                expected[found.id] = found.body
    drain()
    assert bodies(home) == expected
    assert segments(home) == []
    assert_balances(home)


# R4


def flipped(content, random):
    bit = random.randrange(8 * len(content))
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :], bit // 8, 1


def zeroed(content, random):
    at = random.randrange(len(content) // 4096) * 4096
    return content[:at] + bytes(4096) + content[at + 4096 :], at, 4096


def doubled(content, random):
    at = random.randrange(len(content) // 4096) * 4096
    return content[: at + 4096] + content[at:], at + 4096, 0


def swapped(content, random):
    one, two = sorted(random.sample(range(len(content) // 4096), 2))
    blocks = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    blocks[one], blocks[two] = blocks[two], blocks[one]
    return b"".join(blocks), one * 4096, (two + 1 - one) * 4096


@pytest.mark.parametrize(
    ("spoil", "full", "size"),
    [(flipped, 10_000, 40), (zeroed, 1500, 2000), (doubled, 1500, 2000), (swapped, 1500, 2000)],
)
def test_r4_damage_costs_the_records_it_hit_and_no_wrong_one_is_delivered(spoil, full, size, home, spool, drain):
    random = dice(f"R4 {spoil.__name__}")
    expected, may_lack, endless = {}, {}, set()
    for number in range(scaled(full)):
        mine = lines(number, size=size)
        content, at, length = spoil(b"".join(mine), random)
        put(spool, number, content)
        if mine[-1] not in content:
            endless.add(name(number))
        begin = 0
        for text in mine:
            if b'"id"' in text:
                found = wire.decode(text[18:-1])
                expected[found.id] = found.body
                # a line that crosses the border of a moved block is cut there, too
                if begin < at + length + 4096 * (length > 1) and begin + len(text) > at - (length > 1):
                    may_lack[found.id] = number
            begin += len(text)
    drain()
    there = bodies(home)
    assert there.items() <= expected.items(), "a wrong record"
    missing = expected.keys() - there.keys()
    assert missing <= may_lack.keys()
    if spoil is flipped:
        hit = [may_lack[id_] for id_ in missing]
        assert len(hit) == len(set(hit)), "a bit cost more than one record"
        assert len(hit) > scaled(full) // 2, "void: hardly a bit hit a record"
    if spoil is doubled:
        assert len(missing) <= scaled(full)
    last = {segment_of(id_): seq_of(id_) for id_ in sorted(there, key=seq_of)}
    # without a footer nobody knows that there was more behind the last one
    gaps = {
        (segment_of(id_), seq_of(id_))
        for id_ in missing
        if segment_of(id_) not in endless or seq_of(id_) < last.get(segment_of(id_), 0)
    }
    assert_balances(home, gaps=_as_ranges(gaps))
    assert segments(home) == []


def _as_ranges(numbers):
    ranges = []
    for segment, seq in sorted(numbers):
        if ranges and ranges[-1][0] == segment and ranges[-1][2] == seq - 1:
            ranges[-1] = (segment, ranges[-1][1], seq)
        else:
            ranges.append((segment, seq, seq))
    return ranges


# R5


def a_fifo(path, _random):
    os.mkfifo(path)


def a_directory(path, _random):
    os.makedirs(f"{path}/more")


def a_link(path, random):
    os.symlink(random.choice(["/etc/passwd", "/dev/zero", "nowhere", "."]), path)


def a_socket(path, _random):
    here = os.getcwd()
    os.chdir(os.path.dirname(path))  # an address has room for 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.basename(path))
    os.chdir(here)


def a_device(path, _random):
    os.mknod(path, 0o020600, os.makedev(1, 5))


def a_giant(path, random):
    _write(path, b"".join(lines(random.randrange(1000, 2000))[:3]) if random.random() < 0.5 else b"")
    os.truncate(path, 1 << 40)


def a_foreign_file(path, random):
    _write(path, header() + record(1, guid="not-to-be-taken"))
    os.chown(path, 12345, 12345)


def an_empty_file(path, _random):
    _write(path, b"")


def a_future_version(path, _random):
    _write(path, header(v=7) + b"whatever it may be\n")


def noise(path, random):
    _write(path, random.randbytes(random.choice([1, 17, 4096, 100_000])))


def lines_of_noise(path, random):
    pieces = [
        b"%08x %08x " % (random.getrandbits(32), random.choice([0, 9, 1 << 20, (1 << 32) - 1])) for _ in range(200)
    ]
    _write(path, header() + b"\n".join(piece + random.randbytes(9) for piece in pieces))


def whole_lines_of_nonsense(path, random):
    wrong = [
        {"v": "x"},
        {"v": {"v": {}}},
        {"footer": 10**30},
        {"footer": 1, "count": 10**30},
        {"footer": 1, "count": -(10**30)},
        fields(0),
        fields(10**30),
        fields(1, kind=5),
        fields(1, id="../../x-1"),
        fields(1, body=[]),
        fields(1, time=0.5),
        fields(1, guid="\ud800"),
        {**fields(1), "more": 1},
        [],
        None,
        "x",
    ]
    picked = [line(one) for one in random.sample(wrong, 8)]
    deep = frames.frame(b"[" * 50_000), frames.frame(b'{"v":' * 20_000), frames.frame(b'{"footer":' * 20_000)
    _write(path, b"".join([*picked, frames.frame(random.randbytes(30).replace(b"\n", b"")), *deep]))


def a_fuzzed_segment(path, random):
    content = bytearray(b"".join(lines(random.randrange(1000, 2000))))
    for _ in range(random.randrange(1, 40)):
        at = random.randrange(len(content))
        content[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
    _write(path, bytes(content))


def an_odd_name(path, random):
    odd = random.choice([b"", b"x", b"..", b"\xff\xfe", b"a b\n", os.fsencode(os.path.basename(path))[:-5], b"n" * 250])
    _write(
        os.path.join(os.fsencode(os.path.dirname(path)), odd + b".seg"), header() + record(1, guid="not-to-be-taken")
    )


def _write(path, content):
    with open(path, "wb") as file:
        file.write(content)


ODD_SEGMENTS = [
    *(a_fifo, a_directory, a_link, a_socket, a_giant, an_empty_file, a_future_version, noise, lines_of_noise),
    *(whole_lines_of_nonsense, a_fuzzed_segment, an_odd_name),
]
if os.geteuid() == 0:
    ODD_SEGMENTS += [a_device, a_foreign_file]

#: These are no segments of ours, so they go away whole.
SET_ASIDE = {a_fifo, a_directory, a_link, a_socket, a_giant, a_device, a_foreign_file}


def odd_ledger(spool, random):
    make = random.choice([noise, a_fifo, a_directory, a_link, an_empty_file])
    make(f"{spool}/ledger.db", random)


def odd_cursors(spool, random):
    os.mkdir(f"{spool}/cursors")
    nonsense = b"".join(map(line, ([], ["x"], [name(1), 10**30, 1], [name(1), -1, 1], {"a": 1}, "x")))
    _write(f"{spool}/cursors/embedded", random.choice([b"", bytes(4096), random.randbytes(4096), nonsense]))


def odd_others(spool, random):
    _write(f"{spool}/size", random.choice([b"", b"x", b"-1", b"9" * 30]))
    _write(f"{spool}/notes.txt", b"mine")
    os.mkdir(f"{spool}/a-directory")


def odd_places(spool, random):
    make = random.choice([noise, a_fifo, a_link])
    make(f"{spool}/{random.choice(['damaged', 'dead', 'cursors'])}", random)


def test_r5_no_spool_content_stops_the_start(home, logd):
    random = dice("R5")
    slowest = 0.0
    for _ in range(scaled(200)):  # with six hostile things each
        spool = homes.ave(str(home), "spool")
        shutil.rmtree(spool, ignore_errors=True)
        for file in home.glob(".ave/lab.db*"):
            file.unlink()
        os.makedirs(spool, mode=0o700)
        made = {name(number): random.choice(ODD_SEGMENTS) for number in range(1, 5)}
        for odd, make in made.items():
            make(reader.path(spool, odd), random)
        for make in random.sample([odd_ledger, random.choice([odd_cursors, odd_places]), odd_others], 2):
            make(spool, random)
        put(spool, 0, b"".join(lines(0)))
        put(spool, 9, b"".join(lines(9)))
        healthy = {f"{name(number)}-{seq}" for number in (0, 9) for seq in range(1, 11)}

        began = time.monotonic()
        serving = logd()
        wait_until(lambda: healthy <= stored(home).keys(), 5, f"the healthy ones beside {made}")  # noqa: B023
        slowest = max(slowest, time.monotonic() - began)
        later = {odd for odd, make in made.items() if make is a_future_version}
        ours = made.keys() | {name(0), name(9)}
        wait_until(lambda: ours & set(segments(home)) == later, what=f"the end of all but {later} of {made}")  # noqa: B023
        serving.send(signal.SIGTERM)
        assert serving.wait() == 0, serving.said()
        said = serving.said()
        assert "Traceback" not in said
        aside = {odd for odd, make in made.items() if make in SET_ASIDE}
        assert not aside or aside <= {entry.removesuffix(".seg") for entry in os.listdir(f"{spool}/damaged")}
        assert all(f"segment {odd} " in said for odd in aside), "reported"
        os.unlink(serving.log)
        assert all(re.fullmatch("[0-9a-f]{26}", one) for one in segments(home)), "odd names go away, too"
        assert stored(home, guid="not-to-be-taken") == {}
    assert slowest <= 2.0


# R14


@pytest.mark.parametrize("what", ["record", "segment"])
def test_r14_what_is_removed_from_the_spool_is_named(what, home, spool, drain):
    random = dice(f"R14 {what}")
    gaps = []
    if what == "segment":  # those that the ledger knows: one look at them, with a store that is away
        os.mkdir(f"{home}/.ave/lab.db")
    counts = {number: random.randrange(2, 30) for number in range(scaled(1000))}
    for number, count in counts.items():
        mine = lines(number, count, size=9)
        if what == "record":
            gone = random.randrange(1, count + 1)
            if random.random() < 0.5 and gone < count:
                mine.pop()  # without a footer, the last record would go unnoticed
            del mine[gone]
            gaps.append((name(number), gone, gone))
        put(spool, number, b"".join(mine))
    if what == "segment":
        drain(1)
        os.rmdir(f"{home}/.ave/lab.db")
        for number in random.sample(sorted(counts), len(counts) // 2):
            os.unlink(reader.path(spool, name(number)))
            gaps.append((name(number), 1, counts[number]))
        assert not assert_balances(home, gaps=gaps, rows=False).ok, "seen before ave-logd sees it"
    drain()
    found = assert_balances(home, gaps=gaps, rows=what == "record")
    assert not found.ok
    [emitted] = [row.emitted for row in found.rows if row.kind == "shout"]
    assert emitted == sum(counts.values()) - (len(gaps) if what == "record" else 0)


# R21


@pytest.mark.parametrize("version", sorted(path.parent.name for path in GOLDEN.glob("*/expected.json")))
def test_r21_a_spool_of_every_released_format_is_delivered(version, home, drain):
    shutil.copytree(GOLDEN / version, homes.ave(str(home), "spool"), ignore=shutil.ignore_patterns("*.json"))
    expected = json.loads((GOLDEN / version / "expected.json").read_text())
    golden = {one["id"]: one for segment in expected.values() for one in segment["records"]}
    drain()
    there = {record.id: record.as_dict() for record in everything(home)}
    assert golden.keys() <= there.keys()
    assert {one["source"] for id_, one in there.items() if id_ not in golden} <= {"ave-logd"}
    for id_, one in golden.items():
        if list(one["body"]) == ["sha256"]:  # a long one
            one["body"] = there[id_]["body"]
        assert there[id_] == one
    assert segments(home) == []
    for guid in {one["guid"] for one in golden.values()}:
        found = audit(str(home), guid)
        assert [row for row in found.rows if not row.ok] == []
        assert found.waiting == 0


def everything(home):
    """Return all records in the embedded store."""
    store = open_store(DEFAULT_URL, str(home), KINDS, readonly=True)
    try:
        return list(store.find(Query()))
    finally:
        store.close()


def test_r21_a_spool_of_a_later_format_waits_untouched(home, spool, drain):
    later = put(spool, 1, header(v=2) + record(1))
    put(spool, 2, b"".join(lines(2)))
    before = Path(later).read_bytes()
    for _ in range(2):
        drain()
    assert Path(later).read_bytes() == before
    assert segments(home) == [name(1)]
    assert len(bodies(home)) == 10
    assert {body["n"] for body in bodies(home).values()} == {2}
