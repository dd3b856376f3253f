"""A daemon's descriptors 1 and 2 go to `.ave/logs/<service>.log`, whoever prints; the log is rotated below them.

Rotation is a rename, a new file and a dup2 by the daemon itself: every write goes to the one file or the other, and a
process that dies between two of these steps leaves nothing that the next one does not go on from. Several instances
of a service may share the log, as they do while one hands over to the next: whoever finds that the name belongs to
another file than its own goes over to that one. Numbers, not the clock, name what is closed.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import fcntl
import os
import sys
import time
from threading import RLock
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io
from ave.exceptions import AveException
from ave.lab import config
from ave.lab.daemon import logfiles
from ave.lab.daemon.calls import Notes
from ave.lab.daemon.children import Children
from ave.lab.daemon.quota import Quota
from ave.lab.daemon.stderr import is_wanted
from ave.lab.daemon.streams import Outlet, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Log"]

#: A log is rotated when it has this share of the quota, if that is less than its own limit: several services have one.
SHARE = 8

#: Seconds that `open` waits for another process that rotates at this moment.
OPEN_S = 5.0

#: Seconds within which a look has the interpreter's lock back after each system call. A thread that does nothing but
#: print lets go of it only when another has waited for so long: with the usual 5 ms, a look that has 15 calls would
#: come too late for the quota.
SWITCH_S = 0.0005

#: Seconds without a new byte after which a log is calm.
CALM_S = 1.0

#: How printf is to buffer, from stdio.h: line by line.
_IOLBF = 1

#: What the disk says that may have room, or be well, again.
_PASSING = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS))


class Log:
    """The log of one service. `open` it once, in the process that serves, then `check` it every 50 ms,
    or every 100 ms while it `is_calm`.

    Its `check` and `settle` may be called from any thread. The settings are those of logd.json: `logs_quota_bytes`,
    `log_rotate_bytes`, `log_rotate_s`.

    Args:
        home: the directory that holds `.ave`.
        name: the service, e.g. `ave-logd`.

    Raises:
        ConfigError: logd.json or panotti.json is wrong.
    """

    def __init__(self, home: str, name: str) -> None:
        settings = config.load("logd", home)
        self.home = os.path.abspath(home)
        self.name = name
        self.path = logfiles.active(self.home, name)
        self.number = 0
        self._quota = Quota(self.home, settings.logs_quota_bytes)
        self._rotate_bytes = min(settings.log_rotate_bytes, self._quota.limit // SHARE)
        self._rotate_s = settings.log_rotate_s
        self._is_forwarded = is_wanted(home)
        self._notes: Notes | None = None
        self._outlet = Outlet()
        self._lock = RLock()
        self._fds: tuple[int, ...] = ()
        self._is_alone = False
        self._pid = 0
        self._born = 0.0
        self._size = 0
        self._grown_at = 0.0

    def open(self, fds: tuple[int, ...] = (1, 2)) -> None:
        """Send descriptors 1 and 2, or one of them, to the log, and with 2 the interpreter's last words.

        A disk that is full or broken does not prevent it: lines are then dropped, and counted, until there is room.

        Raises:
            AveException: the log cannot be opened and no waiting will help; says why.
        """
        self._fds = fds
        try:
            self._attach_patiently()
        except OSError as error:
            if error.errno not in _PASSING:
                raise AveException(f"{error.filename or self.path}: {error.strerror}; the log needs it") from error
            self._outlet.shut()
        if self._is_alone and _is_torn(fds[-1], self._size):
            self._outlet.put(fds[-1], memoryview(b"\n"))
        self._streams = Streams(self._outlet)
        self._children = Children(self.home, self.name, lambda data: self._outlet.put(fds[-1], data))
        self._pid = os.getpid()
        if self._is_forwarded:
            self._notes = Notes(self.home, self.name, self.settle)
            self._notes.turn(self.number, is_alone=self._is_alone, size=self._size)
        _opened.append(self)
        _buffer_lines_of_c()
        faulthandler.enable(fds[-1])

    def check(self) -> None:
        """Do what is due: copy what children printed, rotate, keep the quota, compress."""
        if os.getpid() != self._pid:
            return
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            self._check()
        finally:
            sys.setswitchinterval(usual)

    def _check(self) -> None:
        with self._lock:
            self._streams.look()
            self._children.adopt()
            self._children.copy()
            grown = self._look()
        if grown:
            self._grown_at = time.monotonic()
        if self.number:
            self._outlet.recover(self._fds[-1], self.name)
        self._quota.check(grown)
        if told := self._quota.news():
            self.say(told)

    def is_calm(self) -> bool:
        """Tell whether nothing was printed lately and nothing is being compressed: then looks may be half as many."""
        return time.monotonic() - self._grown_at >= CALM_S and not self._quota.is_compressing()

    def is_still(self) -> bool:
        """Tell whether it `is_calm` and no line was printed since the last `check`: then the next one may wait a while.

        Costs little: while nothing happens this is all that is asked.
        """
        return self.is_calm() and _size(self._fds[-1]) == self._size and not self._children.has_more()

    def settle(self) -> tuple[int, int]:
        """Bring into the log what was printed until now.

        Returns:
            The number of the log, and its size: what is printed from now on has an offset of at least this.
        """
        with self._lock:
            self._streams.flush()
            self._children.copy()
            return self.number, _size(self._fds[-1])

    def child_stdio(self) -> int:
        """Return the descriptor for stdout and stderr of a child: `Popen(..., stdout=fd, stderr=fd)`.

        What children print to it is in the log within 100 ms, and is not lost if this process dies. A forked child
        prints there by itself. A child that inherits descriptors 1 and 2 holds a log that may have been rotated.
        """
        return self._children.fd

    def gauges(self) -> dict[str, float]:
        """Return what a metric should have: bytes of all logs, and what the quota and a full disk took."""
        return {**self._quota.gauges(), "log_lines_dropped": self._outlet.dropped_in_all}

    def say(self, text: str) -> None:
        """Write a line of the log's own into the log."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        self._outlet.put(self._fds[-1], memoryview(f"{stamp} {self.name} INFO: {text}\n".encode()))

    def close(self) -> None:
        """Bring the last into the log. The descriptors stay, for what is still printed at the very end."""
        if os.getpid() == self._pid:
            with self._lock:
                self._streams.flush()
                self._children.close()
                if told := self._quota.news(is_last=True):
                    self.say(told)
                if self._notes:
                    self._notes.stop()
                self._pid = 0
                _opened.remove(self)

    # What follows runs under the thread's lock, or before there is another thread

    def _look(self) -> int:
        """Go over to another file if it is time; return by how much the log grew since the last time."""
        size = _size(self._fds[-1])
        grown = size - self._size
        if not _is_same(self.path, self._fds[-1]):
            self._change(self._attach)
            return max(grown, 0)
        self._size = size
        if size >= self._rotate_bytes or (size and time.monotonic() - self._born >= self._rotate_s):
            self._change(self._rotate)
        return max(grown, 0)

    def _change(self, step: Callable[[], None]) -> None:
        """Take a step under the lock of the directory; one that cannot be taken now is taken at the next look."""
        try:
            with logfiles.locked(self.home) as mine:
                if mine:
                    step()
        except OSError:
            pass  # no room for a file, or no descriptor: what is printed goes where it went

    def _attach_patiently(self) -> None:
        deadline = time.monotonic() + OPEN_S
        while not self.number and time.monotonic() < deadline:
            with logfiles.locked(self.home) as mine:
                if mine:
                    self._attach()
                    return
            time.sleep(0.01)

    def _attach(self) -> None:
        """Go over to the file that has the name, or make it."""
        io.make_dirs(os.path.dirname(self.path))
        number = max(self.number, logfiles.number(self.home, self.name))
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            number = max(number, 1)
            born = time.monotonic() - max(0.0, time.time() - _mtime(self.home, self.name))
        except FileNotFoundError:
            number += 1  # that of the file that is gone is not used again
            fd, born = self._make(number), time.monotonic()
        self._take(fd, number, born)

    def _rotate(self) -> None:
        number = max(self.number, logfiles.number(self.home, self.name))
        closed = f"{self.path}.{number:06d}"
        io.rename(self.path, closed)
        io.reached("log-renamed")
        try:
            fd = self._make(number + 1)
        except OSError:
            io.rename(closed, self.path)
            raise
        self._take(fd, number + 1, time.monotonic())

    def _make(self, number: int) -> int:
        logfiles.note_number(self.home, self.name, number)
        io.reached("log-numbered")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o640)
        os.fchmod(fd, 0o640)  # whatever the umask
        io.reached("log-made")
        return fd

    def _take(self, fd: int, number: int, born: float) -> None:
        """Let descriptors 1 and 2 be this file; what went into one that is deleted comes along."""
        self._is_alone = logfiles.is_free(fd)
        fcntl.flock(fd, fcntl.LOCK_SH)
        before = os.dup(self._fds[-1])
        for own in self._fds:
            os.dup2(fd, own)
            io.reached("log-half-taken")
        io.close(fd)
        io.reached("log-taken")
        if self.number and os.fstat(before).st_nlink == 0:
            for data in _rest(before, self._size):
                self._outlet.put(self._fds[-1], memoryview(data))
        io.close(before)
        self.number, self._born, self._size = number, born, _size(self._fds[-1])
        if self._notes:
            self._notes.turn(number, is_alone=False, size=0)

    def _be_child(self) -> None:
        """Print, in a forked child, where children print, and let go of logs, locks and notes."""
        for fd in self._fds:
            os.dup2(self._children.fd, fd)
        home = os.path.realpath(self.home)
        places = homes.ave(home, "logs"), homes.ave(home, "run", f"{self.name}."), homes.ave(home, "run", "logs.")
        _let_go({*self._fds, self._children.fd}, places)
        self._outlet = Outlet()
        self._streams = Streams(self._outlet, flush=False)
        if self._notes:
            self._notes.stop()


