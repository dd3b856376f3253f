"""One segment of the spool: its name, its header, its lines, its footer. Written by one process alone."""

from __future__ import annotations

import errno
import os
import time
from binascii import hexlify
from json import dumps

from ave import io
from ave.exceptions import UsageError
from ave.record import KINDS
from ave.spool import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["VERSION", "Call", "Segment", "call_of"]

#: The version of the format of a segment, in its header.
VERSION = 1

#: Characters a GUID or a source may have, so that a line stays below `frames.LINE_MAX`.
TEXT_MAX = 4096

#: Callers that are remembered.
CALLS_MAX = 256


class Call:
    """What all records of one caller have in common; UsageError if it cannot be written down."""

    __slots__ = ("guid", "kind", "said", "source")

    def __init__(self, kind: str, guid: str, source: str) -> None:
        if kind not in KINDS:
            raise UsageError(f"no such kind of record: {kind!r}; it must be one of {', '.join(sorted(KINDS))}")
        self.kind = kind
        self.guid = guid
        self.said = f'"kind":"{kind}","guid":{_quoted(guid)},"time":'
        self.source = f',"source":{_quoted(source)},"body":'


_calls: dict[tuple[str, str, str], Call] = {}


def call_of(kind: str, guid: str, source: str) -> Call:
    """Return a `Call`; a process has few callers, and they come again and again."""
    try:
        call = _calls.get((kind, guid, source))
    except TypeError:  # not even hashable; the constructor says what it should be
        call = None
    if call is None:
        call = Call(kind, guid, source)
        if len(_calls) >= CALLS_MAX:
            _calls.clear()
        _calls[kind, guid, source] = call
    return call


class Segment:
    """One file, written by this process alone.

    Attributes:
        name: its file's name without `.seg`; never used again by anybody.
        seq: the last number given to a record, written or refused.
        size: bytes written.
    """

    def __init__(self, spool: str) -> None:
        self.spool = spool
        self.seq = 0
        self.is_listed = False
        self.who = f',"host":{_quoted(_host())},"pid":{os.getpid()}'
        header = frames.frame(dumps(_header(), separators=(",", ":")).encode())
        self.size = len(header)
        # a reader takes a segment without a lock for one that never grows again: it sees this one only when locked
        unseen = os.path.join(spool, f"{_new_name()}.new")
        self.fd = io.open_append(unseen, new=True)
        try:
            io.lock_shared(self.fd)
            _give_to_owner(self.fd, spool)
            if io.write(self.fd, header) != len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), unseen)
            # a name of its own, made here: a signal handler may have forked meanwhile, and only one can have the file
            self.name = _new_name()
            io.rename(unseen, os.path.join(spool, f"{self.name}.seg"))
        except OSError:
            self.leave()
            io.unlink(unseen)
            raise

    def lines(
        self, call: Call, texts: list[str], at: int | list[int] | None = None, after: int | None = None
    ) -> list[bytes]:
        """Make the lines of the records that come next, or after the number `after`, of their bodies' JSON texts."""
        seq = self.seq if after is None else after
        if isinstance(at, list):
            each = enumerate(zip(texts, at, strict=True), seq)
            return [self.lines(call, [text], moment, before)[0] for before, (text, moment) in each]
        said = f"{call.said}{time.time_ns() if at is None else at}{self.who}{call.source}"
        lines = []
        for text in texts:
            seq += 1
            lines.append(frames.frame(f'{{"id":"{self.name}-{seq}",{said}{text}}}'.encode()))
        return lines

    def write(self, lines: list[bytes], *, counted: bool = True) -> int:
        """Append lines with one write and return how many are whole; `counted`: they use up numbers of this segment."""
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        try:
            written = io.write(self.fd, data)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return 0  # closed by the process behind our back: another segment will do
        self.size += written
        whole = len(lines) if written == len(data) else _whole(lines, written)
        if counted:
            self.seq += whole
        return whole

    def sync(self) -> None:
        """Make the whole segment survive a power cut, its name in the directory included."""
        io.sync(self.fd)
        if not self.is_listed:
            io.sync_dir(self.spool)
            self.is_listed = True

    def end(self, *, sync: bool = False) -> None:
        """Close with a footer that says how many numbers were used."""
        io.write(self.fd, frames.frame(b'{"footer":1,"count":%d}' % self.seq))
        if sync:
            self.sync()
        self.leave()

    def leave(self) -> None:
        """Close without a footer."""
        fd, self.fd = self.fd, -1
        try:
            io.close(fd)
        except OSError:
            pass  # closed by the process behind our back


_newest_ms = 0


def _new_name() -> str:
    """Return a name that nobody has or will have; the names of one process are in the order of their making."""
    global _newest_ms  # noqa: PLW0603 - it outlives every segment
    _newest_ms = max(time.time_ns() // 1_000_000, _newest_ms + 1)
    return f"{_newest_ms:012x}{hexlify(os.urandom(7)).decode()}"


def _whole(lines: list[bytes], written: int) -> int:
    """Return how many lines lie whole in the first `written` bytes."""
    count = 0
    for line in lines:
        written -= len(line)
        if written < 0:
            break
        count += 1
    return count


def _give_to_owner(fd: int, spool: str) -> None:
    """Let the owner of the spool read and remove what root's jobs write there."""
    owner = os.stat(spool)
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _quoted(text: str) -> str:
    if not isinstance(text, str) or len(text) > TEXT_MAX:
        raise UsageError(f"must be a string of at most {TEXT_MAX} characters, found {str(text)[:100]!r}")
    return dumps(text.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False)


def _host() -> str:
    return os.uname().nodename


def _header() -> dict[str, Any]:
    """Return who writes a segment: enough to tell this process from any other of any boot."""
    return {
        "v": VERSION,
        "pid": os.getpid(),
        "start": _process_start(),
        "boot": _first_line("/proc/sys/kernel/random/boot_id"),
        "uid": os.geteuid(),
        "host": _host(),
    }


def _process_start() -> int:
    """Return when this process began, in clock ticks since boot; 0 where the kernel does not say (proc(5), stat)."""
    fields = _first_line("/proc/self/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _first_line(path: str) -> str:
    try:
        return io.read_file(path, 4096).decode().partition("\n")[0]
    except (OSError, ValueError):
        return ""
