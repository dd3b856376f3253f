"""`ave spool`: what waits on this host, what exactly, and dead letters offered again."""

from __future__ import annotations

import json
import os
import time

import pytest
from calling import GUID, deliver, shown

from ave import home as homes
from ave import spool
from ave.exceptions import StoreUnavailable
from ave.lab.cli import contents
from ave.lab.cli import letters as boxes
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import Rejected
from ave.spool import frames, reader
from ave.testing import MemoryStore


@pytest.fixture
def place(home) -> str:
    """The spool, three shouts in it, of which two belong to one run."""
    for number, guid in enumerate((GUID, "run-another-one", GUID)):
        spool.append("shout", guid, {"n": number}, source="test", home=home)
    spool.close()
    return homes.ave(home, "spool")


# status


def test_an_empty_spool_is_told(ave, home):
    assert ave("spool", "status").out == (
        f"spool {home}/.ave/spool\n0 segments, 0 B of 0 B allowed\noldest record that waits: none\n"
        "store     waits  segments  for  dead\nembedded  0 B           0  -       0\n"
    )


def test_a_long_name_of_a_store_leaves_room_for_its_numbers_in_80_columns(ave, home, place):
    with open(f"{home}/.ave/config/decibel.json", "w") as file:
        json.dump({"enabled": True, "url": f"sqlite:///$HOME/{'a-rather-long-name-' * 5}.db"}, file)
    lines = ave("spool", "status").out.splitlines()[1:]
    assert max(map(len, lines)) <= 80
    assert sum("…" in line for line in lines) == 1


def test_what_waits_is_told_for_each_store(ave, home, place):
    config = f"{home}/.ave/config/decibel.json"
    with open(config, "w") as file:
        json.dump({"enabled": True, "url": "sqlite:///$HOME/verdicts.db"}, file)
    found = json.loads(ave("spool", "status", "--json").out)
    [segment] = reader.list_segments(place)
    size = os.path.getsize(reader.path(place, segment))
    assert (found["segments"], found["damaged_files"], found["newer"]) == (1, 0, [])
    assert size <= found["bytes"] < found["quota_bytes"]
    ways = {way.pop("store").partition("-")[0]: way for way in found["stores"]}
    assert ways.keys() == {"embedded", "sqlite"}
    for way in ways.values():
        assert 0 <= way.pop("lag_s") < 60
        assert way == {"waiting_segments": 1, "waiting_bytes": size, "dead": 0, "rejects": {}}


def test_what_a_store_rejected_is_told_with_the_most_frequent_reason_first(ave, letters, made):
    reasons = ["too odd", "too long", "too long", "too long", "too odd", "too new"]
    letters.add([Rejected(made("shout", {"n": n}), reason) for n, reason in enumerate(reasons)])
    [way] = json.loads(ave("spool", "status", "--json").out)["stores"]
    assert (way["dead"], list(way["rejects"].items())) == (6, [("too long", 3), ("too odd", 2), ("too new", 1)])
    assert ave("spool", "status").out.endswith(
        "embedded rejected 3: too long\nembedded rejected 2: too odd\nembedded rejected 1: too new\n"
    )


def test_the_lag_is_the_age_of_the_oldest_record(ave, home):
    spool.append("shout", GUID, {}, source="test", home=home, time=time.time_ns() - 7200 * 10**9)
    [way] = json.loads(ave("spool", "status", "--json").out)["stores"]
    assert 7200 <= way["lag_s"] < 7260
    assert "oldest record that waits: 2 h old" in ave("spool", "status").out


def test_what_is_delivered_does_not_wait(ave, home, place):
    deliver(home)
    spool.append("shout", GUID, {}, source="test", home=home)
    deliver(home)
    [way] = json.loads(ave("spool", "status", "--json").out)["stores"]
    assert (way["waiting_bytes"], way["lag_s"]) == (0, None)
    spool.close()


