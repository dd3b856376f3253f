"""R15, R18, R19, R20: disks that fail, clocks that lie, homes of others, large backlogs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from forked import (
    CALLS,
    GUID,
    around_call,
    assert_balances,
    assert_nothing_lost_nothing_twice,
    at_point,
    kept,
    peak_mib,
    segments,
    stored,
)
from scale import dice, scaled
from scene import assert_scene_is_stored
from small_disk import mounted

from ave import home as homes
from ave import io
from ave import spool as emit
from ave.lab import config
from ave.lab.logd import main
from ave.spool import reader
from ave.testing import wait_until
from tests.lab.logd.segments import footer, header, name, record, write

pytestmark = pytest.mark.slow

PROGRAM = str(Path(__file__).parents[2] / "daemons" / "ave-logd")

#: What needs room on the disk.
GROWING = ("make_dirs", "open_append", "rename", "sync", "sync_dir", "write")


# R15


def raising(number):
    def fail():
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def assert_survives(home, scene, logd, drain):
    """Let ave-logd meet a fault, then another one none; return what the first one said."""

    def run(fault):
        spool = scene()
        first = logd("--once", fault=fault)
        assert first.wait() in {0, 1}, first.said()
        said = first.said()
        assert "Traceback" not in said
        drain()
        assert_scene_is_stored(home, spool)
        return said

    return run


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_r15_any_one_operation_may_fail(number, assert_survives):
    random = dice(f"R15 one-shot {number}")
    operations = random.sample(range(1, 200), scaled(100))
    said = [assert_survives(around_call(CALLS, n, before=raising(number))) for n in operations]
    assert any(os.strerror(number) in one for one in said), "void: not one of them was told"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_r15_all_that_needs_room_may_fail_from_any_moment_on(number, assert_survives):
    def fault_from(count):
        def fault():
            left = count

            def around(real):
                def called(*arguments, **options):
                    nonlocal left
                    left -= 1
                    if left <= 0:
                        raising(number)()
                    return real(*arguments, **options)

                return called

            for call in GROWING:
                setattr(io, call, around(getattr(io, call)))

        return fault

    random = dice(f"R15 sticky {number}")
    counts = random.sample(range(1, 60), min(59, scaled(50)))
    said = [assert_survives(fault_from(count)) for count in counts]
    assert any(os.strerror(number) in one for one in said), "void: not one of them was told"


@pytest.mark.parametrize("part", [0, 1, 100])
def test_r15_any_write_may_be_short(part, assert_survives):
    def fault_at(count):
        def fault():
            left = count

            def write(fd, data):
                nonlocal left
                left -= 1
                if left == 0:
                    os.write(2, b"the write is short\n")
                return os.write(fd, data[:part] if left == 0 else data)

            io.write = write

        return fault

    random = dice(f"R15 short {part}")
    # the first write there is in any case
    counts = [1, *random.sample(range(2, 40), min(38, scaled(50)))]
    said = [assert_survives(fault_at(count)) for count in counts]
    assert any("the write is short" in one for one in said), "void: none of them came to pass"


def test_r15_it_goes_on_within_moments_when_the_disk_has_room_again(home, logd, job):
    full = home / "full"

    def fault():
        def around(real):
            def called(*arguments, **options):
                if full.exists():
                    raising(errno.ENOSPC)()
                return real(*arguments, **options)

            return called

        for call in GROWING:
            setattr(io, call, around(getattr(io, call)))

    serving = logd(fault=fault)
    working = job("job", 2000, pace_s=0.001)
    wait_until(lambda: len(stored(home)) > 100)
    full.touch()
    wait_until(lambda: "No space left on device" in serving.said())
    assert working.wait() == 0
    full.unlink()
    began = time.monotonic()
    wait_until(lambda: len(stored(home)) == 2000)
    assert time.monotonic() - began <= 2.0
    wait_until(lambda: segments(home) == [])
    serving.send(signal.SIGTERM)
    assert serving.wait() == 0
    assert "Traceback" not in serving.said()
    assert_nothing_lost_nothing_twice(home)
    assert_balances(home)


@pytest.fixture
def small_disk(home):
    """A file system of 16 MiB for the whole home."""
    with mounted(home, 16) as disk:
        yield disk


def test_r15_a_full_file_system_stops_nobody_and_loses_nothing(small_disk, logd, job):
    home = small_disk.path
    config.bootstrap(str(home))
    serving = logd()
    working = job("job", size=300, pace_s=0.001)
    wait_until(lambda: len(stored(home)) > 100)
    small_disk.fill()
    wait_until(lambda: "is full" in serving.said() or "No space" in serving.said())
    working.send(signal.SIGTERM)
    working.wait()
    small_disk.free()
    began = time.monotonic()
    wait_until(lambda: len(stored(home)) >= len(kept(home)))
    assert time.monotonic() - began <= 2.0
    serving.send(signal.SIGTERM)
    assert serving.wait() == 0
    assert "Traceback" not in serving.said()
    assert_nothing_lost_nothing_twice(home, unsaid=1)


# R18


def test_r18_nothing_is_deleted_early_whatever_time_a_record_or_the_clock_names(home, drain):
    now = time.time_ns()
    hour, year = 3600 * 10**9, 365 * 86400 * 10**9
    times = [now - hour, now + 10 * year, 2**31 * 10**9, 2**32 * 10**9, 0, 1, 2**63 - 1, now]
    for n, at in enumerate(times):
        emit.append("shout", GUID, {"n": n}, source="test", home=str(home), time=at)
    emit.close()
    drain()
    if not shutil.which("faketime"):
        pytest.skip("needs faketime")
    for clock in ("-1h", "+10y", "@2038-01-19 03:14:00", "-20y"):
        emit.append("shout", GUID, {"n": clock}, source="test", home=str(home))
        emit.close()
        command = ["faketime", "--exclude-monotonic", "-f", clock, sys.executable, PROGRAM, "--home", str(home)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
            try:
                wait_until(lambda: clock in [body["n"] for _, body in stored(home).values()])  # noqa: B023
                wait_until(lambda: segments(home) == [])
            finally:
                # faketime(1) waits for the program and hands no signal on
                [program] = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split() or [
                    serving.pid
                ]
                os.kill(int(program), signal.SIGTERM)
            _, said = serving.communicate()
            assert serving.returncode == 0, said
        assert_balances(home)
    assert len(stored(home)) == len(times) + 4


# R19


@pytest.fixture
def public():
    """A directory that everybody can enter; pytest's own nobody else can."""
    path = tempfile.mkdtemp()
    os.chmod(path, 0o755)
    yield Path(path)
    shutil.rmtree(path)


