"""Threads that fork, signals that interrupt, children of every make: all of them emit. Run by a test.

forking_emitter.py CHILDREN SEED    in the home of AVE_HOME; prints what was emitted, by word or error
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading

from ave import spool

GUID = "guid-of-forks"
THREADS = 8

#: This file gets one byte for every record that append said it kept, in whatever process.
KEPT = os.environ.get("KEPT", "")


def emit(who: str, **body: object) -> None:
    """Append one record, and count it across all processes."""
    spool.append("log", GUID, {"who": who, **body}, source="test")
    fd = os.open(KEPT, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b".")
    os.close(fd)


def on_signal(_number: int, _frame: object) -> None:
    emit("signal")


def child(who: str) -> None:
    """Emit as a child does, in two threads."""
    other = threading.Thread(target=emit, args=(who,))
    other.start()
    emit(who)
    other.join()


def fork_child() -> None:
    """Fork in the usual way, end with the exit handlers or without."""
    pid = os.fork()
    if pid == 0:
        with_handlers = os.getpid() % 2
        try:
            child("fork")
            if with_handlers:
                atexit._run_exitfuncs()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def run(mode: str) -> None:
    """Have a child of another make."""
    if mode == "subprocess":
        subprocess.run([sys.executable, __file__, "child"], check=True)
    else:
        process = multiprocessing.get_context(mode).Process(target=child, args=(mode,))
        process.start()
        process.join()
        assert process.exitcode == 0


def fork_in_c() -> None:
    """Fork behind Python's back; possible only while there is no other thread."""
    libc = ctypes.PyDLL(None)
    emit("before a fork in C")
    pid = libc.fork()
    if pid == 0:
        emit("fork in C")
        emit("fork in C")
        os._exit(0)
    os.waitpid(pid, 0)
    emit("after a fork in C")


def work(number: int, children: int, seed: str) -> None:
    """Be one thread: emit, fork, emit."""
    dice = random.Random(f"{seed} {number}")
    for _ in range(children):
        for n in range(dice.randrange(3)):
            emit("thread", n=n)
        fork_child()


def main(children: int, seed: str) -> None:
    atexit.register(emit, "exit")
    for _ in range(max(1, children // 50)):
        fork_in_c()
    signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    threads = [threading.Thread(target=work, args=(n, children // THREADS, seed)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(max(1, children // 500)):
        for mode in ("fork", "spawn", "forkserver", "subprocess"):
            run(mode)
    signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child("subprocess")
    else:
        main(int(sys.argv[1]), sys.argv[2])
