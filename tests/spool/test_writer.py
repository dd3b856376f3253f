"""append: its words, its errors, its segments; and what threads, signals and forks do to it."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ave import io
from ave import spool as spools
from ave import undisturbed as late
from ave.exceptions import SpoolError, SpoolFull, UsageError
from ave.record import KINDS, joined, segment_of, seq_of
from ave.spool import reader, writer
from ave.testing import read_spool

ROOT = str(Path(__file__).parents[2])
GUID = "guid-of-writer"


def append(n=0, kind="log", **more):
    return spools.append(kind, GUID, {"n": n, **more}, source="test")


def numbers(spool):
    return [record.body["n"] for record in read_spool(spool).records]


def synced(monkeypatch):
    """Note every sync of a segment and of the directory, and do none."""
    calls = []
    monkeypatch.setattr(io, "sync", lambda fd: calls.append("file"))
    monkeypatch.setattr(io, "sync_dir", lambda path: calls.append("directory"))
    return calls


# What is written


def test_a_record_says_who_when_and_what(spool):
    before = time.time_ns()
    assert append(7, kind="event") == "queued"
    after = time.time_ns()
    [record] = read_spool(spool).records
    assert (record.kind, record.guid, record.source, record.body) == ("event", GUID, "test", {"n": 7})
    assert (record.host, record.pid) == (os.uname().nodename, os.getpid())
    assert before <= record.time <= after
    [name] = reader.list_segments(spool)
    assert record.id == f"{name}-1"


def test_a_given_time_is_kept_for_every_piece(spool):
    spools.append("stderr", "", {"text": "7 " * 100_000}, source="test", time=17)
    assert {record.time for record in read_spool(spool).records} == {17}


def test_numbers_run_from_one_without_a_hole(spool):
    for n in range(50):
        append(n)
    spools.close()
    found = read_spool(spool)
    assert [seq_of(record.id) for record in found.records] == list(range(1, 51))
    assert list(found.counts.values()) == [50]


def test_a_closed_spool_is_opened_again_with_a_new_segment(spool):
    append(1)
    spools.close()
    spools.close()
    append(2)
    spools.close()
    found = read_spool(spool)
    assert list(found.counts.values()) == [1, 1]
    assert numbers(spool) == [1, 2]


def test_a_process_that_ends_leaves_a_footer(spool, home):
    code = "from ave import spool; spool.append('log', 'guid-of-writer', {'n': 1}, source='test')"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, check=True)
    assert list(read_spool(spool).counts.values()) == [1]


def test_a_full_segment_is_closed_and_the_next_one_begun(spool, monkeypatch):
    monkeypatch.setattr(writer, "SEGMENT_SIZE", 10_000)
    for n in range(100):
        append(n, text="7 " * 400)
    spools.close()
    assert numbers(spool) == list(range(100))
    sizes = [os.path.getsize(reader.path(spool, name)) for name in reader.list_segments(spool)]
    assert len(sizes) > 5
    assert max(sizes) < 12_000
    assert len(read_spool(spool).counts) == len(sizes)


def test_two_homes_have_two_spools(tmp_path):
    for name in ("one", "two", "one"):
        spools.append("log", GUID, {"n": name}, source="test", home=str(tmp_path / name))
    assert numbers(str(tmp_path / "one" / ".ave" / "spool")) == ["one", "one"]
    assert numbers(str(tmp_path / "two" / ".ave" / "spool")) == ["two"]


def test_a_home_that_changes_in_the_environment_is_followed(tmp_path, monkeypatch):
    for name in ("one", "two", "one"):
        monkeypatch.setenv("AVE_HOME", str(tmp_path / name))
        append(name)
    assert numbers(str(tmp_path / "one" / ".ave" / "spool")) == ["one", "one"]
    assert numbers(str(tmp_path / "two" / ".ave" / "spool")) == ["two"]


def test_one_append_is_one_write(spool, monkeypatch):
    append(0)
    writes = []
    monkeypatch.setattr(io, "write", lambda fd, data: writes.append(data) or os.write(fd, data))
    for n in range(5):
        append(n)
    assert len(writes) == 5
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 for data in writes)


def test_many_records_are_few_writes(spool, monkeypatch):
    writes = []
    monkeypatch.setattr(io, "write", lambda fd, data: writes.append(data) or os.write(fd, data))
    assert spools.append_all("verdict", GUID, ({"n": n} for n in range(1000)), source="test") == "queued"
    assert numbers(spool) == list(range(1000))
    assert len(writes) <= 10 + 2  # the header and the noted size besides


def test_many_records_may_be_none_or_long_ones(spool):
    assert spools.append_all("log", GUID, [], source="test") == "queued"
    assert not os.path.exists(spool)
    spools.append_all("log", GUID, [{"n": 0}, {"n": 1, "text": "7 " * 100_000}, {"n": 2}], source="test")
    assert [record.body["n"] for record in joined(read_spool(spool).records)] == [0, 1, 2]


def test_a_source_of_records_that_fails_keeps_what_was_written(spool):
    def bodies():
        yield from ({"n": n} for n in range(250))
        raise KeyError("the file is cut")

    with pytest.raises(KeyError):
        spools.append_all("verdict", GUID, bodies(), source="test")
    append(999)
    assert numbers(spool) == [*range(200), 999]
    assert len(reader.list_segments(spool)) == 1


# What the word says


@pytest.mark.parametrize(
    ("policy", "synced_kinds"),
    [("host", set()), ("none", set()), ("class", {"verdict", "exception"}), ("always", KINDS)],
)
def test_the_policy_decides_which_kinds_are_synced(policy, synced_kinds, settings, monkeypatch):
    settings(policy=policy)
    for kind in KINDS:
        append(kind=kind)
        calls = synced(monkeypatch)
        assert append(kind=kind) == ("synced" if kind in synced_kinds else "queued")
        assert ("file" in calls) == (kind in synced_kinds)


def test_the_first_sync_of_a_segment_syncs_its_name_too(settings, monkeypatch):
    settings(policy="class")
    append()
    calls = synced(monkeypatch)
    assert append(kind="verdict") == append(kind="verdict") == "synced"
    assert calls == ["file", "directory", "file"]


def test_a_failed_sync_is_asked_no_second_time_and_the_same_ids_go_elsewhere(settings, spool, monkeypatch):
    settings(policy="class")
    append(1)
    asked = []

    def fail_once(fd):
        asked.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        if len(asked) == 1:
            raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(io, "sync", fail_once)
    assert append(2, kind="verdict") == "synced"
    assert append(3, kind="verdict") == "synced"
    old, new = reader.list_segments(spool)
    assert asked == [f"{old}.seg", f"{new}.seg", f"{new}.seg"]
    spools.close()
    found = read_spool(spool)
    assert [(record.body["n"], record.id) for record in found.records] == [
        (1, f"{old}-1"),
        (2, f"{old}-2"),
        (2, f"{old}-2"),
        (3, f"{new}-1"),
    ]
    assert found.counts == {new: 1}


@pytest.mark.parametrize("broken", ["sync", "open_append", "write"])
def test_a_sync_that_fails_twice_is_no_success(broken, settings, monkeypatch):
    settings(policy="class")
    append()

    def fail(*_, **__):
        raise OSError(errno.EIO, "the disk failed")

    def fail_and_break(fd):
        monkeypatch.setattr(io, broken, fail)
        fail()

    monkeypatch.setattr(io, "sync", fail_and_break)
    with pytest.raises(SpoolError, match="cannot be written"):
        append(kind="verdict")


def test_a_copy_that_is_cut_is_no_success(settings, monkeypatch):
    settings(policy="class")
    append()

    def fail(fd):
        monkeypatch.setattr(io, "write", lambda fd, data: os.write(fd, data if b'"v":1' in data else data[:20]))
        monkeypatch.setattr(io, "sync", lambda fd: None)
        raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(io, "sync", fail)
    with pytest.raises(SpoolError):
        append(kind="verdict")


# What is wrong with the call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shuot", GUID, {}), "no such kind of record: 'shuot'"),
        (("log", None, {}), "must be a string"),
        (("log", b"bytes-of-guid", {}), "must be a string"),
        (("log", "x" * 4097, {}), "at most 4096 characters"),
        (("log", [], {}), "must be a string"),
        (("log", GUID, [1]), "must be a dict"),
        (("log", GUID, None), "must be a dict"),
        (("log", GUID, "text"), "must be a dict"),
    ],
)
def test_a_wrong_call_is_told_and_costs_nothing(arguments, message, spool):
    append(1)
    with pytest.raises(UsageError, match=message):
        spools.append(*arguments, source="test")
    with pytest.raises(UsageError, match=message):
        spools.append_all(*arguments[:2], arguments[2:], source="test")
    append(2)
    assert numbers(spool) == [1, 2]
    assert len(reader.list_segments(spool)) == 1


@pytest.mark.parametrize("time", [1.5, "now", True, -1, 1 << 63, None])
def test_a_wrong_time_is_told(time):
    if time is not None:
        with pytest.raises(UsageError, match="nanoseconds"):
            spools.append("log", GUID, {}, source="test", time=time)


@pytest.mark.parametrize("source", [None, 1, "x" * 4097])
def test_a_wrong_source_is_told(source):
    with pytest.raises(UsageError, match="must be a string"):
        spools.append("log", GUID, {}, source=source)


# What the file system says


def test_an_error_names_the_spool_and_the_mend(spool):
    os.makedirs(os.path.dirname(spool))
    Path(spool).write_text("")
    with pytest.raises(SpoolError, match=f"^{spool}: cannot be written: .*; `ave doctor` tells the mend$"):
        append()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_apart(number, spool, monkeypatch):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    append()
    monkeypatch.setattr(io, "write", fail)
    with pytest.raises(SpoolFull, match="free some space"):
        append()


def test_a_failed_segment_leaves_no_file_and_no_descriptor(spool, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    for name in ("lock_shared", "rename", "write"):
        os.makedirs(spool, exist_ok=True)
        before = os.listdir("/proc/self/fd")

        def fail(*_):
            raise OSError(errno.ENOLCK, "no locks here")

        with monkeypatch.context() as patch:
            patch.setattr(io, name, fail)
            for _ in range(3):
                with pytest.raises(SpoolError):
                    append()
        assert os.listdir("/proc/self/fd") == before
        assert set(os.listdir(spool)) <= {"size"}


def test_a_descriptor_that_the_process_closed_is_replaced(spool):
    append(1)
    os.close(writer._emitters[os.environ["AVE_HOME"]].segments[0].fd)
    append(2)
    assert numbers(spool) == [1, 2]


def test_a_record_that_was_cut_comes_whole_in_the_next_segment(spool, monkeypatch):
    append(1)
    cut = []

    def short(fd, data):
        cut.append(data)
        return os.write(fd, data[:-3] if len(cut) == 1 else data)

    monkeypatch.setattr(io, "write", short)
    assert append(2) == "queued"
    assert append(3) == "queued"
    found = read_spool(spool)
    old, new = reader.list_segments(spool)
    assert [record.id for record in found.records] == [f"{old}-1", f"{new}-1", f"{new}-2"]
    assert found.damage == {old: 1}


def test_a_gap_that_was_cut_takes_no_record_with_it(spool, monkeypatch):
    append(1)
    with monkeypatch.context() as patch:
        patch.setattr(writer.Room, "takes", lambda *_: False)
        with pytest.raises(SpoolFull):
            append(2)
    cut = []

    def short(fd, data):
        cut.append(data)
        return os.write(fd, data[:-3] if len(cut) == 1 else data)

    monkeypatch.setattr(io, "write", short)
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    with pytest.raises(SpoolFull):
        append(3)
    assert append(4) == "queued"
    records = read_spool(spool).records
    assert [record.body.get("n", record.kind) for record in records] == [1, "gap", 4]
    assert records[1].body["count"] == 2


# Threads, signals, forks


def test_threads_share_one_segment_without_mixing_lines(spool):
    def work(name):
        for n in range(200):
            append([name, n], text="7 " * (n % 50))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_spool(spool)
    assert found.damage == {}
    assert len(reader.list_segments(spool)) == 1
    for name in range(8):
        assert [r.body["n"][1] for r in found.records if r.body["n"][0] == name] == list(range(200))


def test_threads_that_begin_together_share_one_segment(home):
    code = """if True:
        import sys, threading
        from ave import spool
        sys.setswitchinterval(1e-6)
        ready = threading.Barrier(16)
        def work(n):
            ready.wait()
            spool.append("log", "guid-of-writer", {"n": n}, source="test")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    for number in range(5):
        environment = {**os.environ, "PYTHONPATH": ROOT, "AVE_HOME": str(home / str(number))}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        spool = str(home / str(number) / ".ave" / "spool")
        assert sorted(numbers(spool)) == list(range(16))
        assert list(read_spool(spool).counts.values()) == [16]


