"""R15: whatever a file operation answers, append returns an honest word or raises SpoolError, and goes on after."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import full_disk
import pytest
from disks import Disk, Image
from scale import SCALE, dice

from ave import spool as spools
from ave.exceptions import SpoolError
from ave.record import joined
from ave.spool import writer
from ave.testing import read_spool, wait_until

ROOT = str(Path(__file__).parents[2])
GUID = "guid-of-faults"

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EINTR]
SHORT = 0


class Fault:
    """Lets operation number `at`, and if `sticky` all behind it until it is mended, fail with `error`.

    SHORT is no error but a write that takes half of its bytes.
    """

    def __init__(self, at, error, sticky):
        self.at, self.error, self.sticky = at, error, sticky
        self.count = 0
        self.is_mended = False

    def __call__(self, name, arguments):
        self.count += 1
        if self.is_mended or self.count < self.at or (self.count > self.at and not self.sticky):
            return None
        if self.error != SHORT:
            raise OSError(self.error, os.strerror(self.error))
        return len(arguments[1]) // 2 if name == "write" else None


def bodies():
    """What is emitted: (kind, body), short and long, synced and not, enough for some rolls."""
    yield from (("log", {"n": n}) for n in range(3))
    yield from (("verdict", {"n": n, "text": "v" * 1000}) for n in range(3, 6))
    yield "shout", {"n": 6, "text": "7 ö" * 25_000}
    yield from (("log", {"n": n, "text": "x" * 9_000}) for n in range(7, 10))
    yield "exception", {"n": 10}


def emit():
    """Append everything; return word -> numbers. Anything but SpoolError is for the caller to see."""
    words = {spools.QUEUED: [], spools.SYNCED: [], "refused": []}
    for kind, body in bodies():
        try:
            word = spools.append(kind, GUID, body, source="test")
        except SpoolError as error:
            assert str(error)
            word = "refused"
        words[word].append(body["n"])
    return words


def check(spool, words):
    """Whatever was acknowledged is there once and right; what was refused is there at most once."""
    records = [r for r in joined(read_spool(spool).records) if r.kind != "gap" and "_continues" not in r.body]
    kept = [record.body["n"] for record in records]
    assert len(kept) == len(set(kept)) == len({record.id for record in records})
    sent = {body["n"]: body for _, body in bodies()}
    for n in words[spools.QUEUED] + words[spools.SYNCED]:
        [body] = [record.body for record in records if record.body["n"] == n]
        assert body == sent[n]


def resumes():
    try:
        return spools.append("verdict", GUID, {"n": 99}, source="test")
    except SpoolError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize("error", [*ERRORS, SHORT], ids=lambda error: errno.errorcode.get(error, "short write"))
def test_r15_any_operation_may_fail(error, sticky, settings, monkeypatch, tmp_path, spool):
    monkeypatch.setattr(writer, "SEGMENT_SIZE", 20_000)
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    settings(policy="class")
    image, failed = str(tmp_path / "image"), 0
    points = itertools.count(1) if SCALE >= 10 else itertools.count(dice(f"R15 {error} {sticky}").randint(1, 2), 2)
    for at in points:
        with monkeypatch.context() as patch:
            fault = Fault(at, error, sticky)
            disk = Disk(patch, fault)
            words = emit()
            failed += len(words["refused"])
            fault.is_mended = True
            wait_until(resumes, timeout=1.0, what="the spool to be used again")
            writer.close()
        check(spool, words)
        Image(disk.notes).write_to(image)
        synced = {record.body.get("n") for record in read_spool(image).records}
        assert synced >= set(words[spools.SYNCED]), "called synced, but a power cut would take it"
        writer._emitters.clear()
        shutil.rmtree(image)
        shutil.rmtree(spool, ignore_errors=True)
        if fault.count < at:
            break
    assert at > 40
    assert failed > 0 or error in {errno.EINTR, SHORT}


def run(*command):
    """Run full_disk.py and check that whatever it says was kept is there once, and what was refused is counted."""
    done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}, check=True)
    told = json.loads(done.stdout)
    assert sorted(told["found"]) == [*told["kept"], 1000]
    assert told["resumed_s"] <= 1.0
    assert told["gaps"] == len(told["refused"])
    return told


def test_r15_a_short_write_of_the_kernel_moves_the_record_to_the_next_segment(home):
    told = run(sys.executable, full_disk.__file__, "limit", str(home))
    assert told["kept"] == list(range(100))
    assert told["refused"][0] == 100


def test_r15_a_full_file_system_is_told_and_survived(home):
    alone = ["unshare", "--mount", "--propagation", "private"]
    if not shutil.which("unshare") or subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", str(home)]).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    told = run(*alone, sys.executable, full_disk.__file__, "mount", str(home))
    assert len(told["kept"]) > 50
    assert len(told["refused"]) > 20


def test_r15_after_an_error_the_spool_is_tried_again_within_a_second(monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr("ave.io.open_append", fail)
        with pytest.raises(SpoolError, match="free some space"):
            spools.append("log", GUID, {}, source="test")
    wait_until(resumes, timeout=1.0, what="the spool to be used again")
