"""How much of the spool's quota is left, and for which kinds: a trace goes before a verdict does."""

from __future__ import annotations

import os
import time

from ave import io
from ave.record import KINDS

__all__ = ["Room", "default_quota", "used_bytes"]

#: The share of the quota up to which a kind is taken, in the order in which they are refused. Every other kind
#: is taken until the quota is full: the rest above `shout` is their reserve.
SHARES = {"trace": 0.70, "metric": 0.75, "request": 0.80, "log": 0.85, "stderr": 0.90, "shout": 0.95}

#: Seconds for which a noted total is good enough.
NOTE_GOOD_S = 1.0

#: The most a spool takes by itself, and the share of its file system: both limits journald uses, too.
QUOTA_MAX = 4 << 30
QUOTA_SHARE = 0.10


def default_quota(spool: str) -> int:
    """Return the smaller of 4 GiB and a tenth of the file system that holds `spool`."""
    disk = os.statvfs(spool)
    return min(QUOTA_MAX, int(disk.f_frsize * disk.f_blocks * QUOTA_SHARE))


#: Bytes that no file of ours has.
HUGE = 64 << 20


class Room:
    """The room one emitter sees. The bound it keeps: quota + one segment per live emitter."""

    def __init__(self, spool: str, quota: int | None) -> None:
        self.spool = spool
        self.quota = quota
        self.left: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.used = 0
        self.asked = float("-inf")

    def takes(self, kind: str, size: int) -> bool:
        """Tell whether `size` more bytes of this kind are allowed, by what is known."""
        return self.used + size <= self.left[kind]

    def ask(self, *, afresh: bool) -> None:
        """Look how full the spool is, unless that was done less than a second ago. OSError: it is not there.

        `afresh`: look in any case, and trust no note. An emitter that has filled a segment must, or several
        would fill one after the other, each by the same old total.
        """
        now = time.monotonic()
        if not afresh and now - self.asked < NOTE_GOOD_S:
            return
        if self.quota is None:
            self.quota = default_quota(self.spool)
        total, age = (None, 0.0) if afresh else self._noted()
        if total is None:
            total = used_bytes(self.spool)
            self._note(total)
        self.left = {kind: int(self.quota * SHARES.get(kind, 1.0)) - total for kind in KINDS}
        self.used = 0
        self.asked = now - age

    def _noted(self) -> tuple[int | None, float]:
        """Return the total that some emitter noted, and its age in seconds; None if there is no good one."""
        note = os.path.join(self.spool, "size")
        try:
            age = time.time() - os.stat(note).st_mtime
            return (int(io.read_file(note, 32)), age) if 0 <= age < NOTE_GOOD_S else (None, 0.0)
        except (OSError, ValueError):
            return None, 0.0

    def _note(self, total: int) -> None:
        try:
            io.replace_file(os.path.join(self.spool, "size"), b"%d" % total, durable=False)
        except OSError:
            pass  # on a full disk the next emitter sums for itself


def used_bytes(directory: str) -> int:
    """Return the bytes that all files below a directory take."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    total += used_bytes(entry.path)
                elif not entry.name.startswith("ledger.db"):
                    info = entry.stat(follow_symlinks=False)
                    # a huge file is a sparse one, planted here: it takes only its blocks
                    total += info.st_size if info.st_size < HUGE else info.st_blocks * 512
            except OSError:
                continue  # gone since it was listed
    return total
