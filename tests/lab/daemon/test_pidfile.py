"""The pid file: a stale one stops nobody, a number that came to mean another process harms nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from ave.exceptions import AveException
from ave.lab.daemon import pidfile
from ave.lab.daemon.pidfile import PidFile, Process


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run" / "ave-oven.pid")


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def in_child(work):
    """Do something in a forked process that then sleeps until it is killed; returns its pid."""
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(say, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(say)
    assert os.read(ready, 1)
    os.close(ready)
    return pid


def test_who_takes_it_is_named_and_others_are_refused(path):
    file = PidFile.take(path, "oven")
    with open(path) as content:
        assert content.readline() == f"{os.getpid()}\n", "the first line is for whoever reads pid files"
    with pidfile.serving(path) as process:
        assert process.pid == os.getpid()
    with pytest.raises(AveException, match=rf"another oven already \(pid {os.getpid()}\); stop that one first"):
        PidFile.take(path, "oven")
    file.remove()
    assert not os.path.exists(path)
    assert pidfile.serving(path) is None


def test_a_file_of_a_process_that_was_killed_stops_nobody(path):
    pid = in_child(lambda: PidFile.take(path, "oven"))
    with pidfile.serving(path) as process:
        assert process.pid == pid
    os.kill(pid, signal.SIGKILL)
    PidFile.take(path, "oven").remove()  # at once: it may not even be gone
    os.waitpid(pid, 0)


@pytest.mark.parametrize("content", ["", "\0" * 64, "ave", "-1\n1\n", f"{1 << 70}\n1\n", "4711\n"])
def test_garbage_stops_nobody(path, content):
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(content)
    assert pidfile.serving(path) is None
    PidFile.take(path, "oven").remove()


def test_a_number_that_means_another_process_by_now_is_nobody(path, sleeper):
    file = PidFile.take(path, "oven")
    os.pwrite(file.fd, f"{sleeper.pid}\n1\n".ljust(64).encode(), 0)
    assert pidfile.serving(path) is None, "that process began at another time"
    file.leave()


def test_who_does_not_hold_the_lock_serves_no_more_whatever_the_file_says(path):
    file = PidFile.take(path, "oven")
    file.leave()
    assert os.path.exists(path)
    assert pidfile.serving(path) is None


def test_a_lock_that_is_passed_on_has_no_gap(path):
    file = PidFile.take(path, "oven")
    passed = os.dup(file.fd)
    file.leave()
    assert pidfile.is_locked(path)
    PidFile(path, passed).remove()
    assert not pidfile.is_locked(path)


def test_of_many_who_take_it_at_once_one_gets_it(path):
    begin, taken = threading.Barrier(8), []

    def take():
        begin.wait()
        fd = pidfile.lock(path)
        if fd is not None:
            taken.append(fd)

    os.makedirs(os.path.dirname(path))
    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    os.close(taken[0])


def test_a_file_that_was_removed_is_noticed(path):
    file = PidFile.take(path, "oven")
    assert file.is_there()
    os.unlink(path)
    assert not file.is_there()
    other = PidFile.take(path, "oven")
    file.remove()
    assert other.is_there(), "the file of another is left alone"
    other.remove()


def test_no_link_is_followed(path, tmp_path):
    os.makedirs(os.path.dirname(path))
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(OSError, match="symbolic links"):
        PidFile.take(path, "oven")
    assert not (tmp_path / "elsewhere").exists()


def test_a_process_that_has_ended_takes_signals_in_vain(sleeper):
    with Process(sleeper.pid) as process:
        assert not process.ends_within(0)
        process.send(signal.SIGKILL)
        assert process.ends_within(10)
        sleeper.wait()
        process.send(signal.SIGKILL)
    process.close()
