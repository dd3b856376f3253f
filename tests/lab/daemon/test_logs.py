from __future__ import annotations

import ctypes
import gzip
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from printing import NAME, configure, logs, open_logs, printer, run, whole  # noqa: F401 - the fixtures

from ave.exceptions import AveException
from ave.lab.daemon import logfiles
from ave.lab.daemon.logs import Log
from ave.testing import wait_until


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def fill(count, size=60, begin=0):
    """Print numbered lines, each with one write."""
    for n in range(begin, begin + count):
        os.write(1, f"{n} ".encode().ljust(size - 1, b".") + b"\n")


def numbers(text):
    return [int(line.split()[0]) for line in text.splitlines() if line.endswith("...")]


def test_whoever_prints_is_heard(run):  # noqa: F811
    def work(_log):
        print("print")
        sys.stderr.write("stderr åäö\n")
        os.write(2, b"write\n")
        ctypes.CDLL(None).printf(b"printf\n")
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()

    text = run(work)
    assert text.startswith("print\nstderr åäö\nwrite\nprintf\n")
    assert "ZeroDivisionError" in text


def test_what_logging_prints_comes_this_way_too(run):  # noqa: F811
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        text = run(lambda _log: (logging.getLogger().warning("logged"), print(handler.stream is sys.stderr)))
    finally:
        logging.getLogger().removeHandler(handler)
    assert text == "logged\nTrue\n"


def test_what_cannot_be_encoded_is_printed_all_the_same(run):  # noqa: F811
    assert run(lambda _log: print("half a pair: \udc80")) == "half a pair: \\udc80\n"


def test_a_line_of_a_calm_daemon_is_there_when_print_returns(printer, home):  # noqa: F811
    printer(lambda _log: (print("here"), time.sleep(30)), every=0)
    wait_until(lambda: logs(home) and whole(home) == "here\n")


def test_a_flood_is_buffered_and_complete_at_the_next_look(run, home):  # noqa: F811
    def work(log):
        log.check()
        print("x" * 100_000)
        log.check()  # from here on it is a flood
        print("waits")
        before = whole(home)
        log.check()
        print("waits" in before, "waits" in whole(home), file=sys.stderr)

    assert run(work, every=0).endswith("waits\nFalse True\n")


def test_a_segmentation_fault_leaves_its_trace(printer, home):  # noqa: F811
    one = printer(lambda _log: (print("before"), ctypes.string_at(1)))
    assert one.wait() == -signal.SIGSEGV
    text = whole(home)
    assert text.startswith("before\nFatal Python error: Segmentation fault\n")
    assert "string_at" in text


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_but_owner_and_group_reads_a_log(printer, home, umask):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)
    before = os.umask(umask)
    try:
        printer(lambda _log: (fill(500), time.sleep(0.1), fill(500))).wait()
    finally:
        os.umask(before)
    assert len(logs(home)) > 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in logs(home)} == {0o640}


# Rotation


def test_rotation_by_size_loses_no_line_and_numbers_the_files(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)
    text = run(lambda _log: [(fill(100, begin=n), time.sleep(0.005)) for n in range(0, 5000, 100)], every=0.001)
    assert numbers(text) == list(range(5000))
    names = [path.name.removesuffix(".gz") for path in logs(home)]
    assert len(names) > 5
    assert names == [*(f"{NAME}.log.{n:06d}" for n in range(1, len(names))), f"{NAME}.log"]


def test_rotation_by_age(run, home):  # noqa: F811
    configure(home, log_rotate_s=1)

    def work(_log):
        print("old")
        wait_until(lambda: len(logs(home)) > 1)
        print("new")

    run(work)
    assert [path.read_text() for path in logs(home)] == ["old\n", "new\n"]


def test_an_empty_log_is_not_rotated_by_age(home, run):  # noqa: F811
    configure(home, log_rotate_s=1)

    def work(log):
        log._born -= 100
        log.check()

    run(work, every=0)
    assert [path.name for path in logs(home)] == [f"{NAME}.log"]


def test_the_age_of_a_log_is_counted_over_restarts(run, home):  # noqa: F811
    run(lambda _log: print("first"))
    noted = home / ".ave/run" / f"{NAME}.log.number"
    os.utime(noted, (time.time() - 100_000,) * 2)
    run(lambda log: (log.check(), print("second")), every=0)
    assert [path.read_text() for path in logs(home)] == ["first\n", "second\n"]


