from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket

import pytest
from printing import NAME, configure, printer, run, told  # noqa: F401 - the fixtures

from ave import context
from ave import home as homes
from ave.exceptions import SpoolError, SpoolFull
from ave.lab.daemon import logfiles, stderr
from ave.lab.daemon.stderr import Forwarder
from ave.network import Control, RemoteControl
from ave.testing import wait_until

GUID = "20261122-nightly-17"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    configure(tmp_path / "home", "panotti", enabled=True, stderr=True)
    monkeypatch.setattr(stderr, "CHECK_S", 5)  # one check is to do it all, however busy the machine is
    return tmp_path / "home"


@pytest.fixture
def log_file(home):
    """The log of a service that is written by the test itself, to which one can append."""

    class File:
        path = logfiles.active(str(home), NAME)

        def append(self, data):
            with open(self.path, "ab") as file:
                file.write(data)

        def rotate(self, number):
            os.rename(self.path, f"{self.path}.{number:06d}")
            self.append(b"")

    (home / ".ave/logs").mkdir(parents=True)
    (home / ".ave/run").mkdir()
    file = File()
    file.append(b"")
    return file


@pytest.fixture
def forwarder(home):
    return Forwarder(str(home), NAME)


def texts(home):
    return [record.body["text"] for record in told(home)]


def test_each_line_is_a_record_that_says_where_it_is(log_file, forwarder, home):
    log_file.append("eins\nzwei äöü\n".encode())
    forwarder.check()
    assert [record.body for record in told(home)] == [
        {"stream": "stderr", "text": "eins", "file": f"{NAME}.log.000001", "offset": 0},
        {"stream": "stderr", "text": "zwei äöü", "file": f"{NAME}.log.000001", "offset": 5},
    ]
    assert {(record.kind, record.guid, record.source) for record in told(home)} == {("stderr", "", NAME)}


@pytest.mark.parametrize("settings", [None, {"enabled": True}, {"enabled": True, "stderr": False}])
def test_only_hosts_that_want_it_have_it(log_file, home, settings):
    if settings is None:
        os.unlink(homes.config_file("panotti", str(home)))
        homes.forget()
    else:
        configure(home, "panotti", **settings)
    log_file.append(b"line\n")
    Forwarder(str(home), NAME).check()
    assert texts(home) == []


def test_nothing_is_told_twice_and_a_restart_goes_on(log_file, forwarder, home):
    log_file.append(b"one\n")
    forwarder.check()
    forwarder.check()
    log_file.append(b"two\n")
    forwarder.release()
    Forwarder(str(home), NAME).check()
    assert texts(home) == ["one", "two"]


def test_of_two_instances_one_forwards_until_it_ends(log_file, forwarder, home):
    log_file.append(b"one\n")
    forwarder.check()
    other = Forwarder(str(home), NAME)
    log_file.append(b"two\n")
    other.check()
    assert texts(home) == ["one"]
    forwarder.release()
    other.check()
    assert texts(home) == ["one", "two"]


def test_a_traceback_is_one_record_though_it_comes_in_parts(log_file, forwarder, home):
    log_file.append(b'before\nTraceback (most recent call last):\n  File "a", line 1, in b\n')
    forwarder.check()
    assert texts(home) == ["before"]
    log_file.append(b"    raise ValueError\nValueError\nafter\n")
    forwarder.check()
    assert texts(home)[1:] == [
        'Traceback (most recent call last):\n  File "a", line 1, in b\n    raise ValueError\nValueError',
        "after",
    ]


def test_a_traceback_that_nothing_follows_is_told_in_the_end(log_file, forwarder, home):
    log_file.append(b'Traceback (most recent call last):\n  File "a", line 1, in b\nValueError\n')
    wait_until(lambda: forwarder.check() or texts(home))
    assert len(texts(home)) == 1


def test_what_is_no_text_is_told_as_what_it_is(log_file, forwarder, home):
    log_file.append(b"\xff\xfe broken\n\n   \n")
    forwarder.check()
    assert texts(home) == ["\\xff\\xfe broken"]


def test_a_line_longer_than_a_record_goes_on_in_the_next(log_file, forwarder, home):
    log_file.append(b"7" * 100_000 + b"\nnext\n")
    forwarder.check()
    found = told(home)
    assert [record.body.get("continued") for record in found] == [None, True, True, None]
    assert "".join(record.body["text"] for record in found[:3]) == "7" * 100_000
    assert found[1].body["offset"] == len(found[0].body["text"])


def test_rotation_costs_no_line(log_file, forwarder, home):
    for n in range(1, 6):
        log_file.append(b"%d\n" % n)
        if n % 2:
            forwarder.check()
        log_file.rotate(n)
    log_file.append(b"6\nwithout an end")
    wait_until(lambda: forwarder.check() or len(texts(home)) == 6)
    log_file.rotate(6)
    log_file.append(b"7\n")
    wait_until(lambda: forwarder.check() or len(texts(home)) == 8)
    assert texts(home) == ["1", "2", "3", "4", "5", "6", "without an end", "7"]
    assert [record.body["file"][-1] for record in told(home)] == [*"12345667"]


