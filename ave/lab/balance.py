"""What the books owe each store, held against what it has: for one run and kind,
emitted = stored + dead + refused + waiting.

A store answers for what it was required to take: of what is in the spool now, and of what was there when it was
removed. What went while ave-logd did not serve it is not asked of it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ave.lab.logd.ledger import Count

__all__ = ["Row", "Side", "balanced"]

_NOTHING: Mapping[str, int] = MappingProxyType({})


class Side(msgspec.Struct):
    """What one store has of a run.

    Attributes:
        name: of the store.
        kinds: what it takes now.
        required: whether a record counts as stored only when it is there, too.
        stored: records by kind, as it says; None if it is away or cannot be asked.
        away: why it could not be asked now.
        dead: dead letters by kind.
        unread: records behind its cursor by kind.
    """

    name: str
    kinds: frozenset[str]
    required: bool
    stored: dict[str, int] | None = None
    away: str = ""
    dead: dict[str, int] = {}
    unread: dict[str, int] = {}


class Row(NamedTuple):
    """One kind of one run.

    Attributes:
        emitted: records that were kept in the spool, and those that were refused and counted.
        stored: per store that takes the kind, or had to when records of it went from the spool: what it says itself, or
            has acknowledged if it cannot be asked; None if it is away.
        dead: dead letters; the most of any required store.
        refused: refused at the quota, or dropped.
        waiting: in the spool only; the most of any required store.
        ok: for every required store, emitted = stored + dead + refused + waiting, but for what went before it was one.
        missing: per required store for which that does not hold, how many it lacks; below zero: how many too many.
        earlier: per required store, how many went from the spool while it was none.
        elsewhere: per store that no file names any more, how many it had to have; "unknown" if nobody noted its name.
        dropped: of the refused, those whose kind no store takes, or took when they went from the spool.
    """

    kind: str
    emitted: int
    stored: dict[str, int | None]
    dead: int
    refused: int
    waiting: int
    ok: bool
    missing: Mapping[str, int] = _NOTHING
    earlier: Mapping[str, int] = _NOTHING
    elsewhere: Mapping[str, int] = _NOTHING
    dropped: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: the last four only where there is something to say."""
        said = self._asdict()
        return {name: said[name] for name in said if name != "ok" and (name not in _REMARKS or said[name])}


_REMARKS = frozenset({"missing", "earlier", "elsewhere", "dropped"})


def balanced(count: Count, sides: Collection[Side]) -> Row:
    """Hold the books of one kind of one run against what all stores have of it."""
    kind, names = count.kind, {side.name for side in sides}
    takers = [side for side in sides if kind in side.kinds or side.name in count.due]
    required = {side.name: _entry(count, side) for side in takers if side.required}
    stored = {name: entry.stored for name, entry in required.items()}
    stored |= {side.name: side.stored.get(kind, 0) for side in takers if side.stored is not None and not side.required}
    elsewhere = {name: due for name, due in count.due.items() if name not in names}
    if count.unknown and not takers:
        elsewhere["unknown"] = count.unknown
    missing = {name: entry.missing for name, entry in required.items() if entry.missing}
    return Row(
        kind=kind,
        emitted=count.written + count.refused,
        stored=stored,
        dead=max((entry.dead for entry in required.values()), default=0),
        refused=count.refused + count.unrouted,
        waiting=max((entry.waiting for entry in required.values()), default=0),
        ok=not missing,
        missing=missing,
        earlier={name: entry.earlier for name, entry in required.items() if entry.earlier},
        elsewhere=elsewhere,
        dropped=count.unrouted,
    )


class _Entry(NamedTuple):
    """What a row says of one required store."""

    stored: int | None
    dead: int
    waiting: int
    earlier: int
    missing: int


def _entry(count: Count, side: Side) -> _Entry:
    kind, kept = count.kind, count.written - count.unrouted
    dead = side.dead.get(kind, 0)
    unread = side.unread.get(kind, 0) if kind in side.kinds else 0
    due = count.due.get(side.name, 0)
    if side.stored is None:
        acknowledged = None if side.away else max(0, due - dead - unread)
        return _Entry(acknowledged, dead, min(unread, due), kept - due, 0)
    here = side.stored.get(kind, 0)
    if here + dead > due:
        due += count.unknown  # it has some of what went before such things were noted, so it must have it all
    # what is not due may be there: it was a store already, but not a required one
    rest, besides = due - here - dead, kept - due
    # what was stored just before a crash is behind the cursor, too: it waits no more
    waiting = min(unread, due if besides else max(rest, 0))
    missing = min(rest + besides, 0) or max(rest - unread, 0)
    return _Entry(here, dead, waiting, max(0, kept - here - dead - waiting - missing), missing)
