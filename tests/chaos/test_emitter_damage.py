"""R3, R4, R5: whatever happens to the bytes of a segment, the rest of it is delivered, and nothing wrong is."""

from __future__ import annotations

import errno
import os
import time

import pytest
from scale import dice, scaled

from ave import spool as spools
from ave.record import decode
from ave.spool import frames, reader, writer
from ave.spool.segment import VERSION
from ave.testing import read_spool

BLOCK = 4096


def make_segment(spool, random, size, *, footer=True):
    """Emit until the segment has about `size` bytes; return them."""
    texts = ("", "plain", "ö" * 50, "line\nbreak", "x" * 300, '\x00\x1f"\\', "\U0001f600" * 20)
    written = 0
    while written < size:
        text = random.choice(texts)
        spools.append(random.choice(("log", "shout", "verdict")), "guid-of-damage", {"text": text}, source="test")
        [name] = reader.list_segments(spool)
        written = os.path.getsize(reader.path(spool, name))
    if footer:
        writer.close()
    with open(reader.path(spool, name), "rb") as file:
        data = file.read()
    writer.close()
    os.unlink(reader.path(spool, name))
    return data


def lines_of(data):
    """Return the lines of an undamaged segment."""
    found = frames.scan(data, 0, final=True)
    assert all(isinstance(item, frames.Line) for item in found)
    return found


def delivered(data):
    return [item.payload for item in frames.scan(data, 0, final=True) if isinstance(item, frames.Line)]


# R3


@pytest.mark.parametrize("footer", [True, False], ids=["footer", "no footer"])
def test_r3_a_torn_tail_costs_only_the_unfinished_record(footer, spool):
    data = make_segment(spool, dice(f"R3 {footer}"), scaled(16_000), footer=footer)
    lines = lines_of(data)
    payloads, ends = [line.payload for line in lines], [line.end for line in lines]
    for cut in range(len(data) + 1):
        whole = sum(end <= cut for end in ends)
        found = frames.scan(data[:cut], 0, final=True)
        assert [item.payload for item in found[:whole]] == payloads[:whole]
        torn = found[whole:]
        assert [(item.torn, item.end) for item in torn] == ([] if cut in (0, *ends) else [(True, cut)])


def test_r3_a_torn_tail_of_a_living_writer_is_left_for_later(spool):
    data = make_segment(spool, dice("R3 alive"), scaled(4_000))
    ends = [line.end for line in lines_of(data)]
    for cut in range(len(data) + 1):
        found = frames.scan(data[:cut], 0, final=False)
        assert [item.end for item in found] == [end for end in ends if end <= cut]


def test_r3_a_torn_file_is_read_whatever_the_portions(spool, tmp_path):
    random = dice("R3 portions")
    data = make_segment(spool, random, 30_000)
    lines = lines_of(data)
    for _ in range(scaled(500)):
        cut = random.randrange(len(data))
        (tmp_path / "torn.seg").write_bytes(data[:cut])
        segment, offset, found = reader.Segment(str(tmp_path), "torn"), 0, []
        while items := segment.read(offset, random.randrange(1, 5000), final=segment.is_final()):
            offset = items[-1].end
            found += items
        segment.close()
        whole = [line.payload for line in lines if line.end <= cut]
        assert [item.payload for item in found if isinstance(item, frames.Line)] == whole
        assert offset == cut


# R4


