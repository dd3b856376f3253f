"""What can be wrong with the machine: rights, disk, file system, clock. Nothing is changed, but for one small file
that is made in the spool and removed."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import ave
from ave import home as homes
from ave import io
from ave.lab.cli.contents import newest_time
from ave.lab.cli.finding import OK, WARNING, WRONG, Finding
from ave.lab.cli.output import day, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["clock", "directories", "disk", "file_system", "writable"]

#: The directories below `.ave`, and those of them that are their owner's alone.
DIRECTORIES = ("config", "hickup", "logs", "run", "spool")
CLOSED = ("config", "spool", "run")

#: The share of a disk that should be free.
FREE_SHARE = 0.05

#: Seconds by which a clock may be ahead.
AHEAD_S = 60

#: File systems on which locks, or what was synced, cannot be relied on.
REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "fuse.glusterfs", "fuse.sshfs"))

#: File systems that forget everything when the machine ends.
FLEETING = frozenset(("tmpfs", "ramfs"))

MOUNTS = "/proc/self/mountinfo"


def directories(home: str) -> Iterator[Finding]:
    """Look whether the directories are such, whose they are, and who else may look into them."""
    top = homes.ave(home)
    if not os.path.lexists(top):
        yield Finding(WRONG, "directories", f"{top} is missing", "`ave config --bootstrap` makes it")
        return
    for path in (top, *(homes.ave(home, name) for name in DIRECTORIES)):
        if os.path.lexists(path) and not os.path.isdir(path):
            yield Finding(WRONG, "directories", f"{path} is not a directory", "move it away; it is made when needed")
    if not os.path.isdir(top):
        return
    there = [path for path in (top, *(homes.ave(home, name) for name in CLOSED)) if os.path.isdir(path)]
    owner = os.stat(top).st_uid
    for path in there:
        info = os.stat(path)
        if info.st_uid != owner:
            mend = f"chown -R {owner} {top}, or set AVE_HOME to a home of one user"
            yield Finding(WRONG, "directories", f"{path} belongs to user {info.st_uid}, {top} to user {owner}", mend)
        # the spool and the configuration hold what tests said and passwords; .ave itself may be looked into
        if path != top and stat.S_IMODE(info.st_mode) & 0o077:
            mode = stat.S_IMODE(info.st_mode)
            yield Finding(WRONG, "directories", f"{path} is open to others (mode {mode:03o})", f"chmod 700 {path}")
    if os.geteuid() not in {0, owner}:
        what = f"{top} belongs to user {owner}, this is user {os.geteuid()}"
        yield Finding(WRONG, "directories", what, "set AVE_HOME to a home of this user, or become that one")


def writable(home: str) -> Iterator[Finding]:
    """Write a file into the spool, which says more than all rights do: full, read-only, over quota."""
    spool = homes.ave(home, "spool")
    path = os.path.join(spool, f"doctor.{os.getpid()}")
    if not os.path.isdir(spool):
        above = _nearest(spool)
        if not os.access(above, os.W_OK):
            yield Finding(WRONG, "spool", f"{spool} cannot be made: {above} is not writable", f"make {above} writable")
        return
    try:
        fd = io.open_append(path, new=True)
        try:
            io.write(fd, b"?")
            io.sync(fd)
        finally:
            io.close(fd)
            io.unlink(path)
    except OSError as error:
        mend = (
            "see its owner and mode, how its disk is mounted, and whether that is full; jobs cannot keep anything now"
        )
        yield Finding(WRONG, "spool", f"{spool} cannot be written: {error.strerror}", mend)


def disk(home: str) -> Iterator[Finding]:
    """Look how full the disk is."""
    place = _nearest(homes.ave(home, "spool"))
    info = os.statvfs(place)
    free = info.f_bavail * info.f_frsize
    if info.f_bavail < info.f_blocks * FREE_SHARE:
        yield Finding(
            WRONG, "disk", f"{size(free)} are free at {place}", "make room; the spool needs it when stores are down"
        )
    elif info.f_files and info.f_favail < info.f_files * FREE_SHARE:
        yield Finding(WRONG, "disk", f"{info.f_favail} inodes are free at {place}", "remove files; every job needs one")
    else:
        yield Finding(OK, "disk", f"{size(free)} are free at {place}")


def file_system(home: str) -> Iterator[Finding]:
    """Look whether the file system keeps what it promises."""
    place = os.path.realpath(_nearest(homes.ave(home, "spool")))
    kind = _file_system_of(place)
    if kind in REMOTE:
        what = f"{place} is on {kind}: locks and syncs there cannot be relied on"
        yield Finding(WARNING, "file system", what, "set AVE_HOME to a directory on a local disk")
    elif kind in FLEETING:
        what = f"{place} is on {kind}: what waits there is gone after a reboot"
        yield Finding(WARNING, "file system", what, "set AVE_HOME to a directory on a disk")
    else:
        yield Finding(OK, "file system", kind or "unknown")


def _file_system_of(place: str) -> str:
    """Return the type of the file system that holds a real path, by /proc/self/mountinfo (proc(5))."""
    best, kind = "", ""
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            before, _, behind = line.partition(" - ")
            point = before.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape")
            # of two mounts at one place the later hides the earlier
            if len(point) >= len(best) and (place == point or place.startswith(point.rstrip("/") + "/")):
                best, kind = point, behind.split(" ")[0]
    return kind


def clock(home: str) -> Iterator[Finding]:
    """Look whether the clock can be right: it is not before this program was installed, and no record is ahead."""
    now = time.time()
    installed = os.stat(ave.__file__).st_mtime
    if now < installed - AHEAD_S:
        what = f"it says {day(int(now * 1e9))}, but this program was installed on {day(int(installed * 1e9))}"
        yield Finding(WRONG, "clock", what, "set the clock, e.g. by NTP")
    ahead = newest_time(homes.ave(home, "spool")) / 1e9 - now
    if ahead > AHEAD_S:
        what = f"the spool has a record from {seconds(ahead)} in the future"
        yield Finding(WRONG, "clock", what, "set the clock, e.g. by NTP; the record keeps its wrong time")


def _nearest(path: str) -> str:
    """Return the path, or the nearest directory above it that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
