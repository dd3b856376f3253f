"""What is in the spool of a home now, per store and as a whole. Only looks; nothing is changed or waited for."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from ave import home as homes
from ave.lab.config import Routing, load
from ave.lab.logd import wire
from ave.lab.logd.letters import DeadLetters
from ave.lab.logd.watch import Watch
from ave.spool import cursors, reader
from ave.spool.frames import RECORD, Line, kind_of
from ave.spool.room import default_quota, used_bytes
from ave.spool.segment import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.config import Route
    from ave.record import Record
    from ave.spool.frames import Damage

__all__ = ["Contents", "Way", "look", "newest_time", "records"]

#: Segments whose first waiting record is looked at for the oldest; the oldest segments come first.
LOOKED_AT = 64

#: Reasons of dead letters that are named, and those that are counted.
REASONS = 5
REASONS_COUNTED = 1000

#: Bytes read at once.
READ_BYTES = 1 << 20

#: Newest segments whose first records are looked at for the time they name.
NEWEST = 16


class Way(msgspec.Struct, frozen=True):
    """The way to one store.

    Attributes:
        store: its name.
        waiting_segments, waiting_bytes: what its shipper has not read yet.
        lag_s: age of the oldest record of that, in seconds; None if nothing waits.
        dead: dead letters.
        rejects: why it rejected them, in its own words -> how many; the most frequent reasons first.
    """

    store: str
    waiting_segments: int
    waiting_bytes: int
    lag_s: float | None
    dead: int
    rejects: dict[str, int]


class Contents(msgspec.Struct, frozen=True):
    """A spool.

    Attributes:
        spool: its directory.
        segments: segments that can be read.
        bytes, quota_bytes: of all files, and how many are allowed; 0 if there is no spool yet.
        newer: segments that a newer version wrote; they wait for an upgrade.
        damaged_files, damaged_bytes: copies of what could not be read.
        stores: the way to each.
    """

    spool: str
    segments: int
    bytes: int
    quota_bytes: int
    newer: list[str]
    damaged_files: int
    damaged_bytes: int
    stores: list[Way]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def look(home: str) -> Contents:
    """Look at the spool of a home; ConfigError: the files do not say which stores there are."""
    spool = homes.ave(home, "spool")
    routes = Routing.read(home).routes
    there = os.path.isdir(spool)
    quota = load("panotti", home).spool["quota_bytes"]
    watch = Watch(spool, readonly=True)
    watch.look()
    unread = [name for name in reader.list_segments(spool) if name not in watch.segments]
    damaged = _sizes(os.path.join(spool, "damaged"))
    return Contents(
        spool=spool,
        segments=len(watch.segments),
        bytes=used_bytes(spool) if there else 0,
        quota_bytes=quota or (default_quota(spool) if there else 0),
        newer=[name for name in unread if _version(spool, name) > VERSION],
        damaged_files=len(damaged),
        damaged_bytes=sum(damaged),
        stores=[_way(watch, route) for route in routes],
    )


def records(spool: str, segment: str | None = None) -> Iterator[Record]:
    """Give the records that can be read in a spool, or in one segment of it, segment by segment in their order."""
    watch = Watch(spool, readonly=True)
    watch.look()
    for name in watch.segments if segment is None else [segment]:
        offset = 0
        while items := watch.read(name, offset, READ_BYTES):
            offset = items[-1].end
            yield from _decoded(items)


def newest_time(spool: str) -> int:
    """Return the newest time that the newest segments name, in nanoseconds since the epoch; 0 if there is none."""
    watch = Watch(spool, readonly=True)
    watch.look()
    firsts = (watch.read(name, 0, READ_BYTES) for name in list(watch.segments)[-NEWEST:])
    return max((record.time for items in firsts for record in _decoded(items)), default=0)


def _decoded(items: list[Line | Damage]) -> Iterator[Record]:
    for item in items:
        if isinstance(item, Line) and kind_of(item.payload) == RECORD:
            try:
                yield wire.decode(item.payload)
            except ValueError:
                continue  # the books count it as damage


def _way(watch: Watch, route: Route) -> Way:
    positions = cursors.positions(os.path.join(watch.spool, "cursors", route.name), route.kinds)
    waiting = [
        (name, offset, seen.size - offset)
        for name, seen in watch.segments.items()
        if (offset := positions.get(name, (0, 0))[0]) < seen.size
    ]
    begins = [list(_decoded(watch.read(name, offset, 1)))[:1] for name, offset, _ in waiting[:LOOKED_AT]]
    dead, reasons = _dead(DeadLetters(watch.spool, route.name))
    oldest = min((record.time for begin in begins for record in begin), default=None)
    return Way(
        store=route.name,
        waiting_segments=len(waiting),
        waiting_bytes=sum(size for _, _, size in waiting),
        lag_s=None if oldest is None else max(0.0, round((time.time_ns() - oldest) / 1e9, 3)),
        dead=dead,
        rejects=dict(reasons.most_common(REASONS)),
    )


def _dead(letters: DeadLetters) -> tuple[int, Counter[str]]:
    """Count dead letters, and their reasons: those that come first, for each letter may have one of its own."""
    dead, reasons = 0, Counter[str]()
    for letter in letters.read():
        dead += 1
        if letter.reason in reasons or len(reasons) < REASONS_COUNTED:
            reasons[letter.reason] += 1
    return dead, reasons


def _version(spool: str, name: str) -> int:
    """Return the version of the format of a segment, 0 if it cannot be read."""
    try:
        segment = reader.Segment(spool, name)
    except OSError:
        return 0
    try:
        header = segment.header()
    except ValueError:
        header = None
    finally:
        segment.close()
    version = header.get("v") if header else 0
    return version if isinstance(version, int) else 0


def _sizes(directory: str) -> list[int]:
    """Return the sizes of the files in a directory; none if it is not there."""
    try:
        with os.scandir(directory) as entries:
            return [entry.stat(follow_symlinks=False).st_size for entry in entries]
    except OSError:
        return []
