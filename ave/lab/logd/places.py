"""The places in a spool that ave-logd uses: nothing that lies in one of them stops a start."""

from __future__ import annotations

import logging
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ave import io

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["damaged", "make_way", "set_aside", "sweep"]

log = logging.getLogger(__name__)

#: Seconds after which a file that waits for its name has nobody any more who would give it one.
UNFINISHED_S = 3600.0


def damaged(spool: str) -> str:
    """Return the directory for what nobody can use as it is, and make it."""
    path = os.path.join(spool, "damaged")
    if _is_there(path, not_as=stat.S_ISDIR):
        io.rename(path, f"{path}-{time.time_ns()}")
    io.make_dirs(path)
    return path


def make_way(spool: str, stores: Iterable[str]) -> None:
    """Set aside what is no directory where one of ours belongs, and no file where one of ours does."""
    for directory in ("cursors", "dead"):
        _expect(spool, directory, stat.S_ISDIR)
    _expect(spool, "ledger.db", stat.S_ISREG)
    for store in stores:
        _expect(spool, f"cursors/{store}", stat.S_ISREG)
        _expect(spool, f"dead/{store}", stat.S_ISDIR)
        for file in ("letters", "taken", "lock", "taking"):
            _expect(spool, f"dead/{store}/{file}", stat.S_ISREG)


def set_aside(spool: str, place: str, why: object) -> None:
    """Move something out of its place in the spool, and tell."""
    aside = os.path.join(damaged(spool), f"{place.replace('/', '-')}-{time.time_ns()}")
    io.rename(os.path.join(spool, place), aside)
    log.error("%s in the spool %s: moved to %s", place, why, aside, extra={"action": "set_aside"})


def sweep(spool: str) -> None:
    """Remove the files of processes that were killed before they could give them their names."""
    for directory in (spool, os.path.join(spool, "cursors"), os.path.join(spool, "damaged")):
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        for path in (os.path.join(directory, name) for name in names if name.endswith(".new")):
            with suppress(FileNotFoundError):  # it has its name by now
                if time.time() - os.lstat(path).st_mtime > UNFINISHED_S:
                    io.unlink(path)


def _expect(spool: str, place: str, is_right: Callable[[int], bool]) -> None:
    if _is_there(os.path.join(spool, place), not_as=is_right):
        set_aside(spool, place, "is not what belongs there")


def _is_there(path: str, *, not_as: Callable[[int], bool]) -> bool:
    return os.path.lexists(path) and not not_as(os.lstat(path).st_mode)
