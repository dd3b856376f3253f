"""One program on a pseudo-terminal of its own: started, read from, timed, ended.

The program leads a session of its own with the terminal as its controlling one, as a login shell does, so the
end of the terminal hangs up what it left behind. It is started with posix_spawn: safe beside threads, and a
program that cannot be run is an OSError here instead of a second copy of the caller.

What a program writes arrives with `\\r\\n` for each `\\n`, as from any terminal. The kernel would do that line by line,
in the program's own time, at a third of the speed; so it is done here, and `stty -a` shows `opost -onlcr`. It is
left alone as soon as the program changes that itself: with `onlcr` on the kernel does it, with `opost` off nobody.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
import time
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Write = Callable[[bytes], object]

__all__ = ["run"]

#: What is handed on at once, before a `\\r` is put in front of each `\\n`.
READ_BYTES = 65536

#: Children may go on talking after the program's end: until this much silence, and no longer than this. Seconds.
SILENCE_S = 1.0
DRAIN_S = 5.0

#: What a killed program is given to die; one in an unkillable system call must not hang the caller. Seconds.
DEATH_S = 5.0

#: How often the end of a program is asked for on a kernel without pidfd. Seconds.
ASK_S = 0.02

#: The longest single wait: a Ctrl-C that arrives just before poll() is noticed only after it. Seconds.
WAIT_S = 1.0

#: Signals that mean the usual to a program, whatever they mean to the caller: a scheduler under nohup, or one that
#: ignores SIGINT, must not change how its jobs end. Python itself ignores SIGPIPE and SIGXFSZ.
DEFAULTED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}

#: Listings of /proc that hunt for a session's members; only children born faster than that escape.
HUNTS = 50


def run(
    exe: str,
    environment: dict[bytes, bytes],
    write: Write,
    limit: float | None = None,
    started: Callable[[], object] = lambda: None,
) -> int | None:
    """Run `exe` without arguments, hand its output to `write` as it comes, and wait for its end.

    Args:
        exe: absolute path.
        environment: the whole of it.
        write: called with 1..131072 bytes at a time, as soon as they are there.
        limit: seconds the program may take; None for ever.
        started: called once, as soon as it runs and before anything is written: what is done here costs no time, for
            the program is still being loaded.

    Returns:
        The exit status, minus the signal that ended the program, or None: out of time, and its session killed.

    Raises:
        OSError: it cannot be run. Whatever else is raised while it runs, KeyboardInterrupt included, kills its
            session first.
    """
    program = _Program()
    try:
        program.start(exe, environment)
        started()
        status = program.follow(write, limit)
        if status is None:
            program.kill()
        program.drain(write)
        return status
    except BaseException:
        program.kill()
        raise
    finally:
        program.close()


class _Program:
    def __init__(self) -> None:
        self._pids: list[int] = []  # one, once it is started
        self._fds: list[int] = []
        self._pidfd: int | None = None
        self._held = False
        self._poll = select.poll()
        self._buffer = memoryview(bytearray(READ_BYTES))

    def start(self, exe: str, environment: dict[bytes, bytes]) -> None:
        """Start the program; whatever happens meanwhile, `kill` and `close` know of it."""
        self._master, slave = os.openpty()
        self._fds.append(self._master)
        try:
            _leave_newlines(slave)
            os.set_blocking(self._master, False)
            spawn = _spawn(exe, os.ttyname(slave))
            # One call of C code: a Ctrl-C that arrives meanwhile is raised after it, and the process not forgotten.
            self._pids.extend(map(spawn, [environment]))
        finally:
            os.close(slave)  # what still holds the terminal from here on is the program and its children
        self._held = True
        self._poll.register(self._master, select.POLLIN)
        self._watch(self._pids[0])

    def _watch(self, pid: int) -> None:
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:  # a kernel before 5.3, or a sandbox
            return
        self._fds.append(self._pidfd)
        self._poll.register(self._pidfd, select.POLLIN)

    def follow(self, write: Write, limit: float | None) -> int | None:
        """Copy output until the program has ended and return how, or None after `limit` seconds.

        The program stays a zombie, so that its process and session ids cannot be given to others.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            events = self._wait(deadline)
            if self._master in events:
                self._copy(write)
            if self._pidfd is None or self._pidfd in events:
                status = self._status()
                if status is not None:
                    return status
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def _wait(self, deadline: float | None) -> dict[int, int]:
        seconds = ASK_S if self._pidfd is None else WAIT_S
        if deadline is not None:
            seconds = min(seconds, max(0.0, deadline - time.monotonic()))
        return dict(self._poll.poll(seconds * 1000))

    def _copy(self, write: Write) -> None:
        """Hand on what is there: the kernel gives it in pieces of at most 4 KiB."""
        size, is_open = 0, True
        try:
            while is_open and size < READ_BYTES:
                got = os.readv(self._master, [self._buffer[size:]])
                size, is_open = size + got, got > 0
        except BlockingIOError:
            pass
        except OSError as exc:
            if exc.errno != errno.EIO:  # the way Linux says that nobody holds the terminal any more
                raise
            is_open = False
        if size:
            data = bytes(self._buffer[:size])
            # asked after the reading: what the kernel did already must not be done once more
            write(data.replace(b"\n", b"\r\n") if _leaves_newlines(self._master) else data)
        if not is_open:
            self._poll.unregister(self._master)
            self._held = False

    def _status(self) -> int | None:
        ended = os.waitid(os.P_PID, self._pids[0], os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def drain(self, write: Write) -> None:
        """Copy what children of the ended program still say."""
        if self._pidfd is not None:
            self._poll.unregister(self._pidfd)
        deadline = time.monotonic() + DRAIN_S
        while self._held:
            seconds = min(SILENCE_S, deadline - time.monotonic())
            if seconds <= 0 or not self._poll.poll(seconds * 1000):
                return
            self._copy(write)

    def kill(self) -> None:
        """Kill everything in the program's session and wait for the program's death."""
        deadline = time.monotonic() + DEATH_S
        for pid in self._pids:
            _signal_session(pid, signal.SIGKILL)
            while self._status() is None and time.monotonic() < deadline:
                time.sleep(ASK_S / 10)

    def close(self) -> None:
        """Hang up, and take the program off the process table."""
        for pid in self._pids if self._held else ():
            # The kernel hangs up the foreground group when its leader dies; this reaches the background too.
            _signal_session(pid, signal.SIGHUP)
        for fd in self._fds:
            os.close(fd)
        for pid in self._pids:
            os.waitpid(pid, os.WNOHANG)


def _leave_newlines(fd: int) -> None:
    """Set a fresh terminal so that each `\\n` comes through as it is."""
    attributes = termios.tcgetattr(fd)
    attributes[1] &= ~termios.ONLCR
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _leaves_newlines(fd: int) -> bool:
    """Tell whether a terminal still is as `_leave_newlines` set it, so that the `\\r` is to be put in here."""
    return bool(termios.tcgetattr(fd)[1] & (termios.OPOST | termios.ONLCR) == termios.OPOST)


def _spawn(exe: str, terminal: str) -> Callable[[dict[bytes, bytes]], int]:
    """Return the call that starts `exe` with the environment it is given."""
    # A session leader without a terminal gets the first one it opens: hence by name, after setsid.
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()]
    return partial(os.posix_spawn, exe, [exe], file_actions=actions, setsid=True, setsigmask=(), setsigdef=DEFAULTED)


def _inheritable() -> list[int]:
    """Return the descriptors above stderr that an exec would hand on."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # closed since: the listing's own, or another thread's
            continue
    return found


def _signal_session(leader: int, number: int) -> None:
    """Send a signal to every process of a session, once each, also to those in process groups of their own.

    The leader must not have been reaped: until then nobody else can get its id.
    """
    reached: set[int] = set()
    for _ in range(HUNTS):
        members = _members(leader) - reached
        if not members:
            return
        # the leader first, and parents before children as a rule: a shell shall not say how its child ended
        for pid in sorted(members, key=lambda pid: (pid != leader, pid)):
            _signal(pid, number)
        reached |= members


def _members(session: int) -> set[int]:
    members = set()
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == session:
                members.add(int(name))
        except OSError:  # gone meanwhile
            continue
    return members


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:  # gone meanwhile, or not ours to signal
        return
