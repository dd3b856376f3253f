"""The proof that nothing was lost: for a run and each kind, emitted = stored + dead + refused + waiting.

What was emitted is in the host's ledger and, as far as ave-logd has not read it, in the spool; what is stored is
asked of the stores themselves. Nothing is changed: the rest of the spool is gone through on a copy of the ledger.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.config import Routing
from ave.lab.logd import wire
from ave.lab.logd.books import enter, lose_replaced, lose_vanished, replaced
from ave.lab.logd.ledger import Gap, Ledger
from ave.lab.logd.letters import DeadLetters
from ave.lab.logd.watch import Watch
from ave.lab.stores import open_store
from ave.record import KINDS, Query
from ave.spool import cursors, reader
from ave.spool.frames import RECORD, Line, kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ave.lab.config import Route
    from ave.lab.stores import Store
    from ave.record import Record

__all__ = ["Audit", "Row", "audit"]

#: Bytes read at once.
READ_BYTES = 1 << 20

#: Times the whole is looked at anew while ave-logd moves records under our eyes.
TRIES = 10


class Row(NamedTuple):
    """One kind of one run.

    Attributes:
        emitted: records that were kept in the spool, and those that were refused and counted.
        stored: per store that takes the kind, as it says itself.
        dead: dead letters; the most of any required store.
        refused: refused at the quota, or dropped because no store takes the kind.
        waiting: in the spool only; the most of any required store.
        ok: for every required store, emitted = stored + dead + refused + waiting.
    """

    kind: str
    emitted: int
    stored: dict[str, int]
    dead: int
    refused: int
    waiting: int
    ok: bool


class Audit(NamedTuple):
    """The answer for one run; `ok` if all rows balance and no number of its segments is missing."""

    guid: str
    rows: list[Row]
    gaps: list[Gap]

    @property
    def ok(self) -> bool:
        """Whether everything emitted is accounted for."""
        return all(row.ok for row in self.rows) and not self.gaps

    @property
    def waiting(self) -> int:
        """How many records are not stored everywhere yet."""
        return sum(row.waiting for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        rows = [{name: value for name, value in row._asdict().items() if name != "ok"} for row in self.rows]
        return {"guid": self.guid, "ok": self.ok, "rows": rows, "gaps": [gap._asdict() for gap in self.gaps]}


def audit(home: str, guid: str) -> Audit:
    """Balance the books of one run on this host.

    Raises:
        ConfigError: a configuration file is wrong.
        StoreUnavailable: a required store, or the ledger, cannot be asked.
    """
    routing = Routing.read(home)
    for _ in range(TRIES):
        before = _positions(home, routing)
        found = _audit(home, guid, routing)
        if found.ok or before == _positions(home, routing):
            break
    return found


def _positions(home: str, routing: Routing) -> list[dict[str, tuple[int, int]]]:
    directory = homes.ave(home, "spool", "cursors")
    return [cursors.positions(os.path.join(directory, route.name)) for route in routing.routes]


def _audit(home: str, guid: str, routing: Routing) -> Audit:
    """Balance the books once.

    The order makes it right while jobs emit and ave-logd ships: what is stored is counted between two looks at the
    spool, so that the books know all of it, and what is behind a cursor is counted from where that stood before.
    """
    spool = homes.ave(home, "spool")
    required = [route.name for route in routing.routes if route.required]
    watch = Watch(spool, readonly=True)
    present = reader.list_segments(spool)
    ledger = _copied(spool, routing)
    try:
        # looked at twice: some were removed by ave-logd since the copy, others were made since the first look
        lose_vanished(ledger, spool, {*present, *reader.list_segments(spool)}, required)
        watch.look()
        lose_replaced(ledger, watch, replaced(ledger, watch), required)
        _enter_all(ledger, watch)
        sides = [_Side(route, home, guid, ledger.hosts(guid)) for route in routing.routes]
        _enter_all(ledger, watch)
        for side in sides:
            side.unread = _unread(watch, side.positions, guid, ledger.segments(guid))
        rows = [_row(count, sides) for count in ledger.counts(guid)]
        known = {row.kind for row in rows}
        rows += [_row((kind, 0, 0, 0), sides) for kind in _stored_kinds(sides) - known]
        return Audit(guid, sorted(rows), ledger.gaps(guid))
    except sqlite3.Error as error:
        raise _unusable(spool, error) from error
    finally:
        ledger.close()


def _copied(spool: str, routing: Routing) -> Ledger:
    try:
        return Ledger.copy_of(os.path.join(spool, "ledger.db"), KINDS - routing.unrouted)
    except sqlite3.Error as error:
        raise _unusable(spool, error) from error


def _unusable(spool: str, error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(f"{spool}/ledger.db cannot be read: {error}; `ave doctor` tells the mend")


def _enter_all(ledger: Ledger, watch: Watch) -> None:
    """Enter what is in the spool now and not in the books yet."""
    watch.look()
    while True:
        enter(ledger, watch, READ_BYTES)
        if not ledger.in_batch:
            return
        ledger.commit()


class _Side:
    """What one store has of the run.

    Attributes:
        positions: where its cursor stands.
        stored, dead: records by kind; `stored` is None for a store that is away and not required, or cannot be asked.
        unread: records behind the cursor by kind.
    """

    def __init__(self, route: Route, home: str, guid: str, hosts: list[str]) -> None:
        self.route = route
        self.unread: dict[str, int] = {}
        self.dead: dict[str, int] = {}
        self.stored: dict[str, int] | None = None
        spool = homes.ave(home, "spool")
        self.positions = cursors.positions(os.path.join(spool, "cursors", route.name))
        store = open_store(route.url, home, route.kinds, readonly=True)
        try:
            if not store.answers:
                return
            for letter in DeadLetters(spool, route.name).read():
                if letter.record.guid == guid and not _is_stored(store, letter.record):
                    self.dead[letter.record.kind] = self.dead.get(letter.record.kind, 0) + 1
            self.stored = store.count(guid, hosts)
        except (StoreUnavailable, ConfigError):
            if route.required:
                raise
        finally:
            store.close()


def _is_stored(store: Store, record: Record) -> bool:
    """Tell whether a dead letter's record is stored all the same: a crash came before the letter was removed."""
    query = Query(guid=record.guid, kinds=(record.kind,), since=record.time, until=record.time + 1)
    try:
        return record in store.find(query)
    except UsageError:
        return False  # a record that no query can name is in no store


