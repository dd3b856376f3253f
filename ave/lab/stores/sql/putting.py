"""A batch on its way into the tables."""

from __future__ import annotations

import logging
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc, select, text
from sqlalchemy.dialects import mysql, sqlite

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores.base import DIFFERENT, UNSTORABLE, Rejected
from ave.lab.stores.sql.engine import explained, is_changed
from ave.lab.stores.sql.rows import base_row, measured_row, month, record_of
from ave.lab.stores.sql.sorting import SortedBatch
from ave.lab.stores.sql.tables import wanted
from ave.lab.stores.sql.values import NUMBERS, WHOLE, decided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Dialect, Table

    from ave.lab.stores.seen import Seen
    from ave.lab.stores.sql.sorting import Rows
    from ave.lab.stores.sql.tables import Catalogue, Measured
    from ave.record import Record

__all__ = ["Batch", "limit_packets"]

log = logging.getLogger(__name__)

#: Bytes of a statement of several rows: a thousand of the usual size, and what the server looks at at one go.
STATEMENT_BYTES = 1024 * 1024

#: Characters of the year and the month of an `ave_time`.
MONTH = len("2026-11")

#: Bytes that a packet needs besides the values of a row, and that the server must take.
PACKET_ROOM = 64 * 1024
PACKET_MIN = 1024 * 1024

#: Tables and columns that values did not fit into, as told in the log already.
_told: set[tuple[str, str]] = set()


class Batch:
    """Puts the records of one batch, table by table, a transaction each."""

    def __init__(self, connection: Connection, records: Table, catalogue: Catalogue, place: str) -> None:
        self._connection = connection
        self._records = records
        self._catalogue = catalogue
        self._place = place
        self._rejected: list[Rejected] = []
        self._mended: set[str] = set()
        # what no table takes
        self._plain: list[Record] = []

    def put(self, batch: Sequence[Record], seen: Seen) -> list[Rejected]:
        """Store them; see `Store.put`."""
        doubtful = {record.id for record in seen.doubtful(batch)}
        made = batch if isinstance(batch, SortedBatch) else SortedBatch(batch, self._catalogue.tables)
        self._rejected += made.rejected
        self._catalogue.learn(made.groups)
        for name, records in made.groups.items():
            self._put_group(name, records, made, doubtful)
        self._put(self._plain_rows(), None, doubtful)
        return self._rejected

    def _put_group(self, name: str | None, records: list[Record], made: SortedBatch, doubtful: set[str]) -> None:
        """Put the records of a table; if somebody has dropped it, or a part of it, make that anew first."""
        before = len(self._rejected)
        try:
            self._put(*self._made(name, records, made), doubtful)
        except exc.DBAPIError as error:
            if name is None or not is_changed(error):
                raise
            del self._rejected[before:]
            self._catalogue.mend(name)
            self._mended.add(name)
            self._put(*self._rows(records, self._table(name, records)), doubtful)

    def _made(self, name: str | None, records: list[Record], made: SortedBatch) -> tuple[Rows, Measured | None]:
        """Return the rows of a table, those that were made beforehand if the table is as it was then."""
        if name is None:
            return self._rows(records, None)
        measured, rows = made.rows.get(name, (None, {}))
        if measured is None or measured is not self._catalogue.tables.get(name):
            return self._rows(records, self._table(name, records))
        return rows, measured

    def _table(self, name: str, records: list[Record]) -> Measured | None:
        """Return the table, with all columns that these rows need if it can have them; None if it cannot be."""
        asked: dict[str, dict[str, Any]] = {}
        known = self._catalogue.tables.get(name)
        for record in records:
            row, columns = record.body["row"], record.body.get("columns")
            if columns or known is None or not row.keys() <= known.columns.keys():
                for column, about in wanted(row, columns).items():
                    asked.setdefault(column, about)
        return self._catalogue.tables[name] if self._catalogue.ensure(name, asked) else None

    def _rows(self, records: list[Record], measured: Measured | None) -> tuple[Rows, Measured | None]:
        """Make the rows, and let the first value that a column of whole numbers does not hold decide its type.

        None for what no table takes: that is put at the end, together.
        """
        rows: Rows = {}
        if measured is None:
            self._plain += records
            return rows, None
        misfits: list[tuple[str, Any]] = []
        refused = []
        for record in records:
            try:
                row, missed = measured_row(record, measured)
            except UNSTORABLE as error:
                refused.append(_unstorable(record, error))
            else:
                misfits += missed.items()
                rows[record.id] = record, row
        if misfits:
            types = _types(measured, misfits)
            if types and self._catalogue.decide(measured.name, types):
                return self._rows(records, self._table(measured.name, records))
            _tell(measured, dict(misfits))
        self._rejected += refused
        return rows, measured

    def _plain_rows(self) -> Rows:
        """Make the rows of what no table takes."""
        rows: Rows = {}
        for record in self._plain:
            try:
                rows[record.id] = record, self._plain_row(record)
            except UNSTORABLE as error:
                self._rejected.append(_unstorable(record, error))
        return rows

    def _plain_row(self, record: Record) -> tuple[Any, ...]:
        return (*base_row(record, record.body), record.kind)

    def _put(self, rows: Rows, measured: Measured | None, doubtful: set[str]) -> None:
        table = self._records if measured is None else measured.table
        for when in {row[1][:MONTH] for _, row in rows.values()}:
            self._catalogue.months.divide(table, month(when))
        again = [name for name in rows if name in doubtful]
        if again:
            there = self._judged(again, rows, measured)
            if measured is not None:
                # its table could not take one of them before
                there |= self._judged(again, rows, None)
            rows = {name: item for name, item in rows.items() if name not in there}
        refused = self._insert(rows, measured)
        if measured is None:
            self._rejected += [_unstorable(rows[name][0], why) for name, why in refused.items()]
        elif refused:
            told = "rows of %r are kept in ave_records, %d of them: %s"
            why = next(iter(refused.values()))
            log.warning(told, measured.name, len(refused), why, extra={"action": "no_row"})
            self._plain += [rows[name][0] for name in refused]

    def _insert(self, rows: Rows, measured: Measured | None) -> dict[str, str]:
        """Insert rows; if the server refuses them as a whole, halve them until the guilty ones are found.

        Returns:
            Why the server takes them not, by id.
        """
        if not rows:
            return {}
        table = self._records if measured is None else measured.table
        try:
            statement = _statement(table, self._connection.dialect)
            inserted = self._connection.exec_driver_sql(statement, [row for _, row in rows.values()]).rowcount
            self._connection.commit()
        except exc.DBAPIError as error:
            # what mending has not helped is not ours to change
            is_lasting = measured is not None and measured.name in self._mended and is_changed(error)
            if not is_lasting and explained(self._place, error) is not None:
                raise
            self._connection.rollback()
            if is_lasting or len(rows) == 1:
                return dict.fromkeys(rows, _reason(error))
            items, middle = list(rows.items()), len(rows) // 2
            return self._insert(dict(items[:middle]), measured) | self._insert(dict(items[middle:]), measured)
        # looked at behind the commit: a transaction may not show what another one has stored since it began
        return {} if inserted == len(rows) else self._missing(rows, measured)

    def _missing(self, rows: Rows, measured: Measured | None) -> dict[str, str]:
        """Judge rows that are there already; return why others of them are not, by id."""
        missing = rows.keys() - self._judged(list(rows), rows, measured)
        if missing and measured is None:
            told = f"ave_records leaves out {len(missing)} of {len(rows)} records, such as {min(missing)}"
            cure = "drop what makes it do so: a UNIQUE key that is not ours perhaps"
            raise StoreUnavailable(f"{self._place}: {told}; {cure}")
        return dict.fromkeys(missing, "it leaves them out, for a key that is not ours perhaps")

    def _judged(self, names: list[str], rows: Rows, measured: Measured | None) -> set[str]:
        """Reject those records that are there with another content; return the ids of all that are there."""
        table = self._records if measured is None else measured.table
        there = set()
        for row in self._connection.execute(select(table).where(table.c.ave_id.in_(names))).mappings():
            there.add(row["ave_id"])
            if record_of(row, measured) != rows[row["ave_id"]][0]:
                self._rejected.append(Rejected(rows[row["ave_id"]][0], DIFFERENT))
        return there