def test_a_value_that_takes_a_lock_of_its_own_makes_no_deadlock(spool):
    lock, entered = threading.Lock(), threading.Event()

    class Locked:
        def __str__(self):
            entered.set()
            with lock:
                return "locked"

    with lock:
        other = threading.Thread(target=append, args=(Locked(),), daemon=True)
        other.start()
        assert entered.wait(10)
        third = threading.Thread(target=append, args=(1,), daemon=True)
        third.start()  # while the other one waits for the lock inside its append
        third.join(10)
        assert not third.is_alive()
    other.join(10)
    assert not other.is_alive()
    assert numbers(spool) == [1, "locked"]


def interrupting(monkeypatch, at, action):
    """Have `action` run in the middle of append, before the file operation number `at`; return the counter."""
    count = itertools.count(1)
    state = {"count": 0}

    def wrap(name):
        real = getattr(io, name)

        def call(*arguments, **options):
            state["count"] = next(count)
            if state["count"] == at:
                action()
            return real(*arguments, **options)

        monkeypatch.setattr(io, name, call)

    for name in ("open_append", "lock_shared", "write", "sync", "rename", "make_dirs", "close", "replace_file"):
        wrap(name)
    return state


def emit_with_a_gap(monkeypatch):
    """Append a little of everything; numbers 0 to 4, number 2 is refused."""
    append(0)
    append(1, kind="verdict")
    with monkeypatch.context() as patch:
        patch.setattr(writer.Room, "takes", lambda *_: False)
        with pytest.raises(SpoolFull):
            append(2)
    append(3, text="7 " * 40_000)
    append(4)


