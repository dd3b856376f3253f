"""The append side: one segment per process, one write per append, no lock held by anybody else, no thread.

Guarantee: when `append` returns, the record survives the death of the process. It either returns or raises
`SpoolError`; it never waits for another process, never blocks on a server and never changes the caller's dict.

Safe with threads (one lock per process), signal handlers (a handler that interrupts an append writes to a
segment of its own) and fork (a child forgets its parent's segments, by a hook and by comparing pids, for forks
made in C). Records of one process are in the order of their ids.
"""

from __future__ import annotations

import atexit
import errno
import os
import time
from _thread import RLock
from itertools import chain

from ave import home as homes
from ave import io
from ave.exceptions import ConfigError, SpoolError, SpoolFull, UsageError
from ave.record import KINDS
from ave.spool import bodies
from ave.spool.company import Company
from ave.spool.room import Room
from ave.spool.segment import Call, Segment, call_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__all__ = ["QUEUED", "SEGMENT_SIZE", "SYNCED", "append", "append_all", "append_later", "close", "flush"]

QUEUED, SYNCED = "queued", "synced"

#: Bytes after which a segment is closed and the next one begun.
SEGMENT_SIZE = 16 << 20

#: Bytes and records that `append_all` puts into one write.
GROUP_SIZE = 64 * 1024
GROUP_RECORDS = 100

#: Kinds that the policy `class` makes the emitter sync.
SYNCED_KINDS = frozenset(("verdict", "exception"))

#: Seconds during which a spool that could not be opened is not tried again: a full disk must not slow a job.
RETRY_S = 0.1

#: New segments that one call tries before it gives up.
TRIES = 5

#: More bytes than the line of a record has besides its body: for the look at the room, before there is a line.
LINE_EXTRA = 256

#: Runs whose refused records are counted apart; those of further ones are counted together.
REFUSED_GUIDS = 1000

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def append(
    kind: str, guid: str, body: dict[Any, Any], *, source: str, home: str | None = None, time: int | None = None
) -> str:
    """Keep one record.

    Args:
        kind: one of `ave.record.KINDS`.
        guid: the run; empty for a record about the host.
        body: its values may be anything: what is not JSON becomes a string and is marked, secrets are masked,
            and what is longer than 64 KiB goes on in further records.
        source: who speaks, e.g. `vcsjob`.
        home: as for `ave.home.find`.
        time: nanoseconds since the epoch; now, if left out.

    Returns:
        `queued` or, where the policy says so, `synced`.

    Raises:
        SpoolFull: the disk or the quota has no room for this kind. The record is not kept; a `gap` record will
            count it as soon as something can be written.
        SpoolError: the spool cannot be used for another reason, which the message gives with its cure.
        UsageError: `kind` is none, `body` no dict, or another argument of the wrong type or too long.
    """
    if time is not None and (type(time) is not int or not 0 <= time < 1 << 63):
        raise UsageError(f"time must be nanoseconds since the epoch, found {time!r}")
    call, emitter = call_of(kind, guid, source), _emitter(home)
    text = bodies.short(body)
    if emitter.waiting:
        emitter.flush()
    if text is None:
        return emitter.append(call, (body,), time)
    emitter.keep(call, [text], len(text), time)
    return SYNCED if kind in emitter.synced else QUEUED


def append_all(kind: str, guid: str, many: Iterable[dict[Any, Any]], *, source: str, home: str | None = None) -> str:
    """Keep many records of one kind and run, with one write, and at most one sync, for every hundred.

    When it raises, the bodies taken from `many` before the last hundred are kept; the returned word holds for all.
    """
    call, emitter = call_of(kind, guid, source), _emitter(home)
    emitter.flush()
    return emitter.append(call, many)


def append_later(kind: str, guid: str, body: Callable[[], str], *, source: str, home: str | None = None) -> None:
    """Keep one record of many that come thick, together with others: with them it costs a fraction.

    It waits only if another one came less than 10 ms before, and never behind another record of this process: at most
    32 wait, and those that wait are written with the next one after 200 ms, before any other record, by `flush`, and
    at the end of the process. SIGKILL loses what waits.

    Args:
        body: called when the record is written; gives the JSON text of its body, which `bodies.whole` made, or of
            which every part is `bodies.is_ready`. What it raises costs this record alone.

    Raises:
        SpoolError, UsageError: as of `append`; maybe about others that waited. Each is counted.
    """
    _emitter(home).company.wait(call_of(kind, guid, source), body)


def flush(home: str | None = None) -> None:
    """Write the records of `append_later` that still wait, as far as there is room for them."""
    _emitter(home).flush()


def close() -> None:
    """End all segments of this process with a footer; the next append begins new ones. Runs at exit by itself."""
    if _pid == os.getpid():
        for emitter in list(_emitters.values()):
            emitter.close()


