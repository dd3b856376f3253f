"""The names in `.ave/logs`: which files there are, which number comes next, and the lock under which they change.

`<service>.log` is written to. At a rotation it is renamed to `<service>.log.<number>`, and compressed later to
`<service>.log.<number>.gz`. A number is used once and no clock is asked: the order of the names is that of the lines.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ave import home as homes
from ave import io

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Closed",
    "active",
    "closed",
    "is_free",
    "locked",
    "note_number",
    "note_removed",
    "number",
    "removed",
    "run_file",
]

#: Bytes of the notes about removed files; they are begun anew then.
REMOVED_SIZE = 64 * 1024

_NAME = re.compile(r"(.+)\.log\.(\d{1,18})(\.gz)?")


class Closed(NamedTuple):
    """A file that nobody writes to any more, but for stragglers.

    Attributes:
        service: e.g. `ave-logd`.
        number: older files of the service have smaller ones.
        size: bytes.
        mtime_ns: of the last write.
    """

    service: str
    number: int
    path: str
    size: int
    mtime_ns: int


def active(home: str, service: str) -> str:
    """Return the path of the file that a service writes to."""
    return homes.ave(home, "logs", f"{service}.log")


def run_file(home: str, service: str, what: str) -> str:
    """Return the path of a file about a service's log."""
    return homes.ave(home, "run", f"{service}.{what}")


def closed(home: str) -> tuple[list[Closed], int]:
    """Return the closed files of all services, and how many bytes everything in the directory has."""
    found, total = [], 0
    try:
        with os.scandir(homes.ave(home, "logs")) as entries:
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                total += info.st_size
                if name := _NAME.fullmatch(entry.name):
                    found.append(Closed(name[1], int(name[2]), entry.path, info.st_size, info.st_mtime_ns))
    except FileNotFoundError:
        pass  # somebody removed the directory; the next rotation makes it again
    return found, total


def number(home: str, service: str) -> int:
    """Return the number that the active file of a service will have when it is closed; 0 if there never was one."""
    try:
        noted = int(io.read_file(run_file(home, service, "log.number"), 20))
    except (OSError, ValueError):
        noted = 0
    return max([noted, *(file.number + 1 for file in closed(home)[0] if file.service == service)])


def note_number(home: str, service: str, value: int) -> None:
    """Let `number` return no less than `value`, even after all files are gone; from 1 on."""
    io.replace_file(run_file(home, service, "log.number"), b"%d\n" % value, durable=False)


def note_removed(home: str, file: Closed, lines: int) -> None:
    """Note that a file is gone, and with it so many lines."""
    fd = io.open_append(run_file(home, file.service, "log.removed"))
    try:
        if os.fstat(fd).st_size > REMOVED_SIZE:
            os.ftruncate(fd, 0)
        io.write(fd, b"%d %d\n" % (file.number, lines))
    finally:
        io.close(fd)


def removed(home: str, service: str) -> dict[int, int]:
    """Return how many lines went with each of the files that were removed lately, by their numbers."""
    try:
        text = io.read_file(run_file(home, service, "log.removed"), 2 * REMOVED_SIZE).decode("ascii", "replace")
    except OSError:
        return {}
    found = (line.split(" ") for line in text.split("\n"))
    return {int(pair[0]): int(pair[1]) for pair in found if len(pair) == 2 and all(map(str.isdecimal, pair))}


def is_free(fd: int) -> bool:
    """Tell whether nobody writes to a file any more, and let nobody begin as long as `fd` is open.

    Whoever writes to a log holds a shared lock on it, and so does a process that inherited the descriptor.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(home: str) -> Iterator[bool]:
    """Hold the lock of the directory, if nobody else does; gives whether it was had."""
    path = homes.ave(home, "run", "logs.lock")
    io.make_dirs(os.path.dirname(path))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield is_free(fd)
    finally:
        # a child that was forked meanwhile has the descriptor, too: closing it would not give the lock back
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)
