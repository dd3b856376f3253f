"""The proof that nothing was lost: for a run and each kind, emitted = stored + dead + refused + waiting.

What was emitted is in the host's ledger and, as far as ave-logd has not read it, in the spool; what is stored is
asked of the stores themselves. Nothing is changed: the rest of the spool is gone through on a copy of the ledger.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from ave import home as homes
from ave.exceptions import StoreUnavailable
from ave.lab.config import Routing
from ave.lab.logd import wire
from ave.lab.logd.books import enter, lose_vanished
from ave.lab.logd.ledger import Gap, Ledger
from ave.lab.logd.letters import DeadLetters
from ave.lab.logd.watch import Watch
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.spool import cursors
from ave.spool.frames import RECORD, Line, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ave.lab.config import Route

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
    spool = homes.ave(home, "spool")
    watch = Watch(spool, readonly=True)
    watch.look()
    ledger = _books(spool, watch, routing)
    try:
        stores = [_Side(route, home, guid, watch, ledger) for route in routing.routes]
        rows = [_row(count, stores) for count in ledger.counts(guid)]
        known = {row.kind for row in rows}
        rows += [_row((kind, 0, 0, 0), stores) for kind in _stored_kinds(stores) - known]
        return Audit(guid, sorted(rows), ledger.gaps(guid))
    finally:
        ledger.close()


def _books(spool: str, watch: Watch, routing: Routing) -> Ledger:
    """Return a copy of the ledger that knows the whole spool."""
    try:
        ledger = Ledger.copy_of(os.path.join(spool, "ledger.db"), KINDS - routing.unrouted)
        while True:
            enter(ledger, watch, READ_BYTES)
            if not ledger.in_batch:
                break
            ledger.commit()
        lose_vanished(ledger, spool, [route.name for route in routing.routes])
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{spool}/ledger.db cannot be read: {error}; `ave doctor` tells the mend") from error
    return ledger


class _Side:
    """What one store has of the run, and what is still on the way to it."""

    def __init__(self, route: Route, home: str, guid: str, watch: Watch, ledger: Ledger) -> None:
        self.route = route
        self.unread = _unread(watch, route.name, guid, ledger.segments(guid))
        self.dead: dict[str, int] = {}
        for letter in DeadLetters(watch.spool, route.name).read():
            if letter.record.guid == guid:
                self.dead[letter.record.kind] = self.dead.get(letter.record.kind, 0) + 1
        self.stored: dict[str, int] | None = None
        store = open_store(route.url, home, route.kinds, readonly=True)
        try:
            self.stored = store.count(guid, ledger.hosts(guid))
        except StoreUnavailable:
            if route.required:
                raise
        finally:
            store.close()


def _unread(watch: Watch, store: str, guid: str, segments: Mapping[str, object]) -> dict[str, int]:
    """Count the run's records behind the store's cursor, by kind."""
    positions = cursors.positions(os.path.join(watch.spool, "cursors", store))
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