class _Emitter:
    """What this process writes into one spool: one segment, and one more per level of interrupting signal handlers."""

    def __init__(self, home: str) -> None:
        policy, self.spool, self.room = _settings(home)
        self.synced = {"always": KINDS, "class": SYNCED_KINDS}.get(policy, frozenset())
        self.lock = RLock()
        self.depth = 0
        self.segments: dict[int, Segment] = {}
        self.refused: dict[str, dict[str, int]] = {}
        self.shut_until = 0.0
        self.shut_by = SpoolError("")
        self.company = Company(self.keep, self._count_refused)
        self.waiting = self.company.waiting

    def append(self, call: Call, many: Iterable[dict[Any, Any]], at: int | None = None) -> str:
        """Turn the bodies into JSON, which calls methods of their values and so holds no lock, and keep them."""
        texts: list[str] = []
        size = 0
        for body in many:
            text = bodies.short(body)
            if text is None:
                parts = bodies.parts(body)
                text, second = bodies.encode(next(parts)), next(parts, None)
                if second is not None:
                    self._keep_long(call, [*texts, text], second, parts, at)
                    texts, size = [], 0
                    continue
            texts.append(text)
            size += len(text)
            if size >= GROUP_SIZE or len(texts) >= GROUP_RECORDS:
                self.keep(call, texts, size, at)
                texts, size = [], 0
        if texts:
            self.keep(call, texts, size, at)
        return SYNCED if call.kind in self.synced else QUEUED

    def flush(self) -> SpoolError | None:
        """Write what waits; return what prevented that."""
        return self.company.flush()

    def close(self) -> None:
        self.flush()
        with self.lock:
            try:
                if self.refused:
                    self._tell_refused(self._segment("gap", self.depth, LINE_EXTRA))
            except (OSError, SpoolError):
                self._leave(self.depth)  # there is still no room: what was refused stays untold
            for depth in list(self.segments):
                if depth >= self.depth:  # the others belong to appends that this call interrupts
                    self._end(depth)

    def forget(self) -> None:
        """Leave all segments as they are, as a forked child does with its parent's."""
        for depth in list(self.segments):
            self._leave(depth)

    def _keep_long(
        self, call: Call, texts: list[str], second: dict[str, Any], more: Iterator[dict[str, Any]], at: int | None
    ) -> None:
        """Keep what waits, the beginning of a long record last, then the records that continue it."""
        name, seq = self.keep(call, texts, sum(map(len, texts)), at)
        for part in chain((second,), more):
            text = bodies.encode({"_continues": f"{name}-{seq}", **part})
            self.keep(call, [text], len(text), at)

    def keep(self, call: Call, texts: list[str], size: int, at: int | list[int] | None) -> tuple[str, int]:
        """Put records, `size` characters of JSON, on the disk; return segment and number of the last.

        `at`: the time of all, of each, or now.
        """
        with self.lock:
            depth = self.depth
            self.depth = depth + 1
            try:
                return self._write(call, depth, texts, size, at)
            except SpoolError:
                self._count_refused(call.guid, call.kind, len(texts))
                raise
            except BaseException:
                # cut short somewhere between counting and writing: this segment's count is no longer sure
                self._leave(depth)
                raise
            finally:
                self.depth = depth

    # From here on everything runs under the lock.

    def _write(
        self, call: Call, depth: int, texts: list[str], size: int, at: int | list[int] | None
    ) -> tuple[str, int]:
        """Write records with one write, what was cut off once more into a new segment; `texts` keeps what was not."""
        try:
            for _ in range(TRIES):
                segment = self._segment(call.kind, depth, LINE_EXTRA * len(texts) + size)
                if self.refused:
                    self._tell_refused(segment)
                lines = segment.lines(call, texts, at)
                whole = segment.write(lines)
                if whole and call.kind in self.synced:
                    self._sync(depth, segment, lines[:whole])
                if whole == len(lines):
                    return segment.name, segment.seq
                # the line that was cut is no record and never will be: it comes again under a new id
                self._leave(depth)
                del texts[:whole]
                if isinstance(at, list):
                    del at[:whole]
            raise OSError(errno.ENOSPC, "not even one whole record")
        except OSError as error:
            self._leave(depth)
            self.shut_by = _failed(self.spool, error)
            self.shut_until = time.monotonic() + RETRY_S
            raise type(self.shut_by)(str(self.shut_by)) from error

    def _sync(self, depth: int, segment: Segment, lines: list[bytes]) -> None:
        """Sync; after an error, which is final for a file, put the same lines, ids and all, into a new segment."""
        try:
            segment.sync()
        except OSError:
            self._leave(depth)
            segment = self.segments[depth] = Segment(self.spool)
            if segment.write(lines, counted=False) < len(lines):
                raise
            segment.sync()

    def _segment(self, kind: str, depth: int, size: int) -> Segment:
        """Return a segment that may take `size` more bytes; OSError or SpoolError if there can be none now."""
        segment = self.segments.get(depth)
        is_rolled = segment is not None and segment.size >= SEGMENT_SIZE
        if is_rolled:
            self._end(depth)
        if segment is None or is_rolled or not self.room.takes(kind, size):
            segment = self._ask(kind, depth, size, is_rolled)
        self.room.used += size
        return segment

    def _ask(self, kind: str, depth: int, size: int, is_rolled: bool) -> Segment:
        """Look for room, and open a segment if none is open."""
        if time.monotonic() < self.shut_until:
            raise type(self.shut_by)(str(self.shut_by))
        _make_spool(self.spool)
        self.room.ask(afresh=is_rolled)
        if not self.room.takes(kind, size):
            raise SpoolFull(_over_quota(self.spool, self.room.quota, kind))
        if depth not in self.segments:
            self.segments[depth] = Segment(self.spool)
        return self.segments[depth]

    def _count_refused(self, guid: str, kind: str, count: int) -> None:
        """Count what is not kept, to be told as a `gap`."""
        if guid not in self.refused and len(self.refused) >= REFUSED_GUIDS:
            guid = ""
        kinds = self.refused.setdefault(guid, {})
        kinds[kind] = kinds.get(kind, 0) + count

    def _tell_refused(self, segment: Segment) -> None:
        """Write one `gap` per run for what was refused; each uses up as many seqs as records were refused."""
        # taken out first, for a signal handler may come here, too
        waiting, self.refused = self.refused, {}
        try:
            while waiting:
                guid, kinds = next(iter(waiting.items()))
                text = bodies.encode(_gap(segment, kinds))
                if not self.room.takes("gap", len(text) + LINE_EXTRA):
                    return
                self.room.used += len(text) + LINE_EXTRA
                segment.seq += sum(kinds.values())
                if not segment.write(segment.lines(call_of("gap", guid, "spool"), [text])):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                del waiting[guid]
        finally:
            for guid, kinds in waiting.items():
                for kind, count in kinds.items():
                    self._count_refused(guid, kind, count)

    def _end(self, depth: int) -> None:
        """Close a segment with its footer."""
        segment = self.segments.pop(depth, None)
        if segment:
            try:
                segment.end(sync=bool(self.synced))
            except OSError:
                segment.leave()

    def _leave(self, depth: int) -> None:
        """Close a segment as it is; without a footer its last line may be torn, and readers know that."""
        segment = self.segments.pop(depth, None)
        if segment:
            segment.leave()


