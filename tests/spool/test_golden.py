"""R21: spools of every released format are read for ever, and one of a later format is left in peace."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from ave.record import joined
from ave.spool import reader, writer
from ave.spool import segment as segments
from ave.testing import read_spool

GOLDEN = Path(__file__).parents[1] / "data" / "spool"
EXPECTED = json.loads((GOLDEN / "v1" / "expected.json").read_text())


def digest(body):
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("name", EXPECTED, ids=lambda name: EXPECTED[name]["what"])
def test_r21_a_segment_of_version_1_is_read_as_ever(name, tmp_path):
    shutil.copy(GOLDEN / "v1" / f"{name}.seg", tmp_path)
    expected, found = EXPECTED[name], read_spool(str(tmp_path))
    assert found.headers == {name: expected["header"]}
    assert found.counts.get(name) == expected["count"]
    assert found.damage.get(name, 0) == expected["wounds"]
    assert len(found.records) == len(expected["records"])
    for record, golden in zip(found.records, expected["records"], strict=True):
        is_long = list(golden["body"]) == ["sha256"]
        assert {**record.as_dict(), "body": {"sha256": digest(record.body)} if is_long else record.body} == golden
    assert [{"id": r.id, "sha256": digest(r.body)} for r in joined(found.records)] == expected["joined"]


def test_r21_the_golden_spool_has_every_kind_of_segment():
    assert [f"{name}.seg" for name in EXPECTED] == sorted(path.name for path in (GOLDEN / "v1").glob("*.seg"))
    assert len({segment["what"] for segment in EXPECTED.values()}) > 10


def test_r21_a_segment_of_a_later_version_is_told_by_its_header():
    [name] = reader.list_segments(str(GOLDEN / "v2"))
    segment = reader.Segment(str(GOLDEN / "v2"), name)
    header = segment.header()
    segment.close()
    assert header is not None
    assert header["v"] == 2 > segments.VERSION


def test_r21_what_is_written_today_is_what_was_written_then(tmp_path, monkeypatch):
    """Byte for byte: whoever changes the format raises VERSION and adds a golden spool of it."""
    name, golden = next(iter(EXPECTED.items()))
    header, then = golden["header"], golden["records"]
    monkeypatch.setattr(segments, "_header", lambda: header)
    monkeypatch.setattr(segments, "_host", lambda: header["host"])
    monkeypatch.setattr(segments, "_new_name", lambda: name)
    monkeypatch.setattr("os.getpid", lambda: header["pid"])
    for record in then:
        fields = {field: record[field] for field in ("kind", "guid", "body", "source", "time")}
        writer.append(**fields, home=str(tmp_path))
    writer.close()
    written = tmp_path / ".ave" / "spool" / f"{name}.seg"
    assert written.read_bytes() == (GOLDEN / "v1" / f"{name}.seg").read_bytes()
