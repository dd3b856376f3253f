"""All stores of a home asked as if they were one: merged by time, each record once.

A store that cannot be asked is noted and left out, and the others answer.
"""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.config import Routing
from ave.lab.stores import order
from ave.record import Query, Record, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from ave.lab.stores import Store

    Patience = Callable[[str], AbstractContextManager[object]]

__all__ = ["Follower", "Stores", "find", "open_stores", "story"]

#: Records that may come between the beginning of a long body and what continues it, which its process wrote next.
WINDOW = 256

#: Continuations of one record that are put together: 16 MiB of it.
PIECES_MAX = 256

#: Seconds a record may take from its process to its store and still be seen by a `Follower`; and those for which a
#: store may be away and what it gets then still be seen.
LOOKBACK_S = 10.0
AWAY_S = 60.0


class Stores:
    """The stores of one home, open for asking, a context manager. For one thread.

    Args:
        stores: name -> store.
        unusable: name of a store that could not even be opened -> why.
        patience: given the name of a store, a context manager for the time in which it has not answered.

    Attributes:
        failed: name of a store -> why it could not be asked, for the last `find`.
    """

    def __init__(
        self, stores: dict[str, Store], unusable: Mapping[str, str] | None = None, patience: Patience = nullcontext
    ) -> None:
        self._stores = stores
        self._unusable = dict(unusable or {})
        self._patience = patience
        self.failed: dict[str, str] = {}

    def find(self, query: Query) -> Iterator[Record]:
        """Give the records for which the whole query holds, ordered as `Store.find` orders them.

        Memory does not grow with the answer.

        Raises:
            StoreUnavailable: not one store could be asked; raised behind the last record.
        """
        self.failed = dict(self._unusable)
        yield from islice(self._once(query), query.limit)
        if self.failed and len(self.failed) == len(self._stores) + len(self._unusable):
            raise StoreUnavailable("; ".join(self.failed.values()))

    @property
    def away(self) -> set[str]:
        """The names of those that `failed`, but may answer the next question."""
        return self.failed.keys() - self._unusable.keys()

    def close(self) -> None:
        """Close all stores. Safe to call twice."""
        for store in self._stores.values():
            store.close()

    def __enter__(self) -> Stores:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _once(self, query: Query) -> Iterator[Record]:
        streams = [self._asked(name, part) for part in self._parts(query) for name in self._stores]
        last = None
        for record in heapq.merge(*streams, key=order, reverse=query.newest):
            if record.id != last:
                yield record
            last = record.id

    def _asked(self, name: str, query: Query) -> Iterator[Record]:
        try:
            with self._patience(name):
                answers = self._stores[name].find(query)
                first = next(answers, None)
            if first is not None:
                yield first
            yield from answers
        except (StoreUnavailable, ConfigError) as error:
            self.failed[name] = str(error)

    def _parts(self, query: Query) -> list[Query]:
        """Return what to ask each store: of several, the one that knows the jobs may not have what belongs to them."""
        if query.job is None or len(self._stores) < 2:
            return [query]
        starts = Query(kinds=("event",), job=query.job, guid=query.guid)
        guids = {record.guid for name in self._stores for record in self._asked(name, starts)}
        return [_changed(query, guid=guid, job=None) for guid in sorted(guids)]


class Follower:
    """Gives what comes into the stores while it comes.

    Stores know when a record was made, not when they got it. So each look goes back `LOOKBACK_S`, and to where a store
    that is away was asked last, `AWAY_S` at most; a record that takes longer to get there is not seen here.
    `Stores.find` has it.
    """

    def __init__(self, stores: Stores, guid: str | None = None) -> None:
        self._stores = stores
        self._guid = guid
        self._looked_ns = time.time_ns()
        self._seen: dict[str, int] = {}

    def last(self, count: int) -> list[Record]:
        """Return the newest `count` records there are, oldest first; `new` goes on behind them."""
        self.new()
        found = list(self._stores.find(Query(guid=self._guid, limit=count, newest=True))) if count else []
        self._seen |= {record.id: record.time for record in found}
        return found[::-1]

    def new(self) -> list[Record]:
        """Return the records that are there since the last call, in order of time."""
        now = time.time_ns()
        since = max(min(self._looked_ns, now), now - int(AWAY_S * 1e9)) - int(LOOKBACK_S * 1e9)
        found = list(self._stores.find(Query(guid=self._guid, since=since)))
        fresh = [record for record in found if record.id not in self._seen]
        # what a store that gives no answer had before must not be new when it does again
        known = {id_: time for id_, time in self._seen.items() if time >= since}
        self._seen = known | {record.id: record.time for record in found}
        if not self._stores.away:
            self._looked_ns = now
        return fresh


def open_stores(home: str, patience: Patience = nullcontext) -> Stores:
    """Open all enabled stores of a home that can be asked; ConfigError names what is wrong in which file.

    `patience` is as for `Stores`.
    """
    stores: dict[str, Store] = {}
    unusable: dict[str, str] = {}
    for route in Routing.read(home).routes:
        try:
            stores[route.name] = route.open(home, readonly=True)
        except ConfigError as error:
            unusable[route.name] = str(error)
    return Stores({name: store for name, store in stores.items() if store.answers}, unusable, patience)


def find(home: str, query: Query) -> Iterator[Record]:
    """Ask all enabled stores of a home; see `Stores.find`."""
    with open_stores(home) as stores:
        yield from stores.find(query)


def story(records: Iterable[Record]) -> Iterator[Record]:
    """Put long bodies together again in a stream in order of time, holding only a window of it."""
    window: OrderedDict[str, list[Record]] = OrderedDict()
    for record in records:
        pieces = window.get(record.body.get("_continues", ""))
        if pieces is None:
            window[record.id] = [record]
        elif len(pieces) <= PIECES_MAX:
            pieces.append(record)
        if len(window) > WINDOW:
            yield from joined(window.popitem(last=False)[1])
    for pieces in window.values():
        yield from joined(pieces)


def _changed(query: Query, **changes: Any) -> Query:
    return Query(**{name: getattr(query, name) for name in Query.__slots__} | changes)
