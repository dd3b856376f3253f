"""Keeps ledger.db in step with the spool, copies what is damaged, and tells by `gap` records what is missing."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io, spool
from ave.exceptions import StoreUnavailable
from ave.lab.logd.books import enter, lose_replaced, lose_vanished, replaced
from ave.lab.logd.ledger import Ledger
from ave.lab.logd.places import damaged, set_aside, sweep
from ave.spool import reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ave.lab.config import Routing
    from ave.lab.logd.watch import Watch
    from ave.spool.frames import Damage

__all__ = ["Bookkeeper"]

log = logging.getLogger(__name__)

#: Bytes entered in one step, and bytes of one wound that are copied to `damaged/`.
READ_BYTES = 1 << 20
EVIDENCE_MAX = 1 << 20

#: Gaps that are told in one step.
GAPS_AT_ONCE = 100

#: Seconds between two looks for what is too old to keep.
PRUNE_S = 3600.0

#: What SQLite says when the file is as it should be, but cannot be used now.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Bookkeeper:
    """The one who writes the ledger. Its work comes in steps, each of which tells whether there was anything to do.

    Raises (any step): sqlite3.Error, OSError, SpoolError; call `recover`, and take the step again later.
    """

    def __init__(self, home: str, watch: Watch, routing: Routing) -> None:
        self.home = home
        self.watch = watch
        self.ledger = self._open(routing)
        self.follow(routing)
        self._is_some_lost = self._is_some_untold = True
        self._next_prune = 0.0

    def follow(self, routing: Routing) -> None:
        """Go by these routes from now on."""
        self.ledger.takers = routing.takers
        self._required = [route.name for route in routing.routes if route.required]
        self._routing = routing
        self._dropped: set[str] = set()

    def recover(self, error: Exception) -> None:
        """Make good for a step that failed: what it took is undone; books that are broken are set aside for new ones.

        StoreUnavailable: not even new ones can be begun.
        """
        if isinstance(error, sqlite3.DatabaseError) and _is_broken(error):
            self.ledger.close()
            self._set_aside(error)
            self.ledger = self._open(self._routing)
        else:
            self.ledger.rollback()

    def look_for_lost(self) -> None:
        """Let the next `note_lost` look: some segment is not there any more, or not as it was."""
        self._is_some_lost = True

    def note_lost(self) -> bool:
        """Note the segments that somebody else removed or exchanged, with what is not stored everywhere."""
        if not self._is_some_lost:
            return False
        present = frozenset(reader.list_segments(self.watch.spool))
        for gap in lose_vanished(self.ledger, self.watch.spool, present, self._required):
            log.error("segment %s has vanished", gap.segment, extra={"action": "segment_lost"})
        others = replaced(self.ledger, self.watch)
        for name in others:
            log.error("segment %s is not the one that was read", name, extra={"action": "segment_replaced"})
        for name, damage in lose_replaced(self.ledger, self.watch, others, self._required):
            self._keep_evidence(name, damage)
        io.reached("lost-noted")
        self._is_some_lost = False
        self._is_some_untold = True
        return True

    def keep(self) -> bool:
        """Enter the next part of the spool into the ledger."""
        wounds = enter(self.ledger, self.watch, READ_BYTES)
        if not self.ledger.in_batch:
            return False
        for name, damage in wounds:
            self._keep_evidence(name, damage)
            io.reached("evidence-kept")
        io.reached("books-taken")
        self._tell_dropped(self.ledger.dropped)
        self.ledger.commit()
        io.reached("books-committed")
        self._is_some_untold = True
        return True

    def _tell_dropped(self, kinds: Mapping[str, str]) -> None:
        """Tell, once of each kind, that no store takes such records: with their segments they are dropped."""
        files = {kind: file for file, of in self._routing.unrouted_by().items() for kind in of}
        for kind, guid in kinds.items():
            name = kind if kind in files else "kinds of another version"
            if name not in self._dropped:
                self._dropped.add(name)
                file = homes.config_file(files[kind], self.home) if kind in files else ""
                mend = f'"enabled": true in {file}, then `ave-logd --restart`' if file else "upgrade ave-logging"
                log.warning(
                    "no store takes %s, so such records are dropped, one of run %r first; to keep them: %s",
                    *(name, guid, mend),
                    extra={"action": "unrouted"},
                )

    def tell_gaps(self) -> bool:
        """Emit a `gap` record for holes in segments that are read to their end."""
        if not self._is_some_untold:
            return False
        gaps = self.ledger.untold(GAPS_AT_ONCE)
        for gap, guid in gaps:
            body = {**gap._asdict(), "count": gap.last - gap.first + 1, "kinds": {}}
            spool.append("gap", guid, body, source="ave-logd", home=self.home)
            log.error(
                "records %d to %d of segment %s are %s",
                gap.first,
                gap.last,
                gap.segment,
                gap.reason,
                extra={"action": "gap"},
            )
        if gaps:
            io.reached("gaps-emitted")
            self.ledger.tell([gap for gap, _ in gaps])
            io.reached("gaps-told")
        self._is_some_untold = len(gaps) == GAPS_AT_ONCE
        return bool(gaps)

    def prune(self) -> bool:
        """Drop books that are too old, and what was never finished, once in a while."""
        if time.monotonic() < self._next_prune:
            return False
        self._next_prune = time.monotonic() + PRUNE_S
        self.ledger.prune()
        sweep(self.watch.spool)
        return True

    def _keep_evidence(self, name: str, damage: Damage) -> None:
        """Copy damaged bytes to where a person can look at them; the name says segment and offset."""
        try:
            path = os.path.join(damaged(self.watch.spool), f"{name}-{damage.offset}")
            with closing(reader.Segment(self.watch.spool, name)) as segment:
                data = io.pread(segment.fd, min(damage.end - damage.offset, EVIDENCE_MAX), damage.offset)
            io.replace_file(path, data, durable=False)
            where = f"a copy is in {path}"
        except OSError as error:
            where = f"no copy could be kept: {error}"  # the books do without
        log.error(
            "%d bytes of segment %s at offset %d are damaged; %s",
            damage.end - damage.offset,
            name,
            damage.offset,
            where,
            extra={"action": "damage"},
        )

    def _open(self, routing: Routing) -> Ledger:
        """Open the books; broken ones are set aside and new ones begun: nothing in the spool stops a start."""
        path = os.path.join(self.watch.spool, "ledger.db")
        try:
            try:
                return Ledger(path, routing.takers)
            except sqlite3.DatabaseError as error:
                if not _is_broken(error):
                    raise
                self._set_aside(error)
                return Ledger(path, routing.takers)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{path}: cannot be opened now: {error}; `ave doctor` tells the mend") from error

    def _set_aside(self, why: object) -> None:
        for suffix in ("", "-wal", "-shm"):
            if os.path.lexists(os.path.join(self.watch.spool, f"ledger.db{suffix}")):
                set_aside(self.watch.spool, f"ledger.db{suffix}", f"is broken ({why})")


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _PASSING
