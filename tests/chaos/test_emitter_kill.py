"""R1: what append said is kept survives the death of the process, however it dies."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import killed_emitter
import pytest
from killed_emitter import ACK
from scale import SEED, dice, scaled

from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])


def start(*arguments):
    command = [sys.executable, killed_emitter.__file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": ROOT})


def compare(home: Path, data: bytes) -> Counter:
    """Compare a home's spool with the acknowledgements in `data`; count what is not as promised, and what was torn."""
    acknowledged = {(name, n): crc for name, n, crc in ACK.iter_unpack(data)}
    found = read_spool(str(home / ".ave" / "spool"))
    kept = {(r.body["name"], r.body["n"]): zlib.crc32(r.body["text"].encode()) for r in found.records}
    unasked = Counter(name for name, _ in kept.keys() - acknowledged.keys())
    return Counter(
        acknowledged=len(acknowledged),
        lost=len(acknowledged.keys() - kept.keys()),
        twice=len(found.records) - len(kept) + len(found.records) - len({r.id for r in found.records}),
        wrong=sum(kept[key] != crc for key, crc in acknowledged.items() if key in kept),
        unasked=sum(number > 1 for number in unasked.values()),
        torn=sum(found.damage.values()),
    )


def check(totals: Counter, at_least: int) -> None:
    assert totals["acknowledged"] >= at_least, "void: nothing was acknowledged"
    assert {name: totals[name] for name in ("lost", "twice", "wrong")} == {"lost": 0, "twice": 0, "wrong": 0}
    assert totals["unasked"] == 0, "an emitter left more than the one record it was just writing"


@pytest.mark.slow
def test_r1_what_a_killed_emitter_acknowledged_is_there_once_and_right(tmp_path):
    totals, kills = Counter(), scaled(10_000)
    with start("zygote", tmp_path / "kill", kills, f"{SEED} R1") as zygote:
        for line in zygote.stdout:
            home = Path(line.decode().strip())
            totals += compare(home, (home / "acks").read_bytes())
            shutil.rmtree(home)
    assert zygote.returncode == 0
    print(dict(totals))
    check(totals, at_least=kills)
    assert totals["torn"] >= scaled(50), "void: too few writes were cut to have tested anything"


@pytest.mark.slow
def test_r1_a_killed_interpreter_loses_nothing_that_it_acknowledged(home):
    random, data = dice("R1 interpreters"), b""
    for name in range(scaled(500)):
        with start("emit", home, name, random.choice(killed_emitter.SIZES)) as emitter:
            acks = emitter.stdout.read(ACK.size)
            time.sleep(random.uniform(0, 0.005))
            emitter.send_signal(signal.SIGKILL)
            acks += emitter.stdout.read()
        data += acks[: len(acks) - len(acks) % ACK.size]
    check(compare(home, data), at_least=scaled(500))