def test_a_restart_appends(run):  # noqa: F811
    run(lambda _log: print("first"))
    assert run(lambda _log: print("second")) == "first\nsecond\n"


def test_a_number_is_never_used_again(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)

    def rotate(log):
        fill(200)
        log.check()
        fill(1)

    run(rotate, every=0)
    for path in logs(home):
        path.unlink()
    run(rotate, every=0)
    assert logs(home)[0].name == f"{NAME}.log.000003"
    shutil.rmtree(home / ".ave/run")
    run(rotate, every=0)
    assert [path.name for path in logs(home)][:2] == [f"{NAME}.log.000003", f"{NAME}.log.000004"]


def test_two_instances_share_a_log_and_one_follows_the_other(printer, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000, logs_quota_bytes=1 << 30)

    def stay(log):
        print("stays")
        wait_until(lambda: log.number > 1)
        print("followed")

    one = printer(stay)
    wait_until(lambda: logs(home) and "stays" in whole(home))
    two = printer(lambda log: (fill(300), wait_until(lambda: log.number > 1), print("rotated")))
    assert two.wait() == one.wait() == 0, whole(home)
    assert "followed\n" in logs(home)[-1].read_text()
    assert "rotated\n" in logs(home)[-1].read_text()


def test_a_log_that_cannot_be_is_told(home):
    (home / ".ave").mkdir(mode=0o700)
    (home / ".ave/logs").write_text("")
    with pytest.raises(AveException, match=r"\.ave/logs"):
        Log(str(home), NAME).open()


def test_the_directory_may_be_removed_under_a_daemon(run, home):  # noqa: F811
    def work(log):
        print("gone")
        log.check()
        shutil.rmtree(home / ".ave/logs")
        print("between")
        log.check()
        print("after")

    assert run(work, every=0) == "between\nafter\n"


# Quota and compression


def test_the_quota_takes_the_oldest_and_counts_it(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000, logs_quota_bytes=100_000)
    gauges = home / "gauges"

    def work(log):
        for n in range(0, 10_000, 200):
            fill(200, begin=n)
            log.check()
        log.check()
        gauges.write_text(repr(log.gauges()))

    text = run(work, every=0)
    left = numbers(text)
    assert left == list(range(left[0], 10_000))
    counted = eval(gauges.read_text())
    own = text.count("INFO: removed")
    assert left[0] <= counted["log_lines_removed"] <= left[0] + own + 10
    assert counted["log_bytes_removed"] > 0
    assert "old logs to stay within the quota of 100000 bytes" in text
    assert sum(path.stat().st_size for path in logs(home)) <= 100_000


def test_the_quota_is_one_for_all_services_and_takes_the_oldest_of_any(run, home):  # noqa: F811
    configure(home, logs_quota_bytes=100_000)
    directory = home / ".ave/logs"
    directory.mkdir(parents=True)
    for name, age in (("ave-b.log.000007", 30), ("ave-a.log.000001", 20), ("ave-b.log.000002", 40), ("other", 99)):
        (directory / name).write_text("line\n" * 8000)
        os.utime(directory / name, (time.time() - age,) * 2)
    run(lambda log: log.check(), every=0)
    assert {path.name for path in directory.iterdir()} == {"ave-a.log.000001", "other", f"{NAME}.log"}


def test_a_file_that_somebody_holds_is_emptied_if_the_quota_needs_it(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000, logs_quota_bytes=100_000)

    def work(log):
        child = subprocess.Popen(["sleep", "30"])  # it has descriptors 1 and 2 of this process
        fill(1800)
        log.check()
        held = logs(home)[0]
        fill(300)
        wait_until(lambda: log.check() or held.stat().st_size == 0)
        child.kill()
        child.wait()

    run(work, every=0)


def test_closed_logs_are_compressed_and_nothing_of_them_is_lost(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=100_000)

    def work(log):
        fill(5000)
        wait_until(lambda: log.check() or logs(home)[0].suffix == ".gz")

    assert numbers(run(work, every=0)) == list(range(5000))
    packed, active = logs(home)
    assert active.name == f"{NAME}.log"
    assert packed.stat().st_size < 100_000
    assert stat.S_IMODE(packed.stat().st_mode) == 0o640
    assert gzip.decompress(packed.read_bytes()).startswith(b"0 ...")
    assert not [*packed.parent.glob("*.new")]