def missing(spool):
    """Numbers of segments that nothing accounts for."""
    found, seen = read_spool(spool), set()
    for record in found.records:
        seen.add((segment_of(record.id), seq_of(record.id)))
        if record.kind == "gap":
            seen |= {(record.body["segment"], seq) for seq in range(record.body["first"], record.body["last"] + 1)}
    return {(name, seq) for name, count in found.counts.items() for seq in range(1, count + 1)} - seen


def test_r17_a_signal_handler_that_appends_may_come_at_any_moment(settings, spool, monkeypatch):
    settings(policy="class")

    def handle():
        try:
            handled.append(append("handler", kind="verdict"))
        except SpoolFull:
            handled.append("refused")

    for at in itertools.count(1):
        handled: list[str] = []
        with monkeypatch.context() as patch:
            state = interrupting(patch, at, handle)
            emit_with_a_gap(patch)
            spools.close()
        if state["count"] < at:
            break
        records = read_spool(spool).records
        assert len({record.id for record in records}) == len(records)
        found = [r.body["n"] for r in joined(records) if r.kind != "gap"]
        assert handled in (["synced"], ["refused"])
        assert sorted(found, key=str) == [0, 1, 3, 4, *(["handler"] if handled == ["synced"] else [])]
        gaps = [record.body["kinds"] for record in records if record.kind == "gap"]
        assert sum(kinds["log"] for kinds in gaps if "log" in kinds) == 1
        assert sum(kinds["verdict"] for kinds in gaps if "verdict" in kinds) == (handled == ["refused"])
        assert missing(spool) == set()
        for name in os.listdir(spool):
            os.unlink(os.path.join(spool, name))
    assert at > 15