def _unstorable(record: Record, why: object) -> Rejected:
    return Rejected(record, f"no table can hold it: {why}")


def _types(measured: Measured, misfits: list[tuple[str, Any]]) -> dict[str, str]:
    """Return the types that the open ones among the columns of these values get, by name; the first value decides."""
    types: dict[str, str] = {}
    for name, value in misfits:
        kind = decided(value) if measured.columns[name].type == WHOLE else None
        if kind:
            types.setdefault(name, kind)
    return types


@lru_cache(64)
def _statement(table: Table, dialect: Dialect) -> str:
    """Return the insert into a table that leaves what is there as it is."""
    if dialect.name == "sqlite":
        return str(sqlite.insert(table).on_conflict_do_nothing().compile(dialect=dialect))
    # not INSERT IGNORE, which would cut values, too
    return str(mysql.insert(table).on_duplicate_key_update(ave_id=table.c.ave_id).compile(dialect=dialect))


def limit_packets(connection: Connection, place: str) -> int:
    """Let no statement be larger than the server takes; return how many bytes that is; ConfigError if too few."""
    if connection.dialect.name == "sqlite":
        return sys.maxsize
    from ave.lab.stores.sql.cursor import limited  # noqa: PLC0415 - pymysql, not where SQLite serves

    limit = int(connection.execute(text("SELECT @@max_allowed_packet")).scalar_one())
    if limit < PACKET_MIN:
        raise ConfigError(
            f"{place}: a max_allowed_packet of {limit} bytes is too small; let the server have 16M of it, at least 1M"
        )
    room = limit - PACKET_ROOM
    made: Any = connection.connection.dbapi_connection
    made.cursorclass = limited(min(STATEMENT_BYTES, room), room)
    return limit


def _reason(error: exc.DBAPIError) -> str:
    return str(error.orig.args[-1] if error.orig and error.orig.args else error)


def _tell(measured: Measured, misfits: dict[str, Any]) -> None:
    for name, value in misfits.items():
        is_number = isinstance(value, str) and NUMBERS.fullmatch(value)
        if not is_number and (measured.name, name) not in _told:
            _told.add((measured.name, name))
            log.warning(
                "%r is no %s: column %r of %r stays empty there, ave_body has it; this is told once",
                value,
                measured.columns[name].type,
                name,
                measured.name,
                extra={"action": "misfit"},
            )