@pytest.mark.slow
def test_r4_a_flipped_bit_costs_one_record_and_delivers_no_wrong_one(spool):
    random = dice("R4 bits")
    data = make_segment(spool, random, 16_000)
    lines = lines_of(data)
    payloads = [line.payload for line in lines]
    hit_of = [number for number, line in enumerate(lines) for _ in range(line.offset, line.end)]
    edges = [*range(lines[1].end), *range(lines[-1].offset, len(data))]
    bits = {8 * at + bit for at in edges for bit in range(8)}
    bits |= set(random.sample(range(8 * len(data)), min(scaled(8 * len(data)), 8 * len(data))))
    for bit in bits:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        items, hit = frames.scan(bytes(flipped), 0, final=True), hit_of[bit // 8]
        found = [item.payload for item in items if isinstance(item, frames.Line)]
        without = payloads[:hit] + payloads[hit + 1 :]
        # the LF behind a line is no part of what its checksum covers: without it the line is still whole
        assert found == without or (found == payloads and bit // 8 == lines[hit].end - 1), f"bit {bit}"
        assert len(items) == len(payloads)


def zeroed(data, random):
    at = random.randrange(len(data) // BLOCK) * BLOCK
    return data[:at] + bytes(BLOCK) + data[at + BLOCK :], [(at, at + BLOCK)]


def overwritten(data, random):
    here, there = (random.randrange(len(data) // BLOCK) * BLOCK for _ in range(2))
    return data[:there] + data[here : here + BLOCK] + data[there + BLOCK :], [(there, there + BLOCK)]


def swapped(data, random):
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    here, there = random.sample(range(len(blocks) - 1), 2)
    blocks[here], blocks[there] = blocks[there], blocks[here]
    return b"".join(blocks), [(at * BLOCK, at * BLOCK + BLOCK) for at in (here, there)]


def repeated(data, random):
    at = random.randrange(len(data) // BLOCK) * BLOCK
    return data[: at + BLOCK] + data[at:], [(at + BLOCK, at + BLOCK + 1), (at + BLOCK - 1, at + BLOCK)]


def dropped(data, random):
    at = random.randrange(len(data) // BLOCK) * BLOCK
    return data[:at] + data[at + BLOCK :], [(at, at + BLOCK)]


@pytest.mark.parametrize("hurt", [zeroed, overwritten, swapped, repeated, dropped])
def test_r4_a_lost_block_costs_at_most_the_records_it_touched(hurt, spool):
    random = dice(f"R4 {hurt.__name__}")
    data = make_segment(spool, random, 60_000)
    lines = lines_of(data)
    sent = {line.payload for line in lines}
    for _ in range(scaled(5_000)):
        wounded, touched = hurt(data, random)
        found = delivered(wounded)
        assert set(found) <= sent
        untouched = {line.payload for line in lines if all(line.end <= a or line.offset >= b for a, b in touched)}
        assert untouched <= set(found)


def test_r4_a_repeated_block_gives_the_same_ids_again(spool):
    data = make_segment(spool, dice("R4 ids"), 20_000)
    before = [decode(payload).id for payload in delivered(data) if frames.kind_of(payload) == frames.RECORD]
    after = [decode(p).id for p in delivered(data[: 3 * BLOCK] + data[BLOCK:]) if frames.kind_of(p) == frames.RECORD]
    assert set(after) == set(before)
    assert len(after) > len(before)


# R5


def fuzzed(path, data, random):
    wounded = bytearray(data)
    for _ in range(random.randrange(1, 20)):
        at = random.randrange(len(wounded))
        wounded[at : at + random.randrange(5)] = random.randbytes(random.randrange(5))
    path.write_bytes(wounded)


def noise(path, data, random):
    path.write_bytes(random.randbytes(random.randrange(10_000)))


def empty(path, data, random):
    path.write_bytes(b"")


def huge(path, data, random):
    path.write_bytes(data)
    os.truncate(path, 1 << 40)


def fifo(path, data, random):
    os.mkfifo(path)


def directory(path, data, random):
    path.mkdir()


def link(path, data, random):
    path.symlink_to(random.choice(("/etc/passwd", "/dev/zero", "nowhere", path.name)))


def newer(path, data, random):
    path.write_bytes(frames.frame(b'{"v":2,"pid":1,"new":[]}') + frames.frame(b'{"id":"later"}'))


def deep(path, data, random):
    nest = b"[" * 100_000
    path.write_bytes(
        frames.frame(b'{"v":' + nest) + frames.frame(b'{"id":' + nest) + frames.frame(b'{"footer":' + nest)
    )


def odd(path, data, random):
    hostile = (b"", b"\n", b"null", b'{"v":', b'{"v":[]}', b'{"footer":null}', b'{"id":NaN}', b"\xff" * 40, b"9" * 5000)
    path.write_bytes(b"".join(map(frames.frame, random.sample(hostile, 5))))


HOSTILE = [fuzzed, noise, empty, fifo, directory, link, newer, deep, odd]


def read_what_can_be(spool):
    """Read like `read_spool`, but meet what is no record or no segment with the errors that are documented."""
    records = []
    for name in reader.list_segments(spool):
        try:
            segment = reader.Segment(spool, name)
        except OSError as error:
            assert error.errno in {errno.ELOOP, errno.EINVAL}
            continue
        header, offset = segment.header(), 0
        assert header is None or isinstance(header, dict)
        while items := segment.read(offset, final=segment.is_final()):
            assert items[-1].end > offset
            offset = items[-1].end
            for item in items:
                if isinstance(item, frames.Line) and frames.kind_of(item.payload) == frames.RECORD:
                    try:
                        records.append(decode(item.payload).id)
                    except ValueError:
                        continue
        assert offset == segment.size()
        segment.close()
    return records


def test_r5_no_content_of_a_spool_stops_the_reader(spool, tmp_path):
    random = dice("R5")
    data = make_segment(spool, random, 5_000)
    sent = [decode(payload).id for payload in delivered(data) if frames.kind_of(payload) == frames.RECORD]
    for number in range(scaled(2_000)):
        hostile = tmp_path / str(number)
        hostile.mkdir()
        for at, make in enumerate(random.choices(HOSTILE, k=5)):
            make(hostile / f"{at}-{make.__name__}.seg", data, random)
        (hostile / "9-healthy.seg").write_bytes(data)
        began = time.process_time()
        assert read_what_can_be(str(hostile))[-len(sent) :] == sent
        assert time.process_time() - began <= 2.0


def test_r5_a_huge_sparse_segment_ends_where_no_writer_ever_comes(spool, tmp_path):
    data = make_segment(spool, dice("R5 huge"), 5_000, footer=False)
    huge(tmp_path / "huge.seg", data, None)
    began = time.process_time()
    found = read_spool(str(tmp_path))
    assert len(found.records) == len(lines_of(data)) - 1
    assert time.process_time() - began <= 2.0


def test_r5_a_segment_of_a_later_version_says_so_in_its_header(tmp_path):
    newer(tmp_path / "later.seg", None, None)
    assert reader.Segment(str(tmp_path), "later").header()["v"] == 2 > VERSION


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\x00",
        b"a",
        b"00000000 00000000 \n",
        b"00000000 00000001 x\n",
        b"\n00000000 ",
        b"00000000 000fffff ",
        b"00000000 000fffff " + b"x" * 4000 + b"\n",
        frames.frame(b"{}")[:-2] + b"\n",
        b"\n" + frames.frame(b"{}")[:-1],
    ],
    ids=repr,
)
def test_r5_hostile_lines_cost_time_linear_in_their_length(line, tmp_path):
    size = scaled(16 << 20)

    def seconds(size):
        (tmp_path / "x.seg").write_bytes(line * (size // len(line)))
        began = time.process_time()
        read_what_can_be(str(tmp_path))
        return time.process_time() - began

    assert seconds(size) <= 8 * seconds(size // 4) + 0.3
