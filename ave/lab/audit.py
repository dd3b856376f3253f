"""The proof that nothing was lost: for a run and each kind, emitted = stored + dead + refused + waiting.

What was emitted is in the host's ledger and, as far as ave-logd has not read it, in the spool; what is stored is
asked of the stores themselves. Nothing is changed: the rest of the spool is gone through on a copy of the ledger.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.balance import Row, Side, balanced
from ave.lab.config import Routing
from ave.lab.logd import wire
from ave.lab.logd.books import enter, lose_replaced, lose_vanished, replaced
from ave.lab.logd.ledger import Count, Gap, Ledger
from ave.lab.logd.letters import DeadLetters
from ave.lab.logd.watch import Watch
from ave.record import Query
from ave.spool import cursors, reader
from ave.spool.frames import RECORD, Line, kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ave.lab.config import Route
    from ave.lab.query import Patience
    from ave.lab.stores import Store
    from ave.record import Record

__all__ = ["Audit", "Row", "audit"]

#: Bytes read at once.
READ_BYTES = 1 << 20

#: Times the whole is looked at anew while ave-logd moves records under our eyes.
TRIES = 10


class Audit(NamedTuple):
    """The answer for one run.

    `ok`: something is known of it, all rows balance, no number of its segments is missing, and no store is away.

    Attributes:
        guid: the run.
        rows: one for each kind.
        gaps: the numbers that are missing.
        away: per required store that cannot be asked now, why.
    """

    guid: str
    rows: list[Row]
    gaps: list[Gap]
    away: Mapping[str, str] = MappingProxyType({})

    @property
    def ok(self) -> bool:
        """Whether everything emitted is accounted for, and that is something."""
        return bool(self.rows) and all(row.ok for row in self.rows) and not self.gaps and not self.away

    @property
    def waiting(self) -> int:
        """How many records are not stored everywhere yet."""
        return sum(row.waiting for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        rows, gaps = [row.as_dict() for row in self.rows], [gap._asdict() for gap in self.gaps]
        away = {"away": dict(self.away)} if self.away else {}
        return {"guid": self.guid, "ok": self.ok, "rows": rows, "gaps": gaps, **away}


def audit(home: str, guid: str, patience: Patience = nullcontext) -> Audit:
    """Balance the books of one run on this host; `patience` is as for `ave.lab.query.Stores`.

    Raises:
        ConfigError: a configuration file is wrong, or a person has to mend the way to a required store.
        StoreUnavailable: the ledger cannot be read.
    """
    routing = Routing.read(home)
    for _ in range(TRIES):
        before = _positions(home, routing)
        found = _audit(home, guid, routing, patience)
        if found.ok or found.away or not found.rows or before == _positions(home, routing):
            break
    return found


def _positions(home: str, routing: Routing) -> list[dict[str, tuple[int, int]]]:
    directory = homes.ave(home, "spool", "cursors")
    return [cursors.positions(os.path.join(directory, route.name), route.kinds) for route in routing.routes]


def _audit(home: str, guid: str, routing: Routing, patience: Patience) -> Audit:
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
        positions = _positions(home, routing)
        sides = [_side(route, home, guid, ledger.hosts(guid), patience) for route in routing.routes]
        _enter_all(ledger, watch)
        for side, read in zip(sides, positions, strict=True):
            side.unread = _unread(watch, read, guid, ledger.segments(guid))
        rows = [balanced(count, sides) for count in ledger.counts(guid)]
        known = {row.kind for row in rows}
        rows += [balanced(Count(kind), sides) for kind in _stored_kinds(sides) - known]
        away = {side.name: side.away for side in sides if side.away and side.required}
        return Audit(guid, sorted(rows, key=lambda row: row.kind), ledger.gaps(guid), away)
    except sqlite3.Error as error:
        raise _unusable(spool, error) from error
    finally:
        ledger.close()


def _copied(spool: str, routing: Routing) -> Ledger:
    try:
        return Ledger.copy_of(os.path.join(spool, "ledger.db"), routing.takers)
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


def _side(route: Route, home: str, guid: str, hosts: list[str], patience: Patience) -> Side:
    """Ask a store what it has of the run; ConfigError: a person has to mend the way to a required one."""
    side = Side(route.name, route.kinds, route.required)
    letters = DeadLetters(homes.ave(home, "spool"), route.name).read()
    dead = [letter.record for letter in letters if letter.record.guid == guid]
    try:
        with patience(route.name), closing(route.open(home, readonly=True)) as store:
            if store.answers:
                dead = _not_stored(store, dead)
                side.stored = store.count(guid, hosts)
    except StoreUnavailable as error:
        side.away = str(error)
    except ConfigError as error:
        if route.required:
            raise
        side.away = str(error)
    side.dead = Counter(record.kind for record in dead)
    return side


def _not_stored(store: Store, dead: Collection[Record]) -> list[Record]:
    """Return the dead letters' records but those that are stored all the same: a crash came before they were removed.

    Each kind is asked for once, however many there are.
    """
    kinds = sorted({record.kind for record in dead})
    return [one for kind in kinds for one in _not_found(store, [record for record in dead if record.kind == kind])]


def _not_found(store: Store, records: list[Record]) -> list[Record]:
    """Return those of some records of one run and kind that are not in the store."""
    times = [record.time for record in records]
    query = Query(guid=records[0].guid, kinds=(records[0].kind,), since=min(times), until=max(times) + 1)
    left = {record.id: record for record in records}
    try:
        for found in store.find(query):
            if left.get(found.id) == found:
                del left[found.id]
    except UsageError:
        # no query can name one of them, which therefore is in no store
        half = len(records) // 2
        return [*_not_found(store, records[:half]), *_not_found(store, records[half:])] if half else records
    return list(left.values())


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


def _stored_kinds(sides: list[Side]) -> set[str]:
    return {kind for side in sides for kind in side.stored or () if kind in side.kinds}