def test_r17_an_interrupt_may_come_at_any_moment(settings, spool, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    settings(policy="class")
    for at in itertools.count(1):
        kept = []
        with monkeypatch.context() as patch:
            state = interrupting(patch, at, interrupt)
            for n in range(6):
                try:
                    append(n, kind="verdict", text="7 " * (40_000 if n == 3 else 0))
                    kept.append(n)
                except KeyboardInterrupt:
                    continue
            try:
                spools.close()
            except KeyboardInterrupt:
                spools.close()
        if state["count"] < at:
            break
        records = read_spool(spool).records
        assert len({record.id for record in records}) == len(records)
        found = [record.body["n"] for record in joined(records)]
        assert set(kept) <= set(found)
        assert len(found) == len(set(found))
        assert missing(spool) == set()
        for name in os.listdir(spool):
            os.unlink(os.path.join(spool, name))
    assert at > 10


def test_r17_a_fork_may_come_at_any_moment(settings, spool, monkeypatch):
    def fork():
        children.append(os.fork())

    def emit():
        """Return what was kept; a fork inside an append leaves one of the two processes without the record."""
        kept = []
        for n, more in ((1, {}), (2, {"kind": "verdict"}), (3, {"text": "7 " * 40_000}), (4, {})):
            try:
                append(n, **more)
                kept.append(n)
            except SpoolError:
                time.sleep(writer.RETRY_S)
        spools.close()
        return kept

    settings(policy="class")
    for at in itertools.count(1):
        children: list[int] = []
        kept = []
        with monkeypatch.context() as patch:
            state = interrupting(patch, at, fork)
            try:
                kept = emit()
            finally:
                if children == [0]:
                    os._exit(sum(1 << n for n in kept))
        if state["count"] < at:
            break
        child_kept = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
        found = read_spool(spool).records
        records = list({record.id: record for record in found}.values())
        # a child that is in doubt whether its parent's record was synced copies it, id and all
        assert all(record in records for record in found)
        for process, sent in ((os.getpid(), kept), (children[0], [n for n in range(5) if child_kept >> n & 1])):
            assert len(sent) >= 3
            own = [r.body["n"] for r in joined(records) if r.pid == process and r.kind != "gap"]
            # what was written before the fork is there once, from the parent, and both say that it was kept
            assert own == sent[len(sent) - len(own) :] if process != os.getpid() else set(sent) <= set(own)
        assert missing(spool) == set()
        for name in os.listdir(spool):
            os.unlink(os.path.join(spool, name))
    assert at > 10


def test_r17_real_signals_interrupt_without_harm(spool):
    numbers_kept, signals_kept = itertools.count(), itertools.count()
    depth, goes_on = 0, True

    def come_soon():
        if goes_on:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

    def handle(*_):
        """Append, and be interrupted, too; but not without end, or a machine that is busy would never get out."""
        nonlocal depth
        depth += 1
        if depth < 3:
            come_soon()
        append(f"signal {next(signals_kept)}")
        depth -= 1
        if depth == 0:
            come_soon()

    before = signal.signal(signal.SIGALRM, handle)
    come_soon()
    try:
        for n in numbers_kept:
            append(n)
            if n >= 3000 and os.path.exists(spool) and len(reader.list_segments(spool)) >= 3:
                break
    finally:
        goes_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    spools.close()
    found = read_spool(spool)
    assert found.damage == {}
    assert sorted(map(str, numbers(spool))) == sorted(
        [*map(str, range(next(numbers_kept))), *(f"signal {n}" for n in range(next(signals_kept)))]
    )
    assert len(found.counts) == len(reader.list_segments(spool))


@pytest.mark.parametrize("file", ["ave/redact/shapes.py", "/hashlib.py", "re/_parser.py"])
def test_r17_no_handler_that_appends_comes_while_something_is_loaded_late(file, spool):
    """It would meet half a module; or begin anew what takes long, as would the next handler amid that, without end."""
    code = f"""if True:
        import signal, sys
        from ave import spool
        text = "password=canary https://user:canary@host/ " * 5000
        def append(n):
            spool.append("log", "guid-of-writer", {{"n": n, "text": text}}, source="test")
        def handle(_, frame):
            while frame:
                assert {file!r} not in frame.f_code.co_filename, "amid it"
                frame = frame.f_back
            append("handler")
        def trace(frame, *_):
            if {file!r} in frame.f_code.co_filename:
                sys.settrace(None)
                signal.raise_signal(signal.SIGALRM)
        signal.signal(signal.SIGALRM, handle)
        sys.settrace(trace)
        append("main")
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    """
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, check=True)
    assert sorted(record.body["n"] for record in joined(read_spool(spool).records)) == ["handler", "main"]


