"""R14: a record that is taken out of the spool leaves a hole, and the hole says where it was."""

from __future__ import annotations

from holes import missing, numbers_of
from scale import dice, scaled

from ave import spool as spools
from ave.exceptions import SpoolFull
from ave.record import decode
from ave.spool import frames, reader, writer
from ave.testing import read_spool


def emit(random, monkeypatch):
    """Fill a few segments: rolled, closed and left; with continuations, and with gaps for what was refused."""
    monkeypatch.setattr(writer, "SEGMENT_SIZE", 8_000)
    for n in range(150):
        text = "7 " * random.choice((0, 10, 200)) if n % 40 else "7 " * 40_000
        spools.append(random.choice(("log", "verdict")), "guid-of-holes", {"n": n, "text": text}, source="test")
        if random.random() < 0.05:
            refuse(random.randrange(1, 5), monkeypatch)
        if random.random() < 0.02:
            writer.close()


def refuse(count, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ave.spool.room.Room.takes", lambda *_: False)
        for _ in range(count):
            try:
                spools.append("trace", "guid-of-holes", {}, source="test")
            except SpoolFull:
                continue


def test_r14_any_record_that_is_removed_leaves_a_hole_with_its_number(spool, monkeypatch):
    random = dice("R14")
    emit(random, monkeypatch)
    gaps = [record for record in read_spool(spool).records if record.kind == "gap"]
    assert len(gaps) > 2
    assert missing(spool) == set()
    for trial in range(scaled(1_000)):
        name = random.choice(reader.list_segments(spool))
        path = reader.path(spool, name)
        with open(path, "rb") as file:
            data = file.read()
        lines = frames.scan(data, 0, final=True)
        records = [line for line in lines if frames.kind_of(line.payload) == frames.RECORD]
        if frames.kind_of(lines[-1].payload) != frames.FOOTER:
            records = records[:-1]  # whether a writer that died had one more, nobody can know
        if not records:
            continue
        line = random.choice(records)
        gone = numbers_of(decode(line.payload))
        write(path, data[: line.offset] + data[line.end :])
        assert missing(spool) == gone, f"trial {trial}"
        write(path, data)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
