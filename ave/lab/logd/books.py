"""Going through a spool for the books: used by the daemon, and by the audit on a copy that is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ave.lab.logd.account import Account, union
from ave.lab.logd.telling import numbers_of
from ave.spool import cursors
from ave.spool.frames import Line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ave.lab.logd.ledger import Gap, Ledger
    from ave.lab.logd.watch import Watch
    from ave.spool.frames import Damage

__all__ = ["enter", "lose_replaced", "lose_vanished", "replaced"]

#: Bytes of a segment that are read at once when it is gone through again.
READ_BYTES = 1 << 20


def enter(ledger: Ledger, watch: Watch, limit: int) -> list[tuple[str, Damage]]:
    """Enter about `limit` more bytes of the segments into the ledger, not committed yet; return what is damaged."""
    wounds: list[tuple[str, Damage]] = []
    for name, seen in watch.segments.items():
        offset = ledger.offset(name)
        if offset >= seen.size and (not seen.final or ledger.is_read(name)):
            continue
        items = watch.read(name, offset, limit)
        end = items[-1].end if items else offset
        is_all = seen.final and end >= seen.size
        if items or is_all:
            wounds += [(name, damage) for damage in ledger.take(name, items, final=is_all, file=seen.file)]
        limit -= end - offset
        if limit <= 0:
            break
    return wounds


def lose_vanished(ledger: Ledger, spool: str, present: Collection[str], stores: Collection[str]) -> list[Gap]:
    """Enter the segments that somebody removed; return what was in them and is not in each of `stores`.

    Args:
        ledger: in which ave-logd has noted what it removed itself.
        spool: its directory.
        present: the segments that are there.
        stores: names of those that a record has to be in.
    """
    vanished = ledger.vanished(present)
    if not vanished:
        return []
    read = _positions(spool, stores)
    lost = []
    for name, top in vanished.items():
        stored = min((positions.get(name, (0, 0))[1] for positions in read), default=top)
        gap = ledger.lose(name, stored + 1, top)
        lost += [gap] if gap else []
    return lost


def replaced(ledger: Ledger, watch: Watch) -> list[str]:
    """Return the segments that are another file, or shorter, than what was entered."""
    return [name for name, seen in watch.segments.items() if ledger.is_another(name, seen)]


def lose_replaced(
    ledger: Ledger, watch: Watch, names: Collection[str], stores: Collection[str]
) -> list[tuple[str, Damage]]:
    """Go through `replaced` segments again: what each of `stores` neither has nor will find there is lost.

    A store has what its cursor is past, and will find what begins behind it. What is news in the other file is entered
    as in any segment. One that can still grow is gone through later, and so is one that cannot be read now.

    Returns:
        What is damaged.
    """
    read = _positions(watch.spool, stores) if names else []
    wounds: list[tuple[str, Damage]] = []
    for name in names:
        if not watch.segments[name].final:
            ledger.doubt(name)
            continue
        damages = _enter_again(ledger, watch, name, [positions.get(name, (0, 0)) for positions in read])
        if damages is None:
            ledger.rollback()
        else:
            ledger.commit()
            wounds += [(name, damage) for damage in damages]
    return wounds


def _enter_again(ledger: Ledger, watch: Watch, name: str, begins: Collection[tuple[int, int]]) -> list[Damage] | None:
    """Enter a segment from its begin, and what is missing now; return what is damaged; None if it cannot be read."""
    seen, before = watch.segments[name], ledger.account(name)
    sides = [(offset, _missing_behind(seq, before.top)) for offset, seq in begins]
    damages = []
    ledger.begin_again(name, seen.file)
    while items := watch.read(name, ledger.offset(name), READ_BYTES):
        for item in items:
            if isinstance(item, Line):
                _find(name, item, sides)
        damages += ledger.take(name, items, final=False)
    if ledger.offset(name) < seen.size:
        return None
    ledger.take(name, [], final=True)
    lost = Account(before.top, union(hole for _, side in sides for hole in side.missing))
    for first, last in before.missing:
        lost.arrives(first, last)
    ledger.miss(name, lost.missing)
    return damages


def _missing_behind(seq: int, top: int) -> Account:
    return Account(top, [(seq + 1, top)] if seq < top else [])


def _find(name: str, line: Line, sides: Collection[tuple[int, Account]]) -> None:
    """Note for each store that a line of its rest of the segment is there."""
    segment, numbers = numbers_of(line)
    for offset, side in sides:
        if segment == name and line.offset >= offset:
            for first, last in numbers:
                if first <= side.top:
                    side.arrives(first, last)


def _positions(spool: str, stores: Collection[str]) -> list[Mapping[str, tuple[int, int]]]:
    return [cursors.positions(os.path.join(spool, "cursors", store)) for store in stores]
