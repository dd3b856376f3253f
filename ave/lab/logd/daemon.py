"""The daemon: looks at the spool, keeps the books, lets one shipper per store work, and cleans up behind them.

A segment is removed only when it is final, every record of it is in the books, and every store is past it, all
three durably. Whatever happens between two steps, the next start goes on from there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io, spool
from ave.exceptions import ConfigError, SpoolError
from ave.lab import config
from ave.lab.config import Routing
from ave.lab.logd.books import enter, lose_vanished
from ave.lab.logd.ledger import Ledger
from ave.lab.logd.shipper import Shipper
from ave.lab.logd.watch import Watch
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.spool import reader

if TYPE_CHECKING:
    from ave.spool.frames import Damage

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

#: Seconds between two looks at the spool; a look that takes long makes the pause longer, to `LOOK_SHARE` of the time.
LOOK_S = 0.1
LOOK_SHARE = 0.1

#: Seconds between two syncs of the segments that grow, under the policy `host`.
SYNC_S = 0.5

#: Segments that one such turn syncs at most: a backlog of thousands is clean on the disk already.
SYNC_AT_ONCE = 200

#: Seconds within which a stop ends, and the part of them that shippers have for the batch they are at.
STOP_S = 4.0

#: Seconds after which the books are tried again when they could not be written.
BOOKS_RETRY_S = 1.0

#: Seconds between two looks for books that are too old.
PRUNE_S = 3600.0

#: Bytes read at once for the books, and bytes of one wound that are copied to `damaged/`.
READ_BYTES = 1 << 20
EVIDENCE_MAX = 1 << 20


class Daemon:
    """Everything ave-logd does for one home. Make it only while holding the home's lock."""

    def __init__(self, home: str, routing: Routing) -> None:
        self.home = home
        self.routing = routing
        self.spool = homes.ave(home, "spool")
        io.make_dirs(self.spool)
        self.policy = _policy(home)
        self.watch = Watch(self.spool)
        self.ledger = self._open_ledger()
        self.shippers = self._make_shippers()
        self._stop = Event()
        self._reload = Event()
        self._synced: dict[str, int] = {}
        self._next_sync = self._next_prune = 0.0
        self._books_wait = 0.0

    def stop(self) -> None:
        """Ask for the end; safe in a signal handler."""
        self._stop.set()

    def reload(self) -> None:
        """Ask for the configuration to be read again; safe in a signal handler."""
        self._reload.set()

    def serve(self) -> int:
        """Work until stopped; returns the exit code."""
        for shipper in self.shippers:
            shipper.start()
        log.info("serving %s: %s", self.home, _described(self.routing), extra={"action": "serving"})
        self._note_lost()
        while not self._stop.is_set():
            began = time.monotonic()
            changed = self._look()
            moved = self._work()
            if self._reload.is_set():
                self._reload.clear()
                self._read_configuration()
            if not changed and not moved:
                self._stop.wait(max(LOOK_S, (time.monotonic() - began) / LOOK_SHARE))
        self._end()
        return 0

    def drain(self) -> int:
        """Bring what is in the spool now into the stores; 1 if one of them does not take it."""
        self._note_lost()
        self.watch.look()
        while self._work():
            pass
        spool.close()  # what the books had to say is to be shipped, too
        self.watch.look()
        for shipper in self.shippers:
            while not self._stop.is_set() and shipper.step():
                pass
        while self._work():
            pass
        failed = [f"{shipper.store_name}: {shipper.failure}" for shipper in self.shippers if shipper.failure]
        if self._books_wait > time.monotonic():
            failed.append("the books")
        self._end()
        for line in failed:
            log.error("not drained: %s", line, extra={"action": "not_drained"})
        return 1 if failed or self._stop.is_set() else 0

    # One pass

    def _look(self) -> bool:
        before = self.watch.segments
        changed = self.watch.look()
        if changed and any(name not in self.watch.segments and self.ledger.offset(name) for name in before):
            self._note_lost()
        return changed

    def _work(self) -> bool:
        """Enter what is new in the books and clean up; tell whether there was anything to do."""
        moved = False
        if time.monotonic() >= self._books_wait:
            try:
                moved = self._keep_books()
                moved = self._remove_delivered() or moved
                self._prune()
            except (sqlite3.Error, OSError) as error:
                self.ledger.rollback()
                self._books_wait = time.monotonic() + BOOKS_RETRY_S
                log.warning("the books wait: %s", error, extra={"action": "ledger_down"})
        self._sync_growing()
        return moved

    def _keep_books(self) -> bool:
        """Enter the next part of the spool into the ledger; tell whether there was one."""
        wounds = enter(self.ledger, self.watch, READ_BYTES)
        if not self.ledger.in_batch:
            return False
        for name, damage in wounds:
            self._keep_evidence(name, damage)
        io.reached("books-taken")
        self.ledger.commit()
        io.reached("books-committed")
        self._tell_gaps()
        return True

    def _keep_evidence(self, name: str, damage: Damage) -> None:
        """Copy damaged bytes to where a person can look at them; the name says segment and offset."""
        directory = os.path.join(self.spool, "damaged")
        io.make_dirs(directory)
        segment = reader.Segment(self.spool, name)
        try:
            data = io.pread(segment.fd, min(damage.end - damage.offset, EVIDENCE_MAX), damage.offset)
        finally:
            segment.close()
        io.replace_file(os.path.join(directory, f"{name}-{damage.offset}"), data, durable=False)
        log.error(
            "%d bytes of segment %s at offset %d are damaged; a copy is in %s",
            damage.end - damage.offset,
            name,
            damage.offset,
            directory,
            extra={"action": "damage"},
        )

    def _tell_gaps(self) -> None:
        """Emit a `gap` record for every hole in a segment that is read to its end."""
        for gap, guid in self.ledger.untold():
            body = {**gap._asdict(), "count": gap.last - gap.first + 1, "kinds": {}}
            try:
                spool.append("gap", guid, body, source="ave-logd", home=self.home)
            except SpoolError as error:
                log.warning("a gap is not told yet: %s", error, extra={"action": "gap_waits"})
                return
            self.ledger.tell(gap)
            log.error(
                "records %d to %d of segment %s are %s",
                gap.first,
                gap.last,
                gap.segment,
                gap.reason,
                extra={"action": "gap"},
            )

    def _remove_delivered(self) -> bool:
        """Remove the segments that everybody is past; tell whether there was one."""
        done = [
            name
            for name, seen in self.watch.segments.items()
            if seen.final and self.ledger.is_read(name) and all(name in shipper.done for shipper in self.shippers)
        ]
        if not done:
            return False
        self.ledger.delete(done)
        io.reached("deletion-noted")
        for name in done:
            self._remove(name)
        io.reached("unlinked")
        io.sync_dir(self.spool)
        self.watch.look()
        return True

    def _remove(self, name: str) -> None:
        path = reader.path(self.spool, name)
        try:
            if os.lstat(path).st_size > reader.SEGMENT_MAX:
                self.watch.set_aside(name, "is larger than any segment of ours")
            else:
                io.unlink(path)
        except FileNotFoundError:
            pass
        self._synced.pop(name, None)

    def _note_lost(self) -> None:
        """Note the segments that somebody else removed, with what was in them and not yet stored everywhere."""
        for gap in lose_vanished(self.ledger, self.spool, [route.name for route in self.routing.routes]):
            log.error("segment %s has vanished", gap.segment, extra={"action": "segment_lost"})
        self._tell_gaps()

    def _sync_growing(self) -> None:
        """Make survive a power cut what was written since the last time: policy `host`."""
        if self.policy != "host" or time.monotonic() < self._next_sync:
            return
        self._next_sync = time.monotonic() + SYNC_S
        grown = [(name, seen) for name, seen in self.watch.segments.items() if seen.size > self._synced.get(name, 0)]
        for name, seen in grown[:SYNC_AT_ONCE]:
            try:
                segment = reader.Segment(self.spool, name)
                try:
                    io.sync(segment.fd)
                finally:
                    segment.close()
            except OSError as error:
                log.warning("segment %s cannot be synced: %s", name, error, extra={"action": "sync_failed"})
            self._synced[name] = seen.size

    def _prune(self) -> None:
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + PRUNE_S
            self.ledger.prune()

    # Configuration, begin and end

    def _make_shippers(self) -> list[Shipper]:
        settings = config.load("logd", self.home)
        return [
            Shipper(
                route.name,
                route.kinds,
                partial(open_store, route.url, self.home, route.kinds),
                self.watch,
                batch_records=settings.batch_records,
                retry_max_s=settings.retry_max_s,
            )
            for route in self.routing.routes
        ]

    def _stop_shippers(self) -> None:
        deadline = time.monotonic() + STOP_S
        for shipper in self.shippers:
            shipper.stop()
        for shipper in self.shippers:
            if shipper.is_alive():
                shipper.join(max(0.0, deadline - time.monotonic()))
            else:
                shipper.close()
            if shipper.is_alive():
                # nothing is lost: its batch comes again at the next start
                log.warning("%s does not answer; ending without it", shipper.store_name, extra={"action": "stop_late"})

    def _read_configuration(self) -> None:
        """Take a changed configuration; a broken one is told and the old one stays."""
        before = self.routing
        try:
            self.routing = Routing.read(self.home)
            shippers = self._make_shippers()
        except ConfigError as error:
            self.routing = before
            log.error("the old configuration stays: %s", error, extra={"action": "reload_failed"})
            return
        self._stop_shippers()
        self.shippers = shippers
        self.ledger.routed = KINDS - self.routing.unrouted
        for shipper in self.shippers:
            shipper.start()
        log.info("read the configuration again: %s", _described(self.routing), extra={"action": "reloaded"})

    def _end(self) -> None:
        self._stop_shippers()
        self.ledger.close()
        spool.close()
        log.info("ended", extra={"action": "ended"})

    def _open_ledger(self) -> Ledger:
        """Open the books; broken ones are set aside and new ones begun: nothing in the spool stops a start."""
        path = os.path.join(self.spool, "ledger.db")
        routed = KINDS - self.routing.unrouted
        try:
            return Ledger(path, routed)
        except sqlite3.DatabaseError as error:
            damaged = os.path.join(self.spool, "damaged")
            log.error("ledger.db is set aside in %s: %s", damaged, error, extra={"action": "ledger_damaged"})
            io.make_dirs(damaged)
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(path + suffix):
                    io.rename(path + suffix, os.path.join(damaged, f"ledger-{time.time_ns()}.db{suffix}"))
            return Ledger(path, routed)


def _policy(home: str) -> str:
    try:
        policy: str = homes.load("panotti", home)["spool"]["policy"]
    except FileNotFoundError:
        return str(homes.SPOOL["policy"][1])
    return policy


def _described(routing: Routing) -> str:
    return "; ".join(f"{route.name} takes {' '.join(sorted(route.kinds))}" for route in routing.routes) or "no store"
