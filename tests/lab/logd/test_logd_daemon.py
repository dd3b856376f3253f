from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import pytest

from ave import home as homes
from ave import io
from ave import spool as emit
from ave.exceptions import ConfigError
from ave.lab.logd import daemon as daemons
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import STORES
from ave.spool import cursors, reader
from ave.testing import wait_until
from tests.lab.logd.segments import GUID, footer, header, line, name, record, write


@contextmanager
def serving(daemon):
    """Let a daemon serve in a thread."""
    thread = threading.Thread(target=daemon.serve)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join(6)
        assert not thread.is_alive()


def segments(spool):
    return reader.list_segments(spool)


# Draining


def test_drained_records_are_stored_and_their_segments_removed(daemon, store, spool):
    write(spool, 1, header(), *map(record, range(1, 11)), footer(10))
    write(spool, 2, header(), *(record(seq, of=name(2)) for seq in range(1, 11)))
    assert daemon().drain() == 0
    assert len(store.records) == 20
    assert segments(spool) == []


def test_a_drain_ends_though_somebody_goes_on_writing(daemon, store, spool, home):
    emit.append("shout", GUID, {"n": 1}, source="test")
    [segment] = segments(spool)
    store.reject = lambda _: emit.append("shout", GUID, {"n": 2}, source="test", home=f"{home}/other") and ""
    assert daemon().drain() == 0
    assert segment not in segments(spool), "the drain closes what its own process writes"
    assert [record.body["n"] for record in store.records.values()] == [1]


def test_a_drain_says_which_store_takes_nothing_and_loses_nothing(daemon, store, spool, caplog):
    write(spool, 1, header(), record(1), record(2, "verdict"), footer(2))
    store.down = True
    one = daemon()
    assert one.drain() == 1
    assert [
        message for message in caplog.messages if "not drained: memory" in message and "the store is down" in message
    ]
    assert segments(spool) == [name(1)]
    store.down = False
    assert daemon().drain() == 0
    assert [record.kind for record in store.records.values()] == ["shout"]
    assert segments(spool) == []


def test_a_drain_that_is_stopped_ends_at_once_and_says_so(daemon, store, spool):
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()
    one.stop()
    assert one.drain() == 1
    assert store.records == {}
    assert segments(spool) == [name(1)]


