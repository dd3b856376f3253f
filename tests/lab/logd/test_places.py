from __future__ import annotations

import os

import pytest

from ave.lab.logd.places import damaged, make_way, sweep
from tests.lab.logd.segments import footer, header, record, write

WAYS = {
    "a file": lambda path: open(path, "w").close(),
    "a directory": lambda path: os.makedirs(f"{path}/more"),
    "a FIFO": os.mkfifo,
    "a link to itself": lambda path: os.symlink(".", path),
    "a dangling link": lambda path: os.symlink("nowhere", path),
}

FILES = ["ledger.db", "cursors/{0}", "dead/{0}/letters", "dead/{0}/taken", "dead/{0}/lock", "dead/{0}/taking"]
DIRECTORIES = ["cursors", "dead", "dead/{0}", "damaged"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", FILES + DIRECTORIES)
def test_whatever_lies_in_a_place_of_ours_stops_nothing(place, way, daemon, store, spool):
    one = daemon()
    [memory] = [shipper.store_name for shipper in one.shippers if "memory" in shipper.store_name]
    one.drain()
    path = os.path.join(spool, place.format(memory))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isdir(path):
        os.rename(path, f"{spool}/moved")
    elif os.path.exists(path):
        os.unlink(path)
    WAYS[way](path)

    write(spool, 1, header(), record(1), record(2), b"damage\n", footer(2))
    store.reject = lambda record: "too large" if record.body["n"] == 2 else ""
    assert daemon().drain() == 0
    assert [record.body for record in store.records.values()] == [{"n": 1}]


def test_what_is_as_it_should_be_stays(daemon, store, spool):
    write(spool, 1, header(), record(1), footer(1))
    daemon().drain()
    before = sorted(os.listdir(spool))
    make_way(spool, os.listdir(f"{spool}/cursors"))
    assert sorted(os.listdir(spool)) == before


def test_what_is_in_the_place_of_the_damaged_is_kept_beside_it(spool):
    with open(f"{spool}/damaged", "w") as file:
        file.write("mine")
    assert os.listdir(damaged(spool)) == []
    [kept] = [entry for entry in os.listdir(spool) if entry.startswith("damaged-")]
    with open(f"{spool}/{kept}") as file:
        assert file.read() == "mine"


def test_what_a_killed_process_left_without_a_name_is_swept_away_after_an_hour(daemon, store, spool):
    for directory in ("cursors", "damaged"):
        os.mkdir(f"{spool}/{directory}")
    old, fresh = ("0193.new", "size.17.new", "cursors/embedded.17.new", "damaged/x.17.new"), ("0194.new", "notes.txt")
    for place in (*old, *fresh):
        with open(f"{spool}/{place}", "w"):
            pass
    for place in (*old, "notes.txt"):
        os.utime(f"{spool}/{place}", (1, 1))
    sweep(spool)
    assert [place for place in (*old, *fresh) if os.path.exists(f"{spool}/{place}")] == list(fresh)


def test_what_gets_its_name_while_others_are_swept_away_is_left_alone(spool, monkeypatch):
    with open(f"{spool}/0193.new", "w"):
        pass
    os.utime(f"{spool}/0193.new", (1, 1))
    monkeypatch.setattr(os, "listdir", lambda directory: ["0192.new", "0193.new"] if directory == spool else [])
    sweep(spool)
    assert not os.path.exists(f"{spool}/0193.new")