def test_what_an_interrupted_compression_left_is_taken_up(run, home):  # noqa: F811
    directory = home / ".ave/logs"
    directory.mkdir(parents=True)
    (directory / f"{NAME}.log.000001").write_text("text\n" * 100)
    (directory / f"{NAME}.log.000001.gz.new").write_bytes(b"half")
    (directory / f"{NAME}.log.000000.gz.new").write_bytes(b"its log was removed")
    run(lambda _log: wait_until(lambda: len(os.listdir(directory)) == 2 and logs(home)[0].suffix == ".gz"))
    assert whole(home) == "text\n" * 100


# Children


def test_a_child_prints_into_the_same_log_and_holds_no_file_of_it(run, home):  # noqa: F811
    configure(home, log_rotate_bytes=10_000)

    def work(log):
        out = log.child_stdio()
        child = subprocess.Popen(
            ["sh", "-c", "echo begin; read x; echo end"], stdin=subprocess.PIPE, stdout=out, stderr=out
        )
        wait_until(lambda: "begin\n" in whole(home))
        fill(500)
        wait_until(lambda: log.number > 1)
        print(open_logs(child.pid))
        child.communicate(b"x\n")
        wait_until(lambda: "end\n" in whole(home))

    text = run(work)
    assert "[]\n" in text
    assert text.index("begin") < text.index("499 ") < text.index("end")


def test_a_forked_child_prints_there_by_itself(run, home):  # noqa: F811
    def work(_log):
        print("parent")
        pid = os.fork()
        if pid == 0:
            print("child", open_logs(os.getpid()))
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        wait_until(lambda: "child []\n" in whole(home))

    assert run(work).count("parent") == 1


def test_a_forked_child_takes_no_lock_along(run, home):  # noqa: F811
    def work(log):
        with logfiles.locked(str(home)) as mine:
            pid = os.fork()
            if pid == 0:
                signal.pause()
        held = [entry for entry in os.listdir(f"/proc/{pid}/fd") if int(entry) > 2]
        wait_until(lambda: not [fd for fd in held if "logs.lock" in os.readlink(f"/proc/{pid}/fd/{fd}")])
        with logfiles.locked(str(home)) as mine_again:
            print(mine, mine_again)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    assert run(work, every=0) == "True True\n"


def test_a_line_of_a_child_is_not_cut_by_one_of_the_daemon(run, home):  # noqa: F811
    def work(log):
        os.write(log.child_stdio(), b"one ")
        log.check()
        print("between")
        os.write(log.child_stdio(), b"line\n")
        log.check()

    assert run(work, every=0) == "between\none line\n"


def test_what_a_child_printed_survives_a_daemon_that_is_killed(printer, home, run):  # noqa: F811
    def work(log):
        os.write(log.child_stdio(), b"copied\n")
        log.check()
        subprocess.Popen(["sh", "-c", "echo left; sleep 0.2; echo right"], stdout=log.child_stdio())
        (home / "begun").touch()
        time.sleep(30)

    one = printer(work, every=0)
    wait_until((home / "begun").exists)
    os.kill(one.pid, signal.SIGKILL)
    one.wait()
    text = run(lambda _log: wait_until(lambda: "right\n" in whole(home)))
    assert text == "copied\nleft\nright\n"
    assert not [*Path(home, ".ave/run").glob("*.children*")]


def test_the_disk_gets_back_what_children_printed(run, home):  # noqa: F811
    def work(log):
        line = b"x" * 999 + b"\n"
        for _ in range(2000):
            os.write(log.child_stdio(), line)
        log.check()
        print(os.fstat(log.child_stdio()).st_blocks * 512 < 600_000)

    assert run(work, every=0).endswith("True\n")


@pytest.mark.parametrize("note", [b"", b"\0" * 20])
@pytest.mark.parametrize("given_back", [0, 100_000])
def test_a_note_that_a_power_cut_took_costs_no_line_of_children(run, home, note, given_back):  # noqa: F811
    feed = home / ".ave/run" / f"{NAME}.0123456789abcdef.children"
    feed.parent.mkdir(parents=True)
    with feed.open("wb") as file:
        file.seek(given_back)
        file.write(b"left\nright\n")
    Path(f"{feed}.at").write_bytes(note)
    assert run(lambda _log: wait_until(lambda: "right\n" in whole(home))) == "left\nright\n"
    assert not feed.exists()