def test_r17_an_interrupt_just_when_signals_are_held_leaves_none_of_them_held(monkeypatch):
    real = late._signal.pthread_sigmask

    def interrupted(how, numbers):
        before = real(how, numbers)
        if how == signal.SIG_BLOCK and numbers:
            raise KeyboardInterrupt
        return before

    monkeypatch.setattr(late._signal, "pthread_sigmask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        late.undisturbed(list)
    assert real(signal.SIG_BLOCK, ()) == set()


def test_r17_a_handler_that_closes_the_spool_takes_no_record_away(spool, monkeypatch):
    append(0)
    with monkeypatch.context() as patch:
        interrupting(patch, 1, spools.close)
        append(1)
    append(2)
    assert numbers(spool) == [0, 1, 2]


def test_r17_a_forked_child_writes_to_a_segment_of_its_own(spool):
    append("parent")
    if (child := os.fork()) == 0:
        append("child")
        spools.close()
        os._exit(0)
    os.waitpid(child, 0)
    append("parent again")
    spools.close()
    found = read_spool(spool)
    assert {record.body["n"]: record.pid == os.getpid() for record in found.records} == {
        "parent": True,
        "parent again": True,
        "child": False,
    }
    assert len(found.counts) == 2


def test_r17_an_executed_child_inherits_no_descriptor_of_the_spool(spool):
    append()
    code = "import os; print(*map(os.path.realpath, os.scandir('/proc/self/fd')))"
    done = subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, text=True, check=True)
    assert "/dev/null" in done.stdout or "pipe" in done.stdout
    assert ".ave" not in done.stdout


def test_a_handler_at_exit_may_still_append(spool, home):
    code = """if True:
        import atexit
        def last(n): spool.append("log", "guid-of-writer", {"n": n}, source="test")
        atexit.register(last, 2)
        from ave import spool
        atexit.register(last, 1)
        last(0)
    """
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, check=True)
    assert numbers(spool) == [0, 1, 2]


# Who may read it


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_s16_segments_and_directories_are_private_whatever_the_umask(umask, home, spool):
    before = os.umask(umask)
    try:
        append()
        (home / "deep").rmdir() if (home / "deep").exists() else None
        spools.append("log", GUID, {}, source="test", home=str(home / "deep" / "home"))
    finally:
        os.umask(before)
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    directories = [path for path in home.rglob("*") if path.is_dir()]
    assert len(directories) == 6
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}