def test_a_drain_without_books_says_so_and_removes_nothing(daemon, store, spool, monkeypatch, caplog):
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()
    monkeypatch.setattr(one.books.ledger, "commit", lambda: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert one.drain() == 1
    assert [message for message in caplog.messages if "not drained: the books: " in message]
    assert len(store.records) == 1
    assert segments(spool) == [name(1)]


# What may be removed


def test_a_segment_is_removed_only_when_every_store_is_past_it(daemon, store, spool, configure, home):
    configure("decibel", enabled=True, url=f"sqlite:///{home}/a-directory")
    os.mkdir(f"{home}/a-directory")
    write(spool, 1, header(), record(1), footer(1))
    write(spool, 2, header(), record(1, "verdict", of=name(2)), footer(1))
    assert daemon().drain() == 1
    assert len(store.records) == 1
    assert segments(spool) == [name(1), name(2)]
    os.rmdir(f"{home}/a-directory")
    assert daemon().drain() == 0
    assert segments(spool) == []


def test_a_segment_is_removed_only_when_it_is_in_the_books(daemon, store, spool, monkeypatch):
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()
    monkeypatch.setattr(one.books, "keep", lambda: False)
    one.drain()
    assert len(store.records) == 1
    assert segments(spool) == [name(1)]


def test_the_books_say_deleted_before_the_segment_is_gone(daemon, store, spool, monkeypatch):
    write(spool, 1, header(), record(1), footer(1))
    states = []
    one = daemon()
    real = io.unlink
    monkeypatch.setattr(io, "unlink", lambda path: (states.append(one.books.ledger.segments(GUID)), real(path)))
    one.drain()
    assert [[state for state, _ in found.values()] for found in states] == [[2]]


def test_a_giant_is_set_aside_when_all_of_ours_in_it_is_delivered(daemon, store, spool):
    write(spool, 1, header(), record(1), footer(1))
    os.truncate(reader.path(spool, name(1)), 1 << 40)
    assert daemon().drain() == 0
    assert len(store.records) == 1
    assert segments(spool) == []
    assert os.path.getsize(f"{spool}/damaged/{name(1)}.seg") == 1 << 40


def test_a_segment_of_a_later_version_stays(daemon, store, spool):
    write(spool, 1, header(v=2), record(1), footer(1))
    assert daemon().drain() == 0
    assert store.records == {}
    assert segments(spool) == [name(1)]


# Serving


def test_what_is_emitted_while_it_serves_is_stored_within_moments(daemon, store, spool):
    with serving(daemon()):
        for n in range(3):
            emit.append("shout", GUID, {"n": n}, source="test")
            wait_until(lambda n=n: len(store.records) == n + 1, 2)
    assert [record.body["n"] for record in store.records.values()] == [0, 1, 2]


def test_a_served_segment_is_removed_once_its_writer_is_gone(daemon, store, spool):
    with serving(daemon()):
        write(spool, 1, header(), record(1), footer(1))
        wait_until(lambda: segments(spool) == [])
    assert len(store.records) == 1


def test_a_segment_that_somebody_removes_under_its_eyes_is_told(daemon, store, spool, caplog):
    store.down = True
    one = daemon()
    with serving(one):
        write(spool, 1, header(), record(1), record(2), footer(2))
        wait_until(lambda: one.books.ledger.is_read(name(1)) and any(shipper.failure for shipper in one.shippers))
        os.unlink(reader.path(spool, name(1)))
        store.down = False
        wait_until(lambda: store.records)
    assert [record.body["reason"] for record in store.records.values() if record.kind == "gap"] == ["lost"]
    assert f"records 1 to 2 of segment {name(1)} are lost" in caplog.messages


@pytest.mark.parametrize("rest", [b"", header() + record(1), b"\xa5" * 999], ids=["nothing", "shorter", "longer noise"])
def test_a_segment_that_somebody_exchanges_under_its_eyes_is_told_and_goes_away(rest, daemon, store, spool, caplog):
    store.down = True
    one = daemon()
    with serving(one):
        write(spool, 1, header(), record(1), record(2), footer(2))
        wait_until(lambda: one.books.ledger.is_read(name(1)) and any(shipper.failure for shipper in one.shippers))
        write(spool, 1, rest)
        store.down = False
        wait_until(lambda: name(1) not in segments(spool) and store.records)
    emit.close()
    assert daemon().drain() == 0
    kept = rest.count(b"shout")
    assert sorted(record.kind for record in store.records.values()) == ["gap", *["shout"] * kept]
    assert f"records {kept + 1} to 2 of segment {name(1)} are lost" in caplog.messages


def test_a_segment_that_is_exchanged_just_before_it_goes_is_looked_at_again(daemon, store, spool):
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()
    # everything is stored and in the books; the file that is there by now is another one
    one.watch.look()
    while one.books.keep():
        pass
    for shipper in one.shippers:
        while shipper.step():
            pass
    write(spool, 1, header(), record(1), footer(1), record(2))
    assert not one._remove_delivered()
    assert one.drain() == 0
    assert [record.body["n"] for record in store.records.values()] == [1, 2]
    assert segments(spool) == []


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ZeroDivisionError("a bug")])
@pytest.mark.parametrize("step", ["_look", "_remove_delivered"])
def test_a_step_that_fails_is_told_once_and_taken_again(step, error, daemon, store, spool, monkeypatch, caplog):
    monkeypatch.setattr(daemons, "BOOKS_RETRY_S", 0.01)
    one = daemon()
    tries = []

    def failing():
        tries.append(step)
        if len(tries) < 4:
            raise error
        return real()

    real = getattr(one, step)
    monkeypatch.setattr(one, step, failing)
    write(spool, 1, header(), record(1), footer(1))
    with serving(one):
        wait_until(lambda: segments(spool) == [])
    assert len(store.records) == 1
    assert len([message for message in caplog.messages if str(error) in message]) == 1
    assert one.failure == ""


