"""R16: the quota is a hard bound, a trace goes before a verdict does, and what is refused is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import greedy_emitter
import pytest
from holes import missing
from scale import SEED, scaled

from ave import spool as spools
from ave.exceptions import SpoolFull
from ave.spool.room import used_bytes
from ave.testing import read_spool, wait_until

ROOT = str(Path(__file__).parents[2])
EMITTERS = 2

#: What one append may write at most beyond the length at which a segment is rolled.
LINE = 64 << 10


def start(*arguments):
    command = [sys.executable, greedy_emitter.__file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT})


@pytest.mark.slow
def test_r16_a_quota_holds_and_keeps_every_verdict(home, spool, settings):
    quota, verdicts = scaled(80 << 20), scaled(10_000) // EMITTERS
    settings(quota_bytes=quota)
    emitters = [start(home, 10 * quota // EMITTERS, verdicts, f"{SEED} R16 {name}") for name in range(EMITTERS)]
    most = 0
    while any(emitter.poll() is None for emitter in emitters):
        if os.path.isdir(spool):
            most = max(most, used_bytes(spool))
        time.sleep(0.01)  # the rate at which the bound is looked at
    assert quota // 2 < most <= quota + EMITTERS * (greedy_emitter.SEGMENT_SIZE + LINE)
    kept, refused = Counter(), Counter()
    for emitter in emitters:
        for counter, told in zip((kept, refused), json.loads(emitter.communicate()[0]), strict=True):
            counter.update(told)
    assert kept["verdict"] + kept["exception"] >= verdicts * EMITTERS
    assert set(refused) == {"trace", "log"}
    assert refused["trace"] > refused["log"] > 0
    records = read_spool(spool).records
    assert Counter(record.kind for record in records if record.kind != "gap") == kept
    assert sum((Counter(r.body["kinds"]) for r in records if r.kind == "gap"), Counter()) == refused
    assert all({r.guid} == {f"guid-of-{kind}" for kind in r.body["kinds"]} for r in records if r.kind == "gap")
    assert missing(spool) == set()


def test_r16_with_the_reserve_full_a_verdict_is_refused_aloud(settings, spool):
    settings(quota_bytes=200_000)
    order = ["trace", "metric", "request", "log", "stderr", "shout", "verdict"]
    used = []
    for kind in order:
        with pytest.raises(SpoolFull, match=f"no room left for {kind} within the quota of 200000 bytes"):
            for _ in range(200):  # more than the quota has room for
                assert spools.append(kind, "guid-of-quota", {"text": "7 " * 500}, source="test") == spools.QUEUED
        used.append(used_bytes(spool))
    assert used == sorted(set(used))
    for kind in order:
        with pytest.raises(SpoolFull):
            spools.append(kind, "guid-of-quota", {"text": "7 " * 500}, source="test")
    assert used_bytes(spool) <= 200_000


def test_r16_what_was_refused_is_told_when_there_is_room_again(settings, spool):
    settings(quota_bytes=100_000)
    (filler := Path(spool) / "staged").parent.mkdir(parents=True)
    filler.write_bytes(bytes(100_000))
    for kind in ("verdict", "log", "log"):
        with pytest.raises(SpoolFull):
            spools.append(kind, "guid-of-quota", {}, source="test")
    filler.unlink()

    def is_taken():
        try:
            return spools.append("verdict", "guid-of-quota", {}, source="test")
        except SpoolFull:
            return None

    wait_until(is_taken, timeout=2.0, what="the quota to be looked at again")
    gap, verdict = read_spool(spool).records
    count = gap.body["count"]
    assert (gap.kind, gap.guid, gap.body["reason"]) == ("gap", "guid-of-quota", "quota")
    assert (gap.body["first"], gap.body["last"]) == (1, count)
    assert gap.body["kinds"] == {"verdict": count - 2, "log": 2}
    assert verdict.id == f"{gap.body['segment']}-{count + 2}"


def test_r16_what_was_refused_is_told_at_the_end_if_nothing_else_comes(settings, spool):
    settings(quota_bytes=100_000)
    (filler := Path(spool) / "staged").parent.mkdir(parents=True)
    filler.write_bytes(bytes(80_000))
    with pytest.raises(SpoolFull):
        spools.append("trace", "guid-of-quota", {}, source="test")
    spools.close()
    [gap] = read_spool(spool).records
    assert gap.body["kinds"] == {"trace": 1}