def of_another_user(home):
    config.bootstrap(str(home))
    (home / ".ave" / "spool").mkdir(mode=0o700)
    os.chmod(home, 0o755)
    return ".ave"


def read_only(home):
    os.chown(home, 65534, 65534)
    os.chmod(home, 0o555)
    return ".ave"


def below_what_cannot_be_written(home):
    home.rmdir()
    return str(home.parent)


def a_file(home):
    home.rmdir()
    home.touch()
    return "home"


def with_a_file_in_place(of):
    def make(home):
        path = home / of
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for root, directories, files in os.walk(home):
            for entry in (".", *directories, *files):
                os.chown(os.path.join(root, entry), 65534, 65534)
        return of

    make.__name__ = f"with_a_file_in_place_of_{of}"
    return make


def with_settings_that_cannot_be_read(home):
    config.bootstrap(str(home))
    os.chmod(home, 0o755)
    os.chmod(home / ".ave", 0o755)
    return "panotti.json"


HOMES = [
    of_another_user,
    read_only,
    below_what_cannot_be_written,
    a_file,
    *map(with_a_file_in_place, (".ave", ".ave/spool", ".ave/run")),
    with_settings_that_cannot_be_read,
]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("arguments", [[], ["--once"]])
@pytest.mark.parametrize("make", HOMES, ids=lambda make: make.__name__)
def test_r19_a_home_that_cannot_be_used_is_told_in_a_line(make, arguments, public, fork):
    home = public / "home"
    home.mkdir(mode=0o700)
    named = make(home)

    def work():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return main(["--home", str(home), *arguments])

    one = fork(work)
    code = one.wait()
    said = one.said()
    assert code in {1, 2}, said
    assert "Traceback" not in said
    assert said.startswith("ave-logd: ")
    assert said.count("\n") == 1
    assert named in said


# R20


@pytest.fixture
def backlog(home):
    """Many segments of jobs that are gone; their number."""
    spool = homes.ave(str(home), "spool")
    count = scaled(10_000)
    text = "x" * 300
    for number in range(count):
        of = name(number)
        write(spool, number, header(), *(record(seq, body={"text": text}, of=of) for seq in (1, 2, 3)), footer(3))
    return count


def first_record_s(home):
    """Start ave-logd; return after how many seconds the first record is stored, and the process."""
    for file in (*home.glob(".ave/lab.db*"), *home.glob(".ave/spool/ledger.db*"), *home.glob(".ave/spool/cursors/*")):
        file.unlink()
    began = time.monotonic()
    serving = subprocess.Popen([sys.executable, PROGRAM, "--home", str(home)], stderr=subprocess.DEVNULL)
    wait_until(lambda: stored(home), 30)
    return time.monotonic() - began, serving


def test_r20_the_first_record_of_a_backlog_is_stored_at_once_and_memory_is_bounded(home, backlog):
    config.bootstrap(str(home))
    taken_s, serving = first_record_s(home)
    try:
        if taken_s > 2.0:  # once more, for a busy machine may have kept us waiting
            serving.kill()
            serving.wait()
            backlog = len(segments(home))
            taken_s, serving = first_record_s(home)
        assert taken_s <= 2.0
        wait_until(lambda: segments(home) == [], 120)
        assert peak_mib(serving.pid) <= 150
    finally:
        serving.terminate()
        assert serving.wait(5) == 0
    assert len(stored(home)) == 3 * backlog
    assert_balances(home)


def test_r20_the_start_opens_each_segment_of_the_backlog_once_and_reads_hardly_anything(home, backlog, logd):
    def fault():
        opened, read = {}, {}

        def open_read(path, real=io.open_read):
            opened[path] = opened.get(path, 0) + 1
            return real(path)

        def pread(fd, length, offset, real=io.pread):
            path = os.readlink(f"/proc/self/fd/{fd}")
            data = real(fd, length, offset)
            read[path] = read.get(path, 0) + len(data)
            return data

        def note():
            (home / "opened").write_text(json.dumps([opened, read]))
            os._exit(0)

        io.open_read, io.pread = open_read, pread
        at_point("looked", 1, note)()

    assert logd("--once", fault=fault).wait() == 0
    opened, read = json.loads((home / "opened").read_text())
    paths = [reader.path(homes.ave(str(home), "spool"), name(number)) for number in range(backlog)]
    assert [opened[path] for path in paths] == [1] * backlog
    assert max(read[path] for path in paths) <= 64
