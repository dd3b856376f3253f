"""S3: a value of any length goes through the spool in pieces, within little memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import long_emitter
import pytest
from scale import scaled

from ave.record import joined
from ave.spool import frames, reader
from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])


@pytest.mark.slow
@pytest.mark.parametrize(("what", "size"), [("text", scaled(1 << 30)), ("fields", scaled(10**6))])
def test_s3_one_large_body_costs_the_emitter_little_memory_and_comes_back_whole(what, size, home, spool):
    command = [sys.executable, long_emitter.__file__, what, str(home), str(size)]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    grown = int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    assert grown <= 32 << 20
    records = [record for record in read_spool(spool).records if record.source == "test"]
    sent = long_emitter.make(what, size)
    assert len(records) > 10
    [whole] = joined(records)
    assert whole.body == sent
    if what == "text":
        [digest] = [record.body["sha256"] for record in records if "sha256" in record.body]
        assert digest == hashlib.sha256(sent["text"].encode()).hexdigest()


def test_s3_no_line_of_a_large_body_is_longer_than_readers_take(home, spool):
    command = [sys.executable, long_emitter.__file__, "text", str(home), "1000000"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": ROOT}, stdout=subprocess.PIPE, check=True)
    for name in reader.list_segments(spool):
        segment, offset = reader.Segment(spool, name), 0
        while items := segment.read(offset):
            offset = items[-1].end
            assert all(len(item.payload) <= 128 * 1024 < frames.LINE_MAX for item in items)
        segment.close()