def _unread(
    watch: Watch, positions: Mapping[str, tuple[int, int]], guid: str, segments: Collection[str]
) -> dict[str, int]:
    """Count the run's records behind a store's cursor, by kind."""
    unread: dict[str, int] = {}
    for name in watch.segments:
        offset = positions.get(name, (0, 0))[0]
        while name in segments and (items := watch.read(name, offset, READ_BYTES)):
            offset = items[-1].end
            for item in items:
                if isinstance(item, Line) and kind_of(item.payload) == RECORD:
                    _count(unread, item.payload, guid)
    return unread


def _count(counts: dict[str, int], payload: bytes, guid: str) -> None:
    try:
        record = wire.decode(payload)
    except ValueError:
        return
    if record.guid == guid:
        counts[record.kind] = counts.get(record.kind, 0) + 1


def _stored_kinds(stores: list[_Side]) -> set[str]:
    return {kind for side in stores for kind in side.stored or ()}


def _row(count: tuple[str, int, int, int], stores: list[_Side]) -> Row:
    kind, written, refused, unrouted = count
    takers = [side for side in stores if kind in side.route.kinds]
    stored, dead, waiting, balanced = {}, 0, 0, True
    for side in takers:
        if side.stored is None:
            continue
        here = stored[side.route.name] = side.stored.get(kind, 0)
        if side.route.required:
            buried = side.dead.get(kind, 0)
            # what was stored just before a crash is behind the cursor, too: it waits no more
            rest = written - unrouted - here - buried
            unread = side.unread.get(kind, 0)
            balanced = balanced and 0 <= rest <= unread
            dead, waiting = max(dead, buried), max(waiting, min(max(rest, 0), unread))
    if not takers:
        balanced = unrouted == written
    return Row(kind, written + refused, stored, dead, refused + unrouted, waiting, balanced)
