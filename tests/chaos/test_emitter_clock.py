"""R18: ids and the order of records do not depend on the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from holes import missing
from scale import dice, scaled

from ave import spool as spools
from ave.record import segment_of, seq_of
from ave.spool import writer
from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])
SCRIPT = str(Path(__file__).with_name("ticking_emitter.py"))
HOUR_S, YEAR_S, END_OF_2038_S = 3600, 365 * 24 * 3600, 2**31 - 1


def check(records):
    """Ids are unique, and in each segment the order of the file is that of the numbers."""
    assert len({record.id for record in records}) == len(records)
    seqs = {}
    for record in records:
        seqs.setdefault(segment_of(record.id), []).append(seq_of(record.id))
    assert all(numbers == sorted(numbers) for numbers in seqs.values())


def test_r18_a_clock_that_jumps_repeats_no_id_and_changes_no_order(spool, monkeypatch):
    random, clock = dice("R18"), {"s": 0.0}
    monkeypatch.setattr(writer, "SEGMENT_SIZE", 5_000)
    monkeypatch.setattr(time, "time_ns", lambda: int(clock["s"] * 1e9))
    monkeypatch.setattr(time, "time", lambda: clock["s"])
    count = scaled(5_000)
    for n in range(count):
        jump = random.choice((0, 0.001, -0.001, 5, -5, HOUR_S, -HOUR_S, 10 * YEAR_S, -10 * YEAR_S, END_OF_2038_S))
        clock["s"] = max(0.0, clock["s"] + jump) % (100 * YEAR_S)
        spools.append("log", "guid-of-clocks", {"n": n}, source="test")
    writer.close()
    records = read_spool(spool).records
    check(records)
    assert [record.body["n"] for record in records] == list(range(count)), "segments are not in order"
    assert missing(spool) == set()


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")
@pytest.mark.parametrize("start", ["-1h", "+10y", "@2038-01-19 03:14:05", "@1970-01-01 00:00:01"])
def test_r18_processes_with_a_wrong_clock_of_their_own_get_along(start, home, spool, tmp_path):
    offsets = tmp_path / "offsets"
    offsets.write_text("+0")
    environment = {**os.environ, "PYTHONPATH": ROOT}
    stepping = {**environment, "FAKETIME_TIMESTAMP_FILE": str(offsets), "FAKETIME_NO_CACHE": "1"}
    commands = [
        (["faketime", "-f", start, sys.executable, SCRIPT], environment),
        (["faketime", "-f", "+0", "env", "-u", "FAKETIME", sys.executable, SCRIPT], stepping),
        ([sys.executable, SCRIPT], environment),
    ]
    pipe = subprocess.PIPE
    emitters = [subprocess.Popen(line, env=env, stdin=pipe, stdout=pipe, text=True) for line, env in commands]
    for step in ("+0", "+5", "-5", "+10y", "-1h", "+0"):
        offsets.write_text(step)
        for emitter in emitters:
            emitter.stdin.write("go\n")
            emitter.stdin.flush()
            assert emitter.stdout.readline() == "done\n"
    for emitter in emitters:
        emitter.communicate()
        assert emitter.returncode == 0
    found = read_spool(spool)
    check(found.records)
    assert len(found.records) == 3 * 6 * 10
    assert len(found.headers) == 3
    times = {record.time // 10**9 for record in found.records}
    assert max(times) - min(times) > HOUR_S // 2, "void: no clock was wrong"
    assert missing(spool) == set()
