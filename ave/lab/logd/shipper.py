"""One store, one thread, one cursor: take a batch, put it, set aside what was refused, move the cursor.

The order is the guarantee. The cursor moves only when every record of the batch is stored or a dead letter, both
durable; whatever the moment of a crash, the same batch comes again, and the store knows its records by their ids.
While a batch is put, the next one is read ahead; a failure forgets it, and reading begins at the cursor again.
"""

from __future__ import annotations

import logging
import os
import random
from threading import Event, Thread
from typing import TYPE_CHECKING

from ave import io
from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.logd.batches import Batches
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores.base import put_all
from ave.spool.cursors import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ave.lab.logd.watch import Watch
    from ave.lab.stores.base import Rejected, Store

__all__ = ["Shipper"]

log = logging.getLogger(__name__)

#: Records of one batch: enough to hide a round trip, few enough to repeat. How many bytes, each store says.
BATCH_RECORDS = 1000

#: Seconds: the first and the longest pause after a failure. Full jitter, so that hosts do not come back together.
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 60.0

#: Seconds after which a shipper looks again though nothing was notified.
IDLE_S = 1.0


class Shipper(Thread):
    """Brings the records of some kinds into one store.

    Args:
        on_done: called from the thread when `done` has grown.

    Attributes:
        done: names of final segments of which everything is stored, and the cursor says so durably.
        failure: why the store takes nothing at the moment; empty while it does.
    """

    def __init__(
        self,
        name: str,
        kinds: frozenset[str],
        opener: Callable[[], Store],
        watch: Watch,
        *,
        batch_records: int = BATCH_RECORDS,
        retry_max_s: float = RETRY_MAX_S,
        on_done: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name=f"ship-{name}", daemon=True)
        self.batch_records = batch_records
        self.retry_max_s = retry_max_s
        self.store_name = name
        self.watch = watch
        self._kinds = kinds
        self.done: frozenset[str] = frozenset()
        self.failure = ""
        self._open = opener
        self._on_done = on_done
        self._store: Store | None = None
        self._cursor: Cursor | None = None
        self._batches = Batches(watch, kinds, batch_records)
        self._letters = DeadLetters(watch.spool, name)
        self._ending = Event()
        self._failures = 0
        self._asked_s = 0.0

    def stop(self) -> None:
        """Ask the thread to end after the batch it is at."""
        self._ending.set()
        with self.watch.changed:
            self.watch.changed.notify_all()

    def run(self) -> None:
        """Ship until stopped."""
        while not self._ending.is_set():
            segments = self.watch.segments
            if self.step():
                continue
            if self.failure:
                self._ending.wait(self._pause())
                continue
            with self.watch.changed:
                if self.watch.segments is segments and not self._ending.is_set():
                    self.watch.changed.wait(IDLE_S)
        self.close()

    def close(self) -> None:
        """Release store and cursor."""
        self._batches.close()
        self._close_store()
        if self._cursor:
            self._cursor.close()
        self._cursor = None

    def waiting(self) -> int:
        """Return how many bytes of the spool it has not been past; from any thread."""
        positions = self._cursor.positions if self._cursor else {}
        return sum(seen.size - positions.get(name, (0, 0))[0] for name, seen in self.watch.segments.items())

    def step(self) -> bool:
        """Ship one batch; tell whether there was one. A failure is noted in `failure`, never raised."""
        try:
            moved = self._ship()
        except (StoreUnavailable, ConfigError, OSError) as error:
            self._failed(error)
            return False
        except Exception as error:
            log.exception("%s: nobody foresaw this", self.store_name, extra={"action": "shipper_error"})
            self._failed(error)
            return False
        if self.failure:
            log.info("%s takes records again", self.store_name, extra={"action": "store_back"})
        self.failure, self._failures = "", 0
        return moved

    def _ship(self) -> bool:
        path = os.path.join(self.watch.spool, "cursors", self.store_name)
        cursor = self._cursor = self._cursor or Cursor(path, self._kinds)
        store = self._store = self._store or self._open()
        batch, positions = self._batches.take(cursor.positions, store)
        io.reached("batch-read")
        if positions:
            self._batches.read_ahead({**cursor.positions, **positions}, store)
        if batch:
            rejected = put_all(store, batch)
            io.reached("batch-stored")
            if rejected:
                self._bury(rejected)
                io.reached("letters-written")
        if positions:
            cursor.move(positions)
            io.reached("cursor-moved")
        self._note_done(cursor)
        return bool(positions)

    def _bury(self, rejected: list[Rejected]) -> None:
        self._letters.add(rejected)
        for letter in rejected:
            log.error(
                "%s can never store %s: %s; `ave spool retry` sends it again once that is mended",
                self.store_name,
                letter.record.id,
                letter.reason,
                extra={"action": "dead_letter"},
            )

    def _note_done(self, cursor: Cursor) -> None:
        """Note the segments that this store needs no more, once the cursor says so durably."""
        segments = self.watch.segments
        positions = cursor.positions
        done = frozenset(
            name for name, seen in segments.items() if seen.final and positions.get(name, (0, 0))[0] >= seen.size
        )
        is_more = not done <= self.done
        if is_more:
            cursor.sync()
            io.reached("cursor-synced")
        self.done = done
        if is_more:
            self._on_done()
        cursor.forget([name for name in positions if name not in segments])

    def _failed(self, error: Exception) -> None:
        details = error.details if isinstance(error, StoreUnavailable) else {}
        why = str(error) or type(error).__name__
        if why != self.failure:
            log.warning(
                "%s takes nothing, its records wait: %s",
                self.store_name,
                why,
                exc_info=error if "unforeseen" in details else None,
                extra={"action": "store_down"},
            )
        self.failure = why
        self._failures += 1
        asked = details.get("retry_after_s")
        self._asked_s = min(max(0.0, asked), self.retry_max_s) if isinstance(asked, int | float) else 0.0
        self._batches.forget()
        self._close_store()

    def _close_store(self) -> None:
        """Let go of the store; some package's may fail even at that, which must not end the thread."""
        store, self._store = self._store, None
        if store:
            try:
                store.close()
            except Exception:
                log.exception("%s cannot be closed", self.store_name, extra={"action": "shipper_error"})

    def _pause(self) -> float:
        """Return how long to wait, at least what the server asked for."""
        most = min(self.retry_max_s, RETRY_FIRST_S * 2.0 ** min(self._failures, 20))
        return self._asked_s + random.uniform(0, most)  # noqa: S311