def _gap(segment: Segment, kinds: dict[str, int]) -> dict[str, Any]:
    count = sum(kinds.values())
    first, last = segment.seq + 1, segment.seq + count
    return {"segment": segment.name, "first": first, "last": last, "count": count, "kinds": kinds, "reason": "quota"}


def _make_spool(spool: str) -> None:
    io.make_dirs(spool)
    info = os.stat(spool)
    if os.geteuid() not in {info.st_uid, 0}:
        raise PermissionError(errno.EPERM, f"belongs to user {info.st_uid}; set AVE_HOME to a home of this user", spool)
    if info.st_mode & 0o077:
        os.chmod(spool, 0o700)  # it was there before, and others could read or remove what is in it


def _failed(spool: str, error: OSError) -> SpoolError:
    if error.errno in _FULL:
        return SpoolFull(f"{spool}: no space left for a record ({error.strerror}); free some space")
    return SpoolError(f"{spool}: cannot be written: {error.strerror or error}; `ave doctor` tells the mend")


def _over_quota(spool: str, quota: int | None, kind: str) -> str:
    return (
        f"{spool}: no room left for {kind} within the quota of {quota} bytes; is ave-logd running and its stores up? "
        "`ave spool status` tells"
    )


# One emitter per spool and process

_emitters: dict[str, _Emitter] = {}
_pid = os.getpid()


def _emitter(home: str | None) -> _Emitter:
    if home is None:
        home = homes.named()
    if _pid != os.getpid():
        _forget()
    return _emitters.get(home) or _emitters.setdefault(home, _Emitter(home))


def _forget() -> None:
    """Begin anew in a forked child."""
    global _pid  # noqa: PLW0603 - the one piece of state a fork must change
    emitters = list(_emitters.values())
    _emitters.clear()
    _pid = os.getpid()
    for emitter in emitters:
        emitter.forget()


def _settings(home: str) -> tuple[str, str, Room]:
    """Return policy, spool directory and room; a missing or broken panotti.json means the defaults."""
    try:
        home = homes.find(home)
    except ConfigError as error:
        raise SpoolError(str(error)) from error
    try:
        settings = homes.load("panotti", home)["spool"]
    except (ConfigError, FileNotFoundError):
        settings = {key: default for key, (_, default) in homes.SPOOL.items()}
    spool = homes.ave(home, "spool")
    return settings["policy"], spool, Room(spool, settings["quota_bytes"])


os.register_at_fork(after_in_child=_forget)
atexit.register(close)