def test_damage_dead_letters_and_newer_segments_are_told(ave, home, place, made):
    os.mkdir(f"{place}/damaged")
    with open(f"{place}/damaged/a-0", "wb") as file:
        file.write(b"?" * 2048)
    with open(reader.path(place, "f" * 26), "wb") as file:
        file.write(frames.frame(b'{"v":2,"pid":1}'))
    DeadLetters(place, "embedded").add([Rejected(made("shout", {}), "too odd")])
    out = ave("spool", "status").out
    assert "1 segment of a newer version wait" in out
    assert "damaged: 1 piece, 2 KiB" in out
    assert out.splitlines()[-2].split()[-1] == "1"


# cat


def numbers(ran) -> list[int]:
    return [json.loads(line)["body"]["n"] for line in ran.out.splitlines()]


def test_all_records_in_the_spool_are_written_as_json(ave, home, place):
    ran = ave("spool", "cat")
    assert (numbers(ran), ran.code) == ([0, 1, 2], 0)
    assert list(json.loads(ran.out.splitlines()[0])) == ["id", "kind", "guid", "time", "host", "pid", "source", "body"]


def test_those_of_a_run_or_of_a_segment_can_be_asked_for(ave, home, place):
    assert numbers(ave("spool", "cat", GUID)) == [0, 2]
    [segment] = reader.list_segments(place)
    assert numbers(ave("spool", "cat", segment)) == [0, 1, 2]


def test_nothing_of_what_was_asked_for_is_the_answer_no(ave, home, place):
    ran = ave("spool", "cat", "run-unknown-1")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("ave: nothing of run-unknown-1 is in the spool")
    assert ave("spool", "cat", "../../etc/passwd").code == 1


def test_an_empty_spool_is_no_error(ave, home):
    assert ave("spool", "cat") == (0, "", "")


def test_damage_costs_the_record_it_hit(ave, home, place):
    [segment] = reader.list_segments(place)
    with open(reader.path(place, segment), "r+b") as file:
        content = file.read().replace(b'{"n":1}', b'{"n":7}')
        file.seek(0)
        file.write(content)
    assert numbers(ave("spool", "cat")) == [0, 2]


def test_records_do_nothing_to_a_terminal(home):
    spool.append("shout", GUID, {"a": "\x9b31m\u202e"}, source="test", home=home)
    assert shown("spool", "cat").out.isascii()
    spool.close()


def test_reasons_that_are_all_different_are_not_all_remembered(ave, home, letters, made, monkeypatch):
    monkeypatch.setattr(contents, "REASONS_COUNTED", 2)
    letters.add([Rejected(made("shout", {"n": number}), f"row {number % 3}") for number in range(7)])
    [way] = json.loads(ave("spool", "status", "--json").out)["stores"]
    assert (way["dead"], way["rejects"]) == (7, {"row 0": 3, "row 1": 2})


# letters and retry


@pytest.fixture
def letters(home) -> DeadLetters:
    return DeadLetters(homes.ave(home, "spool"), "embedded")


@pytest.mark.parametrize("command", ["letters", "retry"])
def test_without_dead_letters_there_is_nothing_to_do(command, ave, home):
    assert ave("spool", command) == (0, "there are no dead letters\n", "")


def test_each_dead_letter_is_shown_with_the_reason_of_its_store(ave, home, letters, made):
    records = [made("shout", {"title": f"number {number}"}) for number in range(2)]
    letters.add([Rejected(record, "no room\x1b[2J in the table") for record in records])
    old = made("shout", {"title": "long ago"})
    DeadLetters(homes.ave(home, "spool"), "old-store").add([Rejected(old, "who is that?")])
    code, out, _ = ave("spool", "letters")
    assert code == 0
    lines = out.splitlines()
    assert [GUID in line for line in lines] == [True, False] * 3
    assert ["number 0" in lines[0], "number 1" in lines[2], "long ago" in lines[4]] == [True] * 3
    assert lines[1] == rf"  embedded: {records[0].id}: no room\x1b[2J in the table"
    assert lines[5] == f"  old-store: {old.id}: who is that?"
    assert ave("spool", "letters", "old-store").out.splitlines() == lines[4:]
    assert len(list(letters.read())) == 2, "they are only looked at"


