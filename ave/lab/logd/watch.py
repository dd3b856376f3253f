"""What is in the spool directory now: which segments, how long, and whether they can still grow."""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from threading import Condition
from typing import TYPE_CHECKING, NamedTuple

from ave import io
from ave.lab.logd.places import damaged
from ave.spool import reader
from ave.spool.segment import VERSION

if TYPE_CHECKING:
    from ave.spool.frames import Damage, Line

__all__ = ["Seen", "Watch"]

log = logging.getLogger(__name__)

#: What open(2) says of something that is no segment of ours: a link, FIFO, socket, directory, or somebody else's.
_NO_SEGMENT = {errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.EACCES, errno.EPERM}

#: The names that the writer gives.
_NAME = re.compile(r"[0-9a-f]{26}")

#: The begin of a header, behind the frame's two numbers.
_VERSION = re.compile(rb'[0-9a-f]{8} [0-9a-f]{8} \{"v":(\d{1,9})')


#: Seconds between two looks at what shows in no name and no size: whether who writes a segment still lives, and
#: whether one that is final is still the same file, which nobody but a person changes; there may be thousands.
CHECK_S = 1.0


class Seen(NamedTuple):
    """A segment as it was last seen.

    Attributes:
        size: bytes to read.
        final: nothing will be added.
        file: which file it is (its inode): another one that takes its name is noticed by it.
    """

    size: int
    final: bool
    file: int = 0


class Watch:
    """Looks at the spool on behalf of all who read it; they wait for `changed`.

    Attributes:
        readonly: if true, nothing is moved or told.
        segments: name -> Seen, oldest first; replaced as a whole, so readers need no lock.
        changed: notified when `segments` has something new.
    """

    def __init__(self, spool: str, *, readonly: bool = False) -> None:
        self.spool = spool
        self.readonly = readonly
        self.segments: dict[str, Seen] = {}
        self.changed = Condition()
        self._next_check = 0.0
        self._told: set[str] = set()

    def look(self) -> bool:
        """Look again; tell whether anything is new.

        A segment is opened only if it is new, if it grew, if it is another file by now, or, once a second, if it can
        grow. What was final the last time costs an lstat(2) once a second, and nothing else.
        """
        before = self.segments
        is_check = time.monotonic() >= self._next_check
        if is_check:
            self._next_check = time.monotonic() + CHECK_S
        seen: dict[str, Seen] = {}
        for name in reader.list_segments(self.spool):
            known = before.get(name)
            try:
                is_known = known and self._is_as_known(name, known, is_check=is_check)
                now = known if is_known else self._look_at(name)
            except OSError as error:
                self._tell(name, f"cannot be looked at now: {error}")
                now = known
            if now:
                seen[name] = now
        if seen == before:
            return False
        with self.changed:
            self.segments = seen
            self.changed.notify_all()
        return True

    def is_still(self, name: str, seen: Seen) -> bool:
        """Tell whether a segment is the file that was seen, as long as it was."""
        try:
            now = os.lstat(reader.path(self.spool, name))
        except FileNotFoundError:
            return False
        return (_size(now), _file(now)) == (seen.size, seen.file)

    def read(self, name: str, offset: int, limit: int) -> list[Line | Damage]:
        """Read a seen segment from `offset`; empty when there is no more, or when it has vanished."""
        seen = self.segments.get(name)
        if seen is None or offset >= seen.size:
            return []
        try:
            segment = reader.Segment(self.spool, name)
            try:
                return segment.read(offset, limit, final=seen.final)
            finally:
                segment.close()
        except FileNotFoundError:
            return []
        except OSError as error:
            self._tell(name, f"cannot be read now: {error}")
            return []

    def set_aside(self, name: str, why: str) -> None:
        """Move what is no segment of ours out of the way, where a person can look at it."""
        if self.readonly:
            return
        try:
            directory = damaged(self.spool)
            io.rename(reader.path(self.spool, name), os.path.join(directory, f"{name}.seg"))
        except OSError as error:
            self._tell(name, f"cannot be set aside, though it {why}: {error}")
        else:
            log.error("segment %s %s: set aside in %s", name, why, directory, extra={"action": "set_aside"})

    def _is_as_known(self, name: str, seen: Seen, *, is_check: bool) -> bool:
        if seen.final and not is_check:
            return True
        return (seen.final or not is_check) and self.is_still(name, seen)

    def _look_at(self, name: str) -> Seen | None:
        if not _NAME.fullmatch(name):
            self.set_aside(name, "has a name that none of ours has")
            return None
        try:
            segment = reader.Segment(self.spool, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NO_SEGMENT:
                raise
            self.set_aside(name, f"is no file of ours ({error.strerror})")
            return None
        try:
            return self._look_into(segment)
        finally:
            segment.close()

    def _look_into(self, segment: reader.Segment) -> Seen | None:
        final = segment.is_final()  # asked before the size: what is final stays as long as it is
        status = os.fstat(segment.fd)
        owner = status.st_uid
        if owner not in {0, os.geteuid(), os.stat(self.spool).st_uid}:
            self.set_aside(segment.name, f"belongs to user {owner}")
            return None
        if self._is_newer(segment):
            return None
        return Seen(_size(status), final, _file(status))

    def _is_newer(self, segment: reader.Segment) -> bool:
        """Tell whether a later version of the writer made this: then it waits for a later version of the reader."""
        begin = _VERSION.match(io.pread(segment.fd, 48, 0))
        # a flipped bit makes no later version: only then is the whole line looked at
        if not begin or int(begin[1]) <= VERSION or not segment.header():
            return False
        self._tell(segment.name, f"has format {int(begin[1])}, this ave-logd reads {VERSION}: it waits for an upgrade")
        return True

    def _tell(self, name: str, what: str) -> None:
        """Warn about a segment, once."""
        if name not in self._told and not self.readonly:
            self._told.add(name)
            log.warning("segment %s %s", name, what, extra={"action": "segment_waits"})


def _size(status: os.stat_result) -> int:
    """Return the bytes that may be read, see `reader.Segment.size`."""
    return min(status.st_size, reader.SEGMENT_MAX)


def _file(status: os.stat_result) -> int:
    """Return the inode as a number that fits into the books."""
    return status.st_ino & (1 << 63) - 1
