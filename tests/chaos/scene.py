"""A spool in which an ave-logd that drains it comes past every point, and what must have become of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from forked import DATABASE, assert_balances, configure, segments, stored

from ave import home as homes
from ave.lab.logd.letters import DeadLetters
from tests.lab.logd.segments import footer, header, name, record, write

STORES = (DATABASE, "search.db")


@pytest.fixture
def scene(home, logd):
    """Make the spool, and let there be two stores to bring it to."""
    spool = homes.ave(str(home), "spool")

    def make():
        shutil.rmtree(spool, ignore_errors=True)
        for database in STORES:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{home}/{database}{suffix}").unlink(missing_ok=True)
        text = "x" * 30_000
        write(spool, 1, header(), *(record(seq, body={"n": seq, "text": text}) for seq in range(1, 21)), footer(20))
        write(spool, 2, header(), record(1, of=name(2)), record(2, of=name(2), time=10**30), footer(2))
        write(spool, 3, header(), record(1, of=name(3)), b"damage\n", record(3, of=name(3)), footer(3))
        return spool

    configure(home, "elasticsearch", url="sqlite:///$HOME/search.db")
    return make


def assert_scene_is_stored(home, spool):
    """Assert that everything of the scene is where it belongs, once."""
    expected = {f"{name(1)}-{seq}" for seq in range(1, 21)} | {f"{name(2)}-1", f"{name(3)}-1", f"{name(3)}-3"}
    for database in STORES:
        there = stored(home, database)
        assert {id_ for id_, (kind, _) in there.items() if kind == "shout"} == expected
        # told at least once; one that a full disk refused is counted besides
        gaps = {body["first"] for kind, body in there.values() if kind == "gap" and body["reason"] != "quota"}
        assert gaps == {2}
    for store in os.listdir(f"{spool}/dead"):
        assert [letter.record.id for letter in DeadLetters(spool, store).read()] == [f"{name(2)}-2"]
    assert len(os.listdir(f"{spool}/dead")) == 2
    assert segments(home) == []
    found = assert_balances(home, gaps=[(name(3), 2, 2)])
    assert [row.emitted for row in found.rows if row.kind == "shout"] == [24]