def test_a_compressed_log_is_read_too(log_file, forwarder, home):
    log_file.append(b"one\n")
    forwarder.check()
    log_file.append(b"two\n")
    log_file.rotate(1)
    with open(f"{log_file.path}.000001", "rb") as plain, stderr.gzip.open(f"{log_file.path}.000001.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    os.unlink(f"{log_file.path}.000001")
    log_file.append(b"three\n")
    wait_until(lambda: forwarder.check() or len(texts(home)) == 3)
    assert texts(home) == ["one", "two", "three"]


def test_lines_that_the_quota_took_are_counted(log_file, forwarder, home):
    log_file.append(b"one\n")
    forwarder.check()
    log_file.append(b"two\nthree\n")
    log_file.rotate(1)
    logfiles.note_number(str(home), NAME, 2)
    log_file.append(b"four\n")
    [file] = logfiles.closed(str(home))[0]
    logfiles.note_removed(str(home), file, 3)
    os.unlink(file.path)
    wait_until(lambda: forwarder.check() or len(texts(home)) == 2)
    assert told(home)[1].body == {
        "stream": "stderr",
        "text": "four",
        "file": f"{NAME}.log.000002",
        "offset": 0,
        "left_out": 3,
    }


def test_what_is_over_the_rate_is_left_out_and_counted(log_file, forwarder, home, monkeypatch):
    forwarder._budget = 10 * 210
    log_file.append(b"".join(b"line %d\n" % n for n in range(5000)))
    monkeypatch.setattr(stderr, "RATE", 0)
    forwarder.check()
    assert 9 <= len(texts(home)) <= 11
    monkeypatch.setattr(stderr, "RATE", 1 << 30)
    log_file.append(b"last\n")
    wait_until(lambda: forwarder.check() or texts(home)[-1] == "last")
    told_all = told(home)
    left_out = [record.body["left_out"] for record in told_all if "left_out" in record.body]
    assert sum(left_out) + sum(bool(record.body["text"]) for record in told_all) == 5001
    assert forwarder._left_out == 0


def test_what_was_left_out_is_told_though_nothing_else_comes(log_file, forwarder, home, monkeypatch):
    forwarder._budget = 1
    log_file.append(b"one\ntwo\n")
    monkeypatch.setattr(stderr, "RATE", 0)
    forwarder.check()
    assert texts(home) == ["one"]
    monkeypatch.setattr(stderr, "RATE", 1 << 30)
    wait_until(lambda: forwarder.check() or len(texts(home)) == 2)
    assert told(home)[1].body["left_out"] == 1
    assert texts(home)[1] == ""


def test_a_check_ends_when_its_time_is_over(log_file, forwarder, home, monkeypatch):
    monkeypatch.setattr(stderr, "CHECK_S", -1)
    log_file.append(b"x\n" * 100)
    forwarder.check()
    assert texts(home) == []
    monkeypatch.setattr(stderr, "CHECK_S", 1)
    forwarder.check()
    assert len(texts(home)) == 100


def test_who_is_far_behind_leaves_out_what_is_between(log_file, forwarder, home, monkeypatch):
    monkeypatch.setattr(stderr, "CHECK_S", 1)
    log_file.append(b"far\n" * stderr.LAG_MAX)
    forwarder.check()
    found = told(home)
    assert (
        sum(record.body.get("left_out", 0) + bool(record.body["text"]) for record in found)
        + ((4 * stderr.LAG_MAX - forwarder._offset) // 4)
        + forwarder._left_out
        == stderr.LAG_MAX
    )
    assert forwarder._offset >= 3 * stderr.LAG_MAX


def test_a_full_spool_costs_lines_that_it_counts_itself(log_file, forwarder, home, monkeypatch):
    asked = []

    def full(*arguments, **_):
        asked.append(arguments)
        raise SpoolFull("full")

    monkeypatch.setattr(stderr.spool, "append", full)
    log_file.append(b"one\n")
    forwarder.check()
    forwarder.check()
    assert len(asked) == 1


def test_a_spool_that_cannot_be_used_gets_the_same_lines_later(log_file, forwarder, home, monkeypatch):
    def broken(*_, **__):
        raise SpoolError("broken")

    log_file.append(b"one\ntwo\n")
    with monkeypatch.context() as patch:
        patch.setattr(stderr.spool, "append", broken)
        forwarder.check()
    wait_until(lambda: forwarder.check() or texts(home), timeout=5)
    assert texts(home) == ["one", "two"]


def test_the_log_and_its_notes_may_be_removed(log_file, forwarder, home):
    log_file.append(b"one\n")
    forwarder.check()
    shutil.rmtree(home / ".ave/logs")
    forwarder.check()
    (home / ".ave/logs").mkdir()
    logfiles.note_number(str(home), NAME, 2)
    log_file.append(b"two\n")
    wait_until(lambda: forwarder.check() or len(texts(home)) == 2)
    assert texts(home) == ["one", "two"]


def test_a_note_that_is_damaged_means_the_newest_log(log_file, home):
    (home / f".ave/run/{NAME}.forwarded").write_text("[1,")
    log_file.append(b"one\n")
    Forwarder(str(home), NAME).check()
    assert texts(home) == ["one"]


# With the log itself, and with calls


def test_what_a_daemon_said_before_it_crashed_is_told_by_the_next(printer, run, home):  # noqa: F811
    one = printer(lambda _log: (print("last words"), ctypes.string_at(1)))
    assert one.wait() == -signal.SIGSEGV
    assert texts(home) == []
    run(lambda _log: wait_until(lambda: len(texts(home)) == 2), forwards=True)
    assert texts(home)[0] == "last words"
    assert texts(home)[1].startswith("Fatal Python error: Segmentation fault\n")


def serve(guid, text):
    """Print inside a call, as the dispatch of an RPC does it."""
    token = context.enter(context.Call(guid, "", ""))
    try:
        print(text)
    finally:
        context.leave(token)


def guids(home):
    return [(record.body["text"], record.guid) for record in told(home)]


def test_a_line_has_the_run_of_the_call_in_which_it_was_printed(run, home):  # noqa: F811
    def work(_log):
        print("before")
        serve(GUID, "inside")
        print("between")
        serve("another-run-4711", "inside the other")
        serve("", "inside one that named no run")
        wait_until(lambda: len(texts(home)) == 5)

    run(work, forwards=True)
    assert guids(home) == [
        ("before", ""),
        ("inside", GUID),
        ("between", ""),
        ("inside the other", "another-run-4711"),
        ("inside one that named no run", ""),
    ]


def test_in_a_flood_too(run, home):  # noqa: F811
    def work(log):
        print("\n" * 100_000)
        log.check()
        print("before")
        serve(GUID, "inside")
        print("after")
        log.check()
        forwarder = Forwarder(str(home), NAME)
        wait_until(lambda: forwarder.check() or len(texts(home)) == 3)

    run(work, every=0)
    assert guids(home) == [("before", ""), ("inside", GUID), ("after", "")]


def test_a_call_goes_on_over_a_rotation(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)

    def work(log):
        token = context.enter(context.Call(GUID, "", ""))
        print("x" * 20_000)
        wait_until(lambda: log.number > 1)
        print("inside still")
        context.leave(token)
        print("outside")
        wait_until(lambda: len(texts(home)) == 3)

    run(work, forwards=True)
    assert [guid for _, guid in guids(home)] == [GUID, GUID, ""]
    wait_until(lambda: len([*(home / ".ave/run").glob(f"{NAME}.calls.*")]) <= 1)


def test_what_is_printed_in_two_calls_at_once_is_of_neither(run, home):  # noqa: F811
    def work(_log):
        one = context.enter(context.Call(GUID, "", ""))
        context.observer("another-run-4711", True)
        print("in both")
        context.observer("another-run-4711", False)
        print("in one")
        context.leave(one)
        wait_until(lambda: len(texts(home)) == 2)

    run(work, forwards=True)
    assert guids(home) == [("in both", ""), ("in one", GUID)]


def test_a_call_in_which_a_daemon_died_is_over(printer, run, home):  # noqa: F811
    def die(_log):
        context.enter(context.Call(GUID, "", ""))
        print("dies")
        os.kill(os.getpid(), signal.SIGKILL)

    printer(die).wait()
    run(lambda _log: (print("next"), wait_until(lambda: len(texts(home)) == 2)), forwards=True)
    assert guids(home) == [("dies", GUID), ("next", "")]


def test_what_a_child_printed_inside_a_call_is_of_its_run(run, home):  # noqa: F811
    def work(log):
        token = context.enter(context.Call(GUID, "", ""))
        os.write(log.child_stdio(), b"child\n")
        context.leave(token)
        print("after")
        forwarder = Forwarder(str(home), NAME)
        wait_until(lambda: forwarder.check() or len(texts(home)) == 2)

    run(work, every=0)
    assert guids(home) == [("child", GUID), ("after", "")]


class Talker(Control):
    @Control.rpc
    def talk(self):
        print("served")


def test_the_dispatch_of_calls_tells_the_run(printer, home, monkeypatch):  # noqa: F811
    listener = socket.create_server(("127.0.0.1", 0))
    printer(lambda _log: Talker(None, socket=listener, home=str(home)).run(), forwards=True)
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    RemoteControl(listener.getsockname()).talk()
    listener.close()
    wait_until(lambda: texts(home) == ["served"])
    assert guids(home) == [("served", GUID)]
