"""R17: threads, forks of every make and signals: no id twice, no line mixed, nothing stuck."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import forking_emitter
import pytest
from holes import missing
from scale import SEED, scaled

from ave.record import segment_of
from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])


@pytest.mark.slow
def test_r17_forks_threads_and_signals_mix_nothing(home, spool, tmp_path):
    children = scaled(10_000)
    (kept := tmp_path / "kept").touch()
    command = [sys.executable, forking_emitter.__file__, str(children), f"{SEED} R17"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "KEPT": str(kept)}
    subprocess.run(command, env=environment, timeout=10 + children / 10, check=True)
    found = read_spool(spool)
    ids = [record.id for record in found.records]
    assert len(ids) == len(set(ids)) == kept.stat().st_size
    assert found.damage == {}
    assert missing(spool) == set()
    pids = {segment_of(record.id): record.pid for record in found.records}
    assert all(record.pid == pids[segment_of(record.id)] for record in found.records)
    assert all(found.headers[name]["pid"] == pid for name, pid in pids.items())
    who = Counter(record.body["who"] for record in found.records)
    assert who["fork"] >= 2 * (children // 8 * 8)
    assert who["fork in C"] == 2 * who["before a fork in C"] > 0
    assert min(who[name] for name in ("spawn", "forkserver", "subprocess", "exit", "signal", "thread")) > 0
