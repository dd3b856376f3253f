"""Going through a spool for the books: used by the daemon, and by the audit on a copy that is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ave.spool import cursors

if TYPE_CHECKING:
    from collections.abc import Collection

    from ave.lab.logd.ledger import Gap, Ledger
    from ave.lab.logd.watch import Watch
    from ave.spool.frames import Damage

__all__ = ["enter", "lose_vanished"]


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
            wounds += [(name, damage) for damage in ledger.take(name, items, final=is_all)]
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
    read = [cursors.positions(os.path.join(spool, "cursors", store)) for store in stores]
    lost = []
    for name, top in vanished.items():
        stored = min((positions.get(name, (0, 0))[1] for positions in read), default=top)
        gap = ledger.lose(name, stored + 1, top)
        lost += [gap] if gap else []
    return lost