def test_a_dead_letter_as_json_has_the_whole_record(ave, letters, made):
    record = made("shout", {"n": 2**70})
    letters.add([Rejected(record, "too large")])
    code, out, _ = ave("spool", "letters", "--json")
    assert (code, json.loads(out)) == (0, {"store": "embedded", "reason": "too large", "record": record.as_dict()})


def test_what_the_store_takes_now_is_delivered(ave, letters, made, store):
    records = [made("shout", {"n": number}) for number in range(3)]
    letters.add([Rejected(record, "no room in the table") for record in records])
    assert ave("spool", "retry") == (0, "embedded: 3 delivered, 0 refused\n", "")
    assert list(letters.read()) == []
    assert store.count(GUID) == {"shout": 3}
    assert ave("spool", "retry", "embedded").code == 0


def test_what_the_store_refuses_again_stays(ave, letters, made):
    good, bad = made("shout", {"n": 1}), made("shout", {"n": 2}, pid=2**70)
    letters.add([Rejected(good, "no room"), Rejected(bad, "too odd")])
    ran = ave("spool", "retry")
    assert ran.code == 1
    assert ran.out.startswith(f"embedded: 1 delivered, 1 refused\n  {bad.id}: ")
    assert [letter.record for letter in letters.read()] == [bad]


def test_a_store_that_fails_at_one_record_is_given_the_others(letters, made, monkeypatch, home):
    records = [made("shout", {"n": number}) for number in range(5)]
    letters.add([Rejected(record, "?") for record in records])
    store = MemoryStore()

    def reject(record):
        if record == records[3]:
            raise ZeroDivisionError("unforeseen")
        return ""

    store.reject = reject
    monkeypatch.setattr("ave.lab.config.routes.open_store", lambda *_, **__: store)
    [tried] = boxes.retry(home, None)
    assert (tried.delivered, tried.refused, [again.reason for again in tried.some]) == (
        4,
        1,
        ["ZeroDivisionError: unforeseen"],
    )
    assert [letter.record for letter in letters.read()] == [records[3]]


def test_a_store_that_goes_away_keeps_what_it_was_not_offered(letters, made, monkeypatch, home):
    records = [made("shout", {"n": number}) for number in range(5)]
    letters.add([Rejected(record, "?") for record in records])
    monkeypatch.setattr(boxes, "BATCH", 2)

    class Leaving(MemoryStore):
        def put(self, batch):
            if len(self.batches) == 2:
                raise StoreUnavailable("gone")
            return super().put(batch)

    store = Leaving()
    monkeypatch.setattr("ave.lab.config.routes.open_store", lambda *_, **__: store)
    [tried] = boxes.retry(home, None)
    assert (tried.delivered, tried.refused, tried.why_not) == (4, 0, "gone")
    assert [letter.record for letter in letters.read()] == records[4:]


def test_letters_of_a_store_that_is_not_configured_stay_and_it_is_told(ave, home, made):
    letters = DeadLetters(homes.ave(home, "spool"), "old-store")
    letters.add([Rejected(made("shout", {}), "?")])
    ran = ave("spool", "retry")
    assert ran.code == 1
    assert ran.err == "ave: old-store: no store of that name is configured, 1 dead letter of it stay where they are\n"
    assert len(list(letters.read())) == 1


@pytest.mark.parametrize("command", ["letters", "retry"])
def test_a_store_that_is_none_is_a_usage_error(command, ave, home):
    assert ave("spool", command, "nowhere") == (2, "", "ave: there is no store nowhere; there are: embedded\n")
