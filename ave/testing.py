"""Aids for tests: nothing but tests imports this module."""

from __future__ import annotations

import json
import os
import time
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ave.exceptions import AveException, ConfigError, StoreUnavailable
from ave.lab.stores.base import DIFFERENT, Rejected, Store, is_start_of, matches, order
from ave.network import Control
from ave.record import KINDS, decode
from ave.spool import frames, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any

    from ave.record import Query, Record

__all__ = ["MemoryStore", "PanottiControl", "Spooled", "children", "read_spool", "wait_until"]


def wait_until(condition: Callable[[], object], timeout: float = 10.0, what: str = "") -> None:
    """Return as soon as `condition()` is true; it is asked every 5 ms.

    Args:
        condition: asked at least twice, the last time after the deadline.
        timeout: seconds.
        what: named in the failure, e.g. "the cursor to move".

    Raises:
        AssertionError: still false after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            if condition():
                return
            raise AssertionError(f"waited {timeout:g} s in vain for {what or condition}")
        time.sleep(0.005)


def children() -> set[int]:
    """Return the process ids of this process's children, those that ended and were not waited for among them."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid():
            found.add(int(name))
    return found


class MemoryStore(Store):
    """A store for tests only: keeps records in a dict and fails on demand.

    Attributes:
        records: what is stored, by id.
        batches: the ids of every batch offered, also of those that failed.
        down: if true, everything raises StoreUnavailable, as of a server that is away.
        refusing: if true, everything raises ConfigError, as of a wrong password.
        reject: asked for each record; a text means that it can never be stored.
    """

    def __init__(self, kinds: Collection[str] = KINDS) -> None:
        self.kinds = frozenset(kinds)
        self.records: dict[str, Record] = {}
        self.batches: list[list[str]] = []
        self.down = False
        self.refusing = False
        self.reject: Callable[[Record], str] = lambda _record: ""

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store what `reject` has nothing against, see `Store.put`."""
        self.batches.append([record.id for record in batch])
        self._answer()
        return [Rejected(record, why) for record in batch if (why := self._put_one(record))]

    def find(self, query: Query) -> Iterator[Record]:
        """Give what matches, see `Store.find`."""
        self._answer()
        found = sorted(self.records.values(), key=order, reverse=query.newest)
        runs = {record.guid for record in found if query.job is not None and is_start_of(record, query.job)}
        wanted = (record for record in found if matches(query, record) and (query.job is None or record.guid in runs))
        yield from islice(wanted, query.limit)

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count by kind, see `Store.count`."""
        self._answer()
        counts: dict[str, int] = {}
        for record in self.records.values():
            if record.guid == guid and (not hosts or record.host in hosts):
                counts[record.kind] = counts.get(record.kind, 0) + 1
        return counts

    def close(self) -> None:
        """Do nothing: the records stay."""

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailable("the store is down")
        if self.refusing:
            raise ConfigError("the store refuses the password")

    def _put_one(self, record: Record) -> str:
        return self.reject(record) or (DIFFERENT if self.records.setdefault(record.id, record) != record else "")


class PanottiControl(Control):
    """A Panotti for tests only: it speaks AVE RPC and keeps documents in memory; arguments as of `Control`.

    A document that says by its `_ave` which record it was made of is kept once.
    """

    _is_traced = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._logs: dict[str, dict[str, dict[str, Any]]] = {}

    @Control.rpc
    def shout(self, db: str, doc: dict[str, Any]) -> None:
        """Keep a document."""
        log = self._logs.setdefault(db, {})
        beside = doc.get("_ave")
        name = beside["id"] if isinstance(beside, dict) and "id" in beside else f"document {len(log)}"
        if log.setdefault(name, doc) != doc:
            raise AveException(DIFFERENT)

    @Control.rpc
    def get_log(self, db: str) -> list[dict[str, Any]]:
        """Return all documents, in the order in which they came."""
        if db not in self._logs:
            raise AveException(f"no such db: {db}")
        return [*self._logs[db].values()]


class Spooled(NamedTuple):
    """What lies in a spool.

    Attributes:
        records: oldest segment first, each in the order of the file.
        damage: how many wounds each wounded segment has.
        counts: what the footer says, of each segment that has one.
        headers: of each segment that has one.
    """

    records: list[Record]
    damage: dict[str, int]
    counts: dict[str, int]
    headers: dict[str, dict[str, Any]]


def read_spool(spool: str) -> Spooled:
    """Read a whole spool as ave-logd does, changing nothing."""
    found = Spooled([], {}, {}, {})
    for name in reader.list_segments(spool):
        segment = reader.Segment(spool, name)
        _read_segment(segment, found)
        segment.close()
    return found


def _read_segment(segment: reader.Segment, found: Spooled) -> None:
    offset, final = 0, segment.is_final()
    while items := segment.read(offset, final=final):
        offset = items[-1].end
        for item in items:
            if isinstance(item, frames.Damage):
                found.damage[segment.name] = found.damage.get(segment.name, 0) + 1
            elif frames.kind_of(item.payload) == frames.RECORD:
                found.records.append(decode(item.payload))
            elif frames.kind_of(item.payload) == frames.HEADER:
                found.headers[segment.name] = json.loads(item.payload)
            else:
                found.counts[segment.name] = json.loads(item.payload)["count"]
