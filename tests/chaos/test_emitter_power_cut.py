"""R2: what append called `synced` survives a power cut, whatever the disk kept of what was not synced."""

from __future__ import annotations

import errno
import shutil
import time

import pytest
from disks import Disk, Image
from scale import dice, scaled

from ave import spool as spools
from ave.exceptions import SpoolError
from ave.spool import writer
from ave.testing import read_spool

#: Runs of the emitter, each with many crash images.
RUNS = 20


def moody(random):
    """A disk that now and then fails to sync, or takes a part of a write only."""

    def fault(name, arguments):
        if name == "sync" and random.random() < 0.05:
            raise OSError(errno.EIO, "the disk failed")
        if name == "write" and random.random() < 0.02:
            return random.randrange(len(arguments[1]))
        return None

    return fault


def emit(disk, random):
    """Append this and that; return the bodies, and (number of the body, notes so far) of each called synced."""
    bodies, synced = [], []
    for number in range(random.randrange(20, 60)):
        bodies.append({"number": number, "text": "x" * random.choice((0, 100, 5000))})
        try:
            word = spools.append(
                random.choice(("verdict", "exception", "log")), "guid-of-power", bodies[-1], source="t"
            )
        except SpoolError:
            continue
        if word == spools.SYNCED:
            synced.append((number, len(disk.notes)))
    return bodies, synced


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["class", "always"])
def test_r2_no_power_cut_loses_a_synced_record(policy, settings, monkeypatch, tmp_path, spool):
    random, images = dice(f"R2 {policy}"), scaled(20_000) // 2 // RUNS
    monkeypatch.setattr(writer, "SEGMENT_SIZE", 30_000)
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    settings(policy=policy)
    image = str(tmp_path / "image")
    lost = wrong = seconds = total = 0
    for _ in range(RUNS):
        with monkeypatch.context() as patch:
            disk = Disk(patch, moody(random))
            bodies, synced = emit(disk, random)
            writer.close()
        shutil.rmtree(spool)
        for _ in range(images):
            end = random.randint(0, len(disk.notes))
            Image(disk.notes[:end], random).write_to(image)
            began = time.process_time()
            records = [record for record in read_spool(image).records if record.kind != "gap"]
            seconds = max(seconds, time.process_time() - began)
            shutil.rmtree(image)
            kept = {record.body["number"] for record in records}
            total += len(kept)
            lost += sum(number not in kept for number, at in synced if at <= end)
            wrong += sum(record.body != bodies[record.body["number"]] for record in records)
    assert total > images * RUNS, "void: the images were empty"
    assert (lost, wrong) == (0, 0)
    assert seconds <= 0.05