def test_a_segment_goes_as_soon_as_its_store_is_past_it(daemon, store, spool, monkeypatch):
    monkeypatch.setattr(daemons, "LOOK_S", 60)
    write(spool, 1, header(), record(1), footer(1))
    one, resting = daemon(), threading.Event()
    pause = one._pause
    monkeypatch.setattr(one, "_pause", lambda seconds: resting.set() or pause(seconds))
    store.reject = lambda _: "" if resting.wait(60) else "nobody rests"
    with serving(one):
        wait_until(lambda: not reader.list_segments(spool))


def test_full_books_hold_no_record_up(daemon, store, spool, monkeypatch):
    one = daemon()
    monkeypatch.setattr(one.books.ledger, "commit", lambda: (_ for _ in ()).throw(OSError(28, "No space left")))
    with serving(one):
        write(spool, 1, header(), record(1), footer(1))
        wait_until(lambda: len(store.records) == 1 and one.failure)


def test_a_store_that_does_not_answer_does_not_hold_up_the_end(daemon, store, spool, monkeypatch, caplog):
    monkeypatch.setattr(daemons, "STOP_S", 0.05)
    hanging, asked = threading.Event(), threading.Event()
    store.reject = lambda _: asked.set() or (hanging.wait() and "") or ""
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()
    with serving(one):
        wait_until(asked.is_set)
    assert any("does not answer; ending without it" in message for message in caplog.messages)
    hanging.set()


# The policy `host`


