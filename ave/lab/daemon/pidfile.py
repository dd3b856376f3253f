"""Who serves: a file that names the process and is locked as long as it serves, so that there are never two.

The lock decides, not the content: a file that a dead process left behind stops nobody. The content is believed only
if a process of that number runs *and* began when the file says, so a number that came to mean another process is
harmless. A restart passes the lock on by its descriptor; nobody can get between.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from ave import io
from ave.exceptions import AveException
from ave.lab.processes import start_of

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["PidFile", "Process", "lock", "serving"]

#: Bytes of the content, so that one write replaces it: pid, and when it began in clock ticks since the boot.
LENGTH = 64

#: Seconds to wait for a lock that is held by nobody that can be named, as somebody looks or takes over; and by one
#: that can.
PATIENCE_S = 2.0
DYING_S = 0.25
RETRY_S = 0.01


class Process:
    """A running process, by a descriptor that never comes to mean another one; a context manager."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        self._fd = os.pidfd_open(pid)

    def send(self, number: int) -> None:
        """Send a signal; nothing happens if the process has ended."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            pass

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; False if it runs on."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def fileno(self) -> int:
        """Return a descriptor that can be read when the process has ended."""
        return self._fd

    def close(self) -> None:
        """Give the descriptor back. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PidFile:
    """The file, held by this process.

    Attributes:
        path: where it lies.
        fd: its descriptor, which holds the lock.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def take(cls, path: str, whose: str) -> PidFile:
        """Take the lock and say that it is us.

        Args:
            whose: "ave-logd serves /srv/ave", for the message.

        Raises:
            AveException: another process has it; names its pid.
        """
        io.make_dirs(os.path.dirname(path))
        deadline = time.monotonic() + PATIENCE_S
        while (fd := lock(path)) is None:
            other = serving(path)
            # one that was killed a moment ago may need this long to be gone
            if other is not None and not other.ends_within(DYING_S):
                raise AveException(f"another {whose} already (pid {other.pid}); stop that one first")
            if time.monotonic() >= deadline:
                raise AveException(f"another {whose} already; stop that one first")
            time.sleep(RETRY_S)
        file = cls(path, fd)
        file.write()
        return file

    def write(self) -> None:
        """Say that it is this process from now on."""
        content = f"{os.getpid()}\n{start_of(os.getpid())}\n"
        os.pwrite(self.fd, content.ljust(LENGTH - 1).encode() + b"\n", 0)

    def is_there(self) -> bool:
        """Tell whether the path still leads to this very file."""
        return _is_same(self.path, self.fd)

    def remove(self) -> None:
        """Remove it and unlock: the end of a service."""
        if self.is_there():
            os.unlink(self.path)
        self.leave()

    def leave(self) -> None:
        """Let go of it, which another process holds, too."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def lock(path: str) -> int | None:
    """Lock a file, made if need be; return its descriptor, None if somebody else has it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if _is_same(path, fd):
            return fd
        os.close(fd)  # it was removed before we had the lock


def serving(path: str) -> Process | None:
    """Return the process that a pid file names, if that one runs; None if nobody serves.

    None too while it passes on or is written; `is_locked` tells that.
    """
    try:
        with open(path, "rb") as file:
            pid, began = map(int, file.read(LENGTH).split())
        process = Process(pid)
    except (OSError, ValueError, OverflowError):
        return None  # no file, no numbers, no such process
    # asked behind the descriptor: from here on it cannot become another one
    if start_of(pid) == began and is_locked(path):
        return process
    process.close()
    return None


def is_locked(path: str) -> bool:
    """Tell whether some process holds the lock."""
    try:
        fd = io.open_read(path)
    except FileNotFoundError:
        return False
    try:
        return not io.is_unlocked(fd)
    finally:
        os.close(fd)


def _is_same(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False
