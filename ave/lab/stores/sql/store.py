"""A store on MariaDB, MySQL or SQLite: each row of measurements in its own table, everything else in `ave_records`.

A batch is one transaction. A row's key is its record's id (and time, which divides tables into months); an insert that
meets it changes nothing, and what is there is compared. Measurements that fit into no table are kept as records.
"""

from __future__ import annotations

import heapq
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, desc, func, literal_column, or_, select, text, tuple_

from ave.exceptions import AveException, UsageError
from ave.lab.stores.base import Rejected, Store, is_start_of, matches, order, unopened
from ave.lab.stores.seen import Seen
from ave.lab.stores.sql.engine import Database, NoDatabase, explained
from ave.lab.stores.sql.putting import Batch, limit_packets
from ave.lab.stores.sql.rows import moment, record_of
from ave.lab.stores.sql.schema import Schema, bare
from ave.lab.stores.sql.sorting import SortedBatch
from ave.lab.stores.sql.tables import Catalogue, Measured
from ave.record import KINDS, Query, Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, RowMapping, Select, TableClause

__all__ = ["SqlStore"]

#: Rows that are read at once, over all tables.
PAGE = 2000

_TIMES = range(-(2**63), 2**63)


class SqlStore(Store):
    """Records as rows, see the module.

    Args:
        url: `mysql://[user:password@]host[:port][/database]` and options, see `ave.lab.stores.servers`; or
            `sqlite+tables://` and the absolute path of a file.
        kinds: what is kept there.
        readonly: for asking only; where there is no database, there are no records.

    Raises:
        ConfigError: the URL is not of this form.
    """

    #: A transaction ends with a sync of the server's disk, which costs the same for many rows as for few.
    batch_bytes = 512 * 1024

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self._readonly = readonly
        self._database = Database(url, readonly=readonly)
        self._open: _Open | None = None
        self._seen = Seen()

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store a batch in one transaction, see `Store.put`."""
        if self._readonly:
            raise UsageError(f"{self._database.place} was opened for reading only")
        with self._opened() as opened:
            assert opened is not None
            rejected = opened.put(batch, self._seen)
        self._seen.add(batch)
        return rejected

    def prepare(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Sort a batch by tables and make rows, see `Store.prepare`."""
        opened = self._open
        catalogue = opened.catalogue if opened else None
        return SortedBatch(batch, catalogue.tables) if catalogue else batch

    def find(self, query: Query) -> Iterator[Record]:
        """Give what matches, see `Store.find`. No transaction is open while the caller holds a record."""
        guids = [query.guid]
        if query.job is not None:
            starts = self._merged(Query(guid=query.guid, kinds=("event",)), [query.guid])
            guids = list(dict.fromkeys(record.guid for record in starts if is_start_of(record, query.job)))
        yield from islice(self._merged(query, guids), query.limit)

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count by kind, see `Store.count`."""
        counts: dict[str, int] = {}
        with self._opened() as opened:
            for measured, table in opened.sources() if opened else ():
                kind = table.c.ave_kind if measured is None else text("'measurement'")
                asked = select(kind, func.count()).select_from(table).where(table.c.ave_guid == guid)
                if hosts:
                    asked = asked.where(table.c.ave_host.in_(hosts))
                if measured is None:
                    asked = asked.group_by(table.c.ave_kind)
                for name, number in opened.connection.execute(asked) if opened else ():
                    if number:
                        counts[name] = counts.get(name, 0) + number
        return counts

    def close(self) -> None:
        """Close the connection. The next use opens another."""
        if self._open is not None:
            self._open.close()
        self._open = None
        self._seen = Seen()

    def _merged(self, query: Query, guids: list[str | None]) -> Iterator[Record]:
        with self._opened() as opened:
            sources = list(opened.sources(query.kinds)) if opened else []
        streams = [
            self._stream(*source, query, guid, len(sources) * len(guids)) for source in sources for guid in guids
        ]
        yield from heapq.merge(*streams, key=order, reverse=query.newest)

    def _stream(
        self, measured: Measured | None, table: TableClause, query: Query, guid: str | None, streams: int
    ) -> Iterator[Record]:
        """Give the matching records of one table, page by page."""
        size = max(20, PAGE // streams)
        if query.limit is not None:
            size = min(size, query.limit)
        last: Record | None = None
        while True:
            with self._opened() as opened:
                if opened is None:
                    return
                asked = _page(opened.connection, table, query, guid, last).limit(size)
                rows = opened.connection.execute(asked).mappings().all()
                measured = opened.knowing(measured, rows)
            for row in rows:
                last = record_of(row, measured)
                if matches(query, last) and (guid is None or last.guid == guid):
                    yield last
            if len(rows) < size:
                return

    @contextmanager
    def _opened(self) -> Iterator[_Open | None]:
        """Lend the open connection, None if there is nothing to read; whatever goes wrong closes it."""
        try:
            opened = self._open or self._begin()
            yield opened
            # what has been read only would keep other hosts from changing those tables
            opened.connection.rollback()
        except NoDatabase:
            yield None
        except BaseException as error:
            self.close()
            if isinstance(error, UnicodeEncodeError):
                raise UsageError(f"no record can have such a value: {error}") from error
            meaning = None if isinstance(error, AveException) else explained(self._database.place, error)
            if meaning is None:
                raise
            raise meaning from error

    def _begin(self) -> _Open:
        """Connect; whatever goes wrong at that is about no record."""
        try:
            self._open = _Open(self._database.connect(), self._database.place)
            self._open.begin(readonly=self._readonly)
            return self._open
        except (AveException, NoDatabase):
            raise
        except Exception as error:
            raise explained(self._database.place, error) or unopened(self._database.place, error) from error


class _Open:
    """An open connection, the tables there are, and what the server takes."""

    def __init__(self, connection: Connection, place: str) -> None:
        self.connection = connection
        self.packet = 0
        self.schema = Schema(connection)
        self.catalogue: Catalogue | None = None
        self._place = place

    def begin(self, *, readonly: bool) -> None:
        """Ask what the server takes and what tables there are; who may write sees that they are up to date."""
        if readonly:
            self._load()
        else:
            self.packet = limit_packets(self.connection, self._place)
            self.schema.prepare(self.connection, self._place)
            self.catalogue = Catalogue(self.schema, self.connection)

    def put(self, batch: Sequence[Record], seen: Seen) -> list[Rejected]:
        """Store a batch, see `Store.put`."""
        assert self.catalogue is not None
        return Batch(self.connection, self.schema.records, self.catalogue, self._place).put(batch, seen)

    def sources(self, kinds: Collection[str] = ()) -> Iterator[tuple[Measured | None, TableClause]]:
        """Give all tables that may have records of these kinds, of all if there are none."""
        if self.catalogue is None:
            self._load()
        if self.catalogue is None:
            return
        yield None, self.schema.records
        if not kinds or "measurement" in kinds:
            for measured in self.catalogue.present():
                yield measured, bare(measured.sql_name)

    def knowing(self, measured: Measured | None, rows: Sequence[RowMapping]) -> Measured | None:
        """Return a table as it is now if its rows have columns that it had not, or whose are not known yet."""
        if measured is None or not rows or measured.knows(rows[0].keys()):
            return measured
        assert self.catalogue is not None
        self.catalogue.load(measured.name)
        return self.catalogue.tables.get(measured.name, measured)

    def close(self) -> None:
        """Close the connection, whatever has become of it."""
        try:
            self.connection.close()
        except Exception:  # noqa: BLE001 - it is being thrown away
            self.connection.invalidate()
        self.connection.engine.dispose()

    def _load(self) -> None:
        if self.schema.version(self.connection, self._place):
            self.catalogue = Catalogue(self.schema, self.connection)


def _page(
    connection: Connection, table: TableClause, query: Query, guid: str | None, last: Record | None
) -> Select[Any]:
    """Make the statement for the rows behind `last`; what it does not ask, `matches` does."""
    columns = table.c
    letters = func.length(columns.ave_id) if connection.dialect.name == "sqlite" else func.char_length(columns.ave_id)
    key = [columns.ave_time, columns.ave_ns, letters, columns.ave_id]
    conditions: list[ColumnElement[bool]] = []
    if guid is not None:
        conditions.append(columns.ave_guid == guid)
    if query.kinds and "ave_kind" in columns:
        conditions.append(columns.ave_kind.in_(query.kinds))
    if query.host is not None:
        conditions.append(columns.ave_host == query.host)
    if query.source is not None:
        conditions.append(columns.ave_source == query.source)
    if query.since is not None:
        conditions += _not_before(columns, query.since)
    if query.until is not None:
        conditions += _not_behind(columns, query.until - 1)
    if last is not None:
        values = (*moment(last.time), len(last.id), last.id)
        conditions += (_not_behind if query.newest else _not_before)(columns, last.time)
        here = tuple_(*key)
        conditions.append(here < values if query.newest else here > values)
    # all the columns there are, whatever we know
    asked: Select[Any] = select(literal_column("*")).select_from(table).where(and_(True, *conditions))
    return asked.order_by(*(desc(part) if query.newest else part for part in key))


def _not_before(columns: Any, time: int) -> list[ColumnElement[bool]]:
    """Return `time >= ...`, its first part alone so that an index serves it."""
    whole, rest = moment(min(max(time, _TIMES[0]), _TIMES[-1]))
    return [columns.ave_time >= whole, or_(columns.ave_time > whole, columns.ave_ns >= rest)]


def _not_behind(columns: Any, time: int) -> list[ColumnElement[bool]]:
    whole, rest = moment(min(max(time, _TIMES[0]), _TIMES[-1]))
    return [columns.ave_time <= whole, or_(columns.ave_time < whole, columns.ave_ns <= rest)]