def synced(monkeypatch):
    paths = []
    monkeypatch.setattr(io, "sync", lambda fd: paths.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(io, "sync_dir", paths.append)
    return paths


def test_what_grows_is_synced_and_so_is_a_new_name(daemon, spool, monkeypatch):
    one = daemon()
    segment = write(spool, 1, header(), record(1))
    fd = io.open_append(reader.path(spool, segment))
    io.lock_shared(fd)
    paths = synced(monkeypatch)
    for _ in range(2):
        one.watch.look()
        one._next_sync = 0.0
        one._sync_growing()
    assert paths == [reader.path(spool, segment), spool], "no second time for what did not grow"
    io.write(fd, record(2))
    one.watch.look()
    one._sync_growing()
    assert len(paths) == 2, "every half a second"
    one._next_sync = 0.0
    one._sync_growing()
    assert paths[2:] == [reader.path(spool, segment)]
    io.close(fd)


def test_what_grows_does_not_wait_behind_a_backlog(daemon, spool, monkeypatch):
    monkeypatch.setattr(daemons, "SYNC_AT_ONCE", 3)
    for number in range(1, 10):
        write(spool, number, header())
    fd = io.open_append(reader.path(spool, name(9)))
    io.lock_shared(fd)
    one = daemon()
    one.watch.look()
    paths = synced(monkeypatch)
    one._sync_growing()
    assert paths[0] == reader.path(spool, name(9))
    io.close(fd)


@pytest.mark.parametrize("policy", ["class", "always", "none"])
def test_other_policies_leave_that_to_the_emitter_or_the_kernel(policy, daemon, spool, configure, monkeypatch):
    configure("panotti", enabled=True, url="memory://here", spool={"policy": policy})
    write(spool, 1, header(), record(1))
    one = daemon()
    one.watch.look()
    paths = synced(monkeypatch)
    one._sync_growing()
    assert paths == []


def test_an_error_of_a_sync_is_told_and_not_asked_again(daemon, spool, monkeypatch, caplog):
    write(spool, 1, header(), record(1))
    one = daemon()
    one.watch.look()
    calls = []
    monkeypatch.setattr(io, "sync", lambda fd: calls.append(fd) or (_ for _ in ()).throw(OSError(5, "I/O error")))
    for _ in range(2):
        one._next_sync = 0.0
        one._sync_growing()
    assert len(calls) == 1
    assert any("cannot be synced" in message for message in caplog.messages)


# Configuration


def test_a_reload_takes_the_new_configuration(daemon, store, spool, configure, home, caplog):
    caplog.set_level("INFO")
    one = daemon()
    with serving(one):
        configure("panotti", enabled=True, spool={"policy": "none"})
        one.reload()
        wait_until(lambda: any("read the configuration again" in message for message in caplog.messages))
        write(spool, 1, header(), record(1), footer(1))
        wait_until(lambda: segments(spool) == [])
    assert store.records == {}
    assert os.path.exists(f"{home}/.ave/lab.db")
    assert one.policy == "none"


def test_a_reload_does_not_wait_for_a_store_that_does_not_answer(daemon, store, spool, caplog):
    caplog.set_level("INFO")
    hanging, asked = threading.Event(), threading.Event()
    store.reject = lambda _: asked.set() or (hanging.wait() and "") or ""
    write(spool, 1, header(), record(1), footer(1))
    one = daemon()
    with serving(one):
        wait_until(asked.is_set)
        one.reload()
        wait_until(lambda: any("read the configuration again" in message for message in caplog.messages), 2)
        hanging.set()
        wait_until(lambda: segments(spool) == [])
    assert len(store.records) == 1


@pytest.mark.parametrize("file", ["panotti", "logd"])
def test_a_reload_of_a_broken_configuration_keeps_the_old_one(file, daemon, store, spool, home, caplog):
    one = daemon()
    with serving(one):
        with open(homes.config_file(file, home), "w") as broken:
            broken.write('{"enabled": ')
        one.reload()
        wait_until(lambda: any("the old configuration stays" in message for message in caplog.messages))
        write(spool, 1, header(), record(1), footer(1))
        wait_until(lambda: segments(spool) == [])
    assert len(store.records) == 1
    assert any(f"{file}.json" in message for message in caplog.messages)


@pytest.mark.parametrize("error", [ConfigError("no such tape"), RuntimeError("nobody foresaw")], ids=repr)
def test_a_reload_that_fails_at_a_store_ends_nothing(error, daemon, store, spool, configure, home, caplog, monkeypatch):
    one = daemon()
    with serving(one):
        configure("panotti", enabled=True, url="tape://robot")
        monkeypatch.setitem(STORES, "tape", lambda *_, **__: (_ for _ in ()).throw(error))
        one.reload()
        wait_until(lambda: any("the old configuration stays" in message for message in caplog.messages))
        write(spool, 1, header(), record(1), footer(1))
        wait_until(lambda: segments(spool) == [])
    assert len(store.records) == 1
    assert any(f"{homes.config_file('panotti', home)}: " in message for message in caplog.messages)


def test_a_reload_that_fails_for_a_reason_nobody_foresaw_keeps_the_old_configuration(
    daemon, store, spool, caplog, monkeypatch
):
    one = daemon()
    monkeypatch.setattr(daemons.config, "wrong_stores", lambda _: [][0])
    with serving(one):
        one.reload()
        wait_until(lambda: any("the old configuration stays" in message for message in caplog.messages))
        write(spool, 1, header(), record(1), footer(1))
        wait_until(lambda: segments(spool) == [])
    assert "IndexError" in caplog.text


def test_a_kind_is_dropped_and_counted_when_no_store_takes_it(daemon, store, spool, configure):
    configure("mysql", enabled=False)
    write(spool, 1, header(), record(1, "measurement"), record(2), footer(2))
    one = daemon()
    one.drain()
    assert [record.kind for record in store.records.values()] == ["shout"]
    assert segments(spool) == []


def test_logd_json_rules_the_shippers_and_a_local_store_is_asked_again_soon(daemon, configure):
    configure("logd", batch_records=7, retry_max_s=33)
    shippers = {shipper.store_name.partition("-")[0]: shipper for shipper in daemon().shippers}
    assert {shipper.batch_records for shipper in shippers.values()} == {7}
    assert shippers["memory"].retry_max_s == 33
    assert shippers["embedded"].retry_max_s == daemons.LOCAL_RETRY_S


def test_a_letter_in_a_drain_is_no_failure(daemon, store, spool):
    write(spool, 1, header(), record(1), record(2), line({"no": "record"}), footer(2))
    store.reject = lambda record: "too large" if record.body["n"] == 1 else ""
    one = daemon()
    assert one.drain() == 0
    [memory] = [shipper.store_name for shipper in one.shippers if "memory" in shipper.store_name]
    assert [letter.record.body for letter in DeadLetters(spool, memory).read()] == [{"n": 1}]
    assert cursors.positions(f"{spool}/cursors/{memory}")
    assert segments(spool) == []