def _size(fd: int) -> int:
    try:
        return os.fstat(fd).st_size
    except OSError:
        return 0


def _is_torn(fd: int, size: int) -> bool:
    """Tell whether a log ends within a line: whoever wrote it was killed."""
    return size > 0 and io.pread(fd, 1, size - 1) != b"\n"


def _is_same(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def _mtime(home: str, name: str) -> float:
    """Return when the active file was made, by the clock; it is noted then which number it will have."""
    try:
        return os.stat(logfiles.run_file(home, name, "log.number")).st_mtime
    except FileNotFoundError:
        return time.time()


def _rest(fd: int, offset: int) -> Iterator[bytes]:
    try:
        while data := io.pread(fd, 1 << 20, offset):
            offset += len(data)
            yield data
    except OSError:
        pass  # it was no file of ours


def _buffer_lines_of_c() -> None:
    """Let printf of C code write whole lines: into a file it writes blocks, and the last one is lost in a crash."""
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, 0)


# Forked children


def _let_go(kept: set[int], places: tuple[str, ...]) -> None:
    """Let go of files below these places.

    The numbers stay taken: an object that came along from the parent may close its number once more.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) not in kept and os.readlink(f"/proc/self/fd/{name}").startswith(places):
                os.dup2(nothing, int(name), inheritable=False)
        except OSError:
            pass  # the one that lists them
    os.close(nothing)


_opened: list[Log] = []


def _before_fork() -> None:
    for log in _opened:
        log._streams.flush()


def _after_fork() -> None:
    for log in _opened:
        log._be_child()
    _opened.clear()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
