"""Every file operation of the spool, each a function of this module.

The spool calls them as `io.write(...)`, so a test that replaces one injects a fault, counts calls or
records what would be on the disk after a power cut. Nothing here decides anything.
"""

from __future__ import annotations

import errno
import fcntl
import os

__all__ = [
    "close",
    "is_unlocked",
    "lock_shared",
    "make_dirs",
    "open_append",
    "open_read",
    "pread",
    "reached",
    "read_file",
    "rename",
    "replace_file",
    "sync",
    "sync_dir",
    "unlink",
    "write",
]

#: Append `data` to a descriptor; returns the number of bytes that went in, which may be fewer.
write = os.write

#: `pread(fd, length, offset)`: read without moving anything.
pread = os.pread

#: Make what was written to a descriptor survive a power cut. An error is final: ask no second time.
sync = os.fdatasync

close = os.close
unlink = os.unlink
rename = os.rename


def open_append(path: str, *, new: bool = False) -> int:
    """Open for appending, mode 0600, never through a symbolic link; `new`: FileExistsError if it is there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags | os.O_EXCL if new else flags, 0o600)


def open_read(path: str) -> int:
    """Open for reading; neither follows a symbolic link nor waits for the other end of a FIFO."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def lock_shared(fd: int) -> None:
    """Take the writer's lock of a segment; OSError if a reader is asking for it at this moment."""
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_unlocked(fd: int) -> bool:
    """Tell whether no writer holds the segment's lock: then it never grows again."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def make_dirs(path: str) -> None:
    """Make a directory and its parents, for good; each with mode 0700 and, if root makes it, its parent's owner."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_dirs(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    if os.geteuid() == 0:
        _give_to(os.stat(parent), path)
    sync_dir(parent)


def _give_to(owner: os.stat_result, path: str) -> None:
    # by descriptor: the owner of the parent may have put a link in its place meanwhile
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    finally:
        os.close(fd)


def sync_dir(path: str) -> None:
    """Make creations, renames and removals in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_file(path: str, limit: int) -> bytes:
    """Read the first `limit` bytes of a file."""
    fd = open_read(path)
    try:
        return pread(fd, limit, 0)
    finally:
        close(fd)


def replace_file(path: str, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that readers see the old content or the new, nothing between; if `durable`, after a crash too."""
    beside = f"{path}.{os.getpid()}.new"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            if write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), beside)
            if durable:
                sync(fd)
        finally:
            close(fd)
        rename(beside, path)
    except OSError:
        unlink(beside)
        raise


def reached(point: str) -> None:
    """Name a point between two steps of the daemon; tests replace this to end the process exactly there."""
