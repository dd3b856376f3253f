"""The daemon: looks at the spool, keeps the books, lets one shipper per store work, and cleans up behind them.

A segment is removed only when it is final, every record of it is in the books, and every store is past it, all
three durably. Whatever happens between two steps, the next start goes on from there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ave import home as homes
from ave import io, spool
from ave.exceptions import ConfigError, SpoolError
from ave.lab import config
from ave.lab.config import Routing
from ave.lab.logd.bookkeeper import Bookkeeper
from ave.lab.logd.places import make_way
from ave.lab.logd.shipper import Shipper
from ave.lab.logd.watch import Watch
from ave.spool import reader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ave.lab.logd.watch import Seen

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

#: Seconds between two looks at the spool; a look that takes long makes the pause longer, to `LOOK_SHARE` of the time.
LOOK_S = 0.3
LOOK_SHARE = 0.1

#: Seconds between two syncs of the segments that grow, under the policy `host`.
SYNC_S = 0.5

#: Segments that one such turn syncs at most: a backlog of thousands is clean on the disk already.
SYNC_AT_ONCE = 200

#: Seconds within which a stop ends, and the part of them that shippers have for the batch they are at.
STOP_S = 4.0

#: Seconds after which the books are tried again when they could not be written.
BOOKS_RETRY_S = 1.0

#: Seconds: the longest pause of a shipper whose store is a file on this host. No other host asks it, too, and it
#: is to go on as soon as its disk has room again.
LOCAL_RETRY_S = 1.0


class Daemon:
    """Everything ave-logd does for one home. Make it only while holding the home's lock.

    Attributes:
        failure: why the books cannot be kept at the moment; empty while they can.

    Raises:
        ConfigError: the configuration is wrong, or a newer version keeps the books.
        StoreUnavailable: the books cannot be opened now.
    """

    def __init__(self, home: str, routing: Routing) -> None:
        self.home = home
        self.routing = routing
        self.spool = homes.ave(home, "spool")
        self.policy = _policy(home)
        self.failure = ""
        self.watch = Watch(self.spool)
        # unlike an Event, whose lock a handler may find taken by the very thread it interrupts
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.shippers = self._make_shippers()
        # nothing is touched before the configuration is known to be good
        io.make_dirs(self.spool)
        self._make_way()
        self.books = Bookkeeper(home, self.watch, routing)
        self._is_stopping = self._is_reloading = False
        self._synced: dict[str, int] = {}
        self._next_sync = 0.0
        self._books_wait = 0.0

    def stop(self) -> None:
        """Ask for the end; safe in a signal handler."""
        self._is_stopping = True
        self._bell.put(None)

    def reload(self) -> None:
        """Ask for the configuration to be read again; safe in a signal handler."""
        self._is_reloading = True
        self._bell.put(None)

    def serve(self) -> int:
        """Work until stopped; returns the exit code."""
        for shipper in self.shippers:
            shipper.start()
        log.info("serving %s: %s", self.home, _described(self.routing), extra={"action": "serving"})
        books = self.books
        # what frees the disk comes before what needs room on it
        steps = self._look, books.note_lost, books.keep, self._remove_delivered, books.prune, books.tell_gaps
        while not self._is_stopping:
            began = time.monotonic()
            moved = self._take(*steps)
            self._sync_growing()
            if self._is_reloading:
                self._is_reloading = False
                self._read_configuration()
            if not moved:
                self._pause(max(LOOK_S, (time.monotonic() - began) / LOOK_SHARE))
        self._end()
        return 0

    def drain(self) -> int:
        """Bring what is in the spool now into the stores; 1 if one of them does not take it."""
        self._take(self._look, self.books.note_lost)
        while self._take(self.books.keep):
            pass
        while self._take(self.books.tell_gaps):
            pass
        spool.close()  # what the books had to say is to be shipped, too
        self._take(self._look)
        for shipper in self.shippers:
            while not self._is_stopping and shipper.step():
                pass
        while self._take(self.books.keep, self._remove_delivered):
            pass
        failed = [f"{shipper.store_name}: {shipper.failure}" for shipper in self.shippers if shipper.failure]
        if self.failure:
            failed.append(f"the books: {self.failure}")
        self._end()
        for line in failed:
            log.error("not drained: %s", line, extra={"action": "not_drained"})
        return 1 if failed or self._is_stopping else 0

    def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody asks for something, or a store is past a segment."""
        try:
            self._bell.get(timeout=seconds)
        except Empty:
            pass

    # The steps of one pass; each tells whether there was anything to do

    def _take(self, *steps: Callable[[], bool]) -> bool:
        """Take steps; one that fails is told, and taken again `BOOKS_RETRY_S` later.

        StoreUnavailable: the books are broken, and no new ones can be begun.
        """
        if self._is_stopping or time.monotonic() < self._books_wait:
            return False
        try:
            results = [step() for step in steps]
        except (sqlite3.Error, OSError, SpoolError) as error:
            self._failed(error)
            return False
        except Exception as error:
            log.exception("nobody foresaw this", extra={"action": "daemon_error"})
            self._failed(error)
            return False
        self.failure = ""
        return any(results)

    def _failed(self, error: Exception) -> None:
        self._books_wait = time.monotonic() + BOOKS_RETRY_S
        if str(error) != self.failure:
            log.warning("the books wait: %s", error, extra={"action": "books_wait"})
        self.failure = str(error)
        self.books.recover(error)

    def _look(self) -> bool:
        before = self.watch.segments
        changed = self.watch.look()
        if changed and (self._is_some_gone(before) or self._is_some_another(before)):
            self.books.look_for_lost()
        io.reached("looked")
        return changed

    def _is_some_gone(self, before: Collection[str]) -> bool:
        return any(name not in self.watch.segments and self.books.ledger.offset(name) for name in before)

    def _is_some_another(self, before: Mapping[str, Seen]) -> bool:
        news = [item for item in self.watch.segments.items() if before.get(item[0]) is not item[1]]
        return any(self.books.ledger.is_another(name, seen) for name, seen in news)

    def _remove_delivered(self) -> bool:
        """Remove the segments that everybody is past; tell whether there was one."""
        done = [
            name
            for name, seen in self.watch.segments.items()
            if seen.final
            and self.books.ledger.is_read(name)
            and all(name in shipper.done for shipper in self.shippers)
            and self.watch.is_still(name, seen)  # asked last: what was shipped was read in this very file
        ]
        if not done:
            return False
        self.books.ledger.delete(done)
        io.reached("deletion-noted")
        for name in done:
            self._remove(name)
        io.sync_dir(self.spool)
        io.reached("directory-synced")
        self._look()
        return True

    def _remove(self, name: str) -> None:
        path = reader.path(self.spool, name)
        try:
            if os.lstat(path).st_size > reader.SEGMENT_MAX:
                self.watch.set_aside(name, "is larger than any segment of ours")
            else:
                io.unlink(path)
                io.reached("segment-unlinked")
        except FileNotFoundError:
            pass
        self._synced.pop(name, None)

    def _sync_growing(self) -> None:
        """Make survive a power cut what was written since the last time: policy `host`."""
        if self.policy != "host" or time.monotonic() < self._next_sync:
            return
        self._next_sync = time.monotonic() + SYNC_S
        grown = [(name, seen) for name, seen in self.watch.segments.items() if seen.size > self._synced.get(name, 0)]
        grown.sort(key=lambda item: item[1].final)  # what a live job writes does not wait behind a backlog
        for name, seen in grown[:SYNC_AT_ONCE]:
            try:
                with closing(reader.Segment(self.spool, name)) as segment:
                    io.sync(segment.fd)
                if name not in self._synced:
                    io.sync_dir(self.spool)
            except OSError as error:
                log.warning("segment %s cannot be synced: %s", name, error, extra={"action": "sync_failed"})
            self._synced[name] = seen.size

    # Configuration, begin and end

    def _make_shippers(self) -> list[Shipper]:
        settings = config.load("logd", self.home)
        local_s = min(settings.retry_max_s, LOCAL_RETRY_S)
        return [
            Shipper(
                route.name,
                route.kinds,
                partial(route.open, self.home),
                self.watch,
                batch_records=settings.batch_records,
                retry_max_s=local_s if route.url.startswith("sqlite:") else settings.retry_max_s,
                on_done=partial(self._bell.put, None),
            )
            for route in self.routing.routes
        ]

    def _make_way(self) -> None:
        make_way(self.spool, [route.name for route in self.routing.routes])

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
            for problem in config.wrong_stores(self.home):
                raise problem.error()
            self.routing, policy = Routing.read(self.home), _policy(self.home)
            shippers = self._make_shippers()
        except Exception as error:
            self.routing = before
            unforeseen = None if isinstance(error, ConfigError) else error
            action = {"action": "reload_failed"}
            log.error("the old configuration stays: %s", error, exc_info=unforeseen, extra=action)
            return
        homes.forget()
        self.policy = policy
        for shipper in self.shippers:
            # not waited for: what it still brings home twice is stored once
            shipper.stop()
        self._make_way()
        self.shippers = shippers
        self.books.follow(self.routing)
        for shipper in self.shippers:
            shipper.start()
        log.info("read the configuration again: %s", _described(self.routing), extra={"action": "reloaded"})

    def _end(self) -> None:
        self._stop_shippers()
        self.books.ledger.close()
        spool.close()
        log.info("ended", extra={"action": "ended"})


def _policy(home: str) -> str:
    return str(config.load("panotti", home).spool["policy"])


def _described(routing: Routing) -> str:
    return "; ".join(f"{route.name} takes {' '.join(sorted(route.kinds))}" for route in routing.routes) or "no store"
