"""The tables of measurements: made, widened and divided into months as rows come; their names come from the catalogue.

What users call tables and columns never reaches a statement: `ave.lab.stores.sql.values.sql_name` makes identifiers of
small letters, digits and underlines, and `ave_tables` and `ave_columns` say which name is whose.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Index, MetaData, Table, exc, insert, select, text, update
from sqlalchemy.schema import CreateColumn

from ave.lab.stores.sql.schema import base_columns, is_server, one_at_a_time, options
from ave.lab.stores.sql.values import TYPES, WHOLE, inferred, sql_name, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from ave.lab.stores.sql.schema import Schema

__all__ = ["COLUMNS_MAX", "TABLES_MAX", "Catalogue", "Measured", "Named"]

log = logging.getLogger(__name__)

#: More columns than these InnoDB may not be able to keep in a row, and more tables nobody meant to make.
COLUMNS_MAX = 400
TABLES_MAX = 5000


class Named:
    """A column of measurements: what users call it, its identifier and its type.

    `plain` is the Python type whose values it holds as they are, if there is one.
    """

    __slots__ = ("name", "plain", "sql_name", "type")

    def __init__(self, name: str, sql_name: str, type: str) -> None:  # noqa: A002 - the catalogue's
        self.name = name
        self.sql_name = sql_name
        self.type = type
        # whole numbers have to be looked at: some are too large
        self.plain = {"float": float, "text": str}.get(type)


class Measured:
    """A table of measurements.

    Attributes:
        name: what users call it.
        columns: by what users call them.
        table: as SQLAlchemy's, with the columns that every table has.
    """

    def __init__(self, name: str, columns: Iterable[Named], made_with: dict[str, Any]) -> None:
        self.name = name
        self.columns = {column.name: column for column in columns}
        identifier = sql_name(name)
        self.table = Table(
            identifier,
            MetaData(),
            *base_columns(),
            *(Column(column.sql_name, TYPES[column.type]()) for column in self.columns.values()),
            Index(f"{identifier}_guid", "ave_guid", "ave_time"),
            Index(f"{identifier}_time", "ave_time"),
            **made_with,
        )


class Catalogue:
    """All tables of measurements, as far as one connection knows them."""

    def __init__(self, schema: Schema, connection: Connection) -> None:
        self._schema = schema
        self._connection = connection
        self._options = options(connection)
        self._is_divided = is_server(connection)
        self.tables: dict[str, Measured] = {}
        self._months: dict[str, str] = {}
        self.load()
        if self._is_divided:
            self._load_months()

    def load(self) -> None:
        """Read it anew."""
        # a transaction shows what there was when it began
        self._connection.rollback()
        self._read()
        self._connection.commit()

    def _read(self) -> None:
        columns: dict[str, list[Named]] = {}
        listed = self._schema.columns
        for row in self._connection.execute(select(listed).order_by(listed.c.table_name, listed.c.position)):
            columns.setdefault(row.table_name, []).append(Named(row.name, row.sql_name, row.type))
        self.tables = {
            row.name: Measured(row.name, columns.get(row.sql_name, ()), self._options)
            for row in self._connection.execute(select(self._schema.tables))
        }

    def ensure(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        """See that there is a table with these columns (name -> type, unit, better); False if no room is left."""
        if self._has(name, wanted):
            return True
        self.load()
        if not self._has(name, wanted) and self._has_room(name, wanted):
            with self._alone():
                if not self._has(name, wanted) and self._has_room(name, wanted):
                    self._make(name, wanted)
        return self._has(name, wanted)

    def decide(self, name: str, types: dict[str, str]) -> None:
        """Give columns of a table (name -> type) the type that they have for good, if no other host has done so.

        Whatever is in a `whole` column fits into either type, and that of the table may be another one than the
        catalogue says: a crash came between the two.
        """
        self.load()
        if not self._open(name, types):
            return
        with self._alone():
            measured = self.tables[name]
            for column in self._open(name, types):
                column.type = types[column.name]
                if self._is_divided:
                    self._alter(measured.table, "MODIFY COLUMN", column)
                listed = self._schema.columns
                is_it = (listed.c.table_name == measured.table.name) & (listed.c.sql_name == column.sql_name)
                self._connection.execute(update(listed).where(is_it).values(type=column.type))
            self.tables[name] = Measured(name, measured.columns.values(), self._options)

    def divide(self, table: Table, month: str) -> None:
        """See that a month (`2026_11`) has a partition, where the server has such; future ones wait until they come."""
        if not self._is_divided:
            return
        month = min(month, f"{datetime.now(UTC):%Y_%m}")
        if month <= self._months.get(table.name, ""):
            return
        self._load_months()
        if month <= self._months.get(table.name, ""):
            return
        with one_at_a_time(self._connection):
            self._load_months()
            if month > self._months.get(table.name, ""):
                rest = "PARTITION pmax VALUES LESS THAN (MAXVALUE)"
                new = f"(PARTITION p{month} VALUES LESS THAN ('{_next(month)}-01'), {rest})"
                how = "REORGANIZE PARTITION pmax INTO" if table.name in self._months else _BY_MONTH
                self._connection.execute(text(f"ALTER TABLE {self._quoted(table.name)} {how} {new}"))
                self._months[table.name] = month

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Change tables while no other host does, knowing what others have changed; committed at the end."""
        with one_at_a_time(self._connection):
            self._read()
            yield
            self._connection.commit()

    def _has(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        known = self.tables.get(name)
        return known is not None and wanted.keys() <= known.columns.keys()

    def _has_room(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        known = self.tables.get(name)
        columns = known.columns if known else {}
        new = len(wanted.keys() - columns.keys())
        if len(columns) + new <= COLUMNS_MAX and (known or len(self.tables) < TABLES_MAX):
            return True
        log.warning("table %r has no room for %d columns more", name, new, extra={"action": "table_full"})
        return False

    def _make(self, name: str, wanted: dict[str, dict[str, Any]]) -> None:
        """Make a table, or the columns that it has not."""
        known = self.tables.get(name)
        columns = known.columns if known else {}
        added = [_named(column, about) for column, about in wanted.items() if column not in columns]
        made = Measured(name, [*columns.values(), *added], self._options)
        self._change(made, added, is_new=known is None)
        self._note(made, added, wanted, is_new=known is None)
        self.tables[name] = made

    def _open(self, name: str, columns: Iterable[str]) -> list[Named]:
        """Return those of the columns whose type nobody has decided."""
        known = self.tables[name].columns
        return [known[column] for column in columns if known[column].type == WHOLE]

    def _load_months(self) -> None:
        self._months = _newest_months(self._connection)
        self._connection.commit()

    def _change(self, made: Measured, added: list[Named], *, is_new: bool) -> None:
        made.table.create(self._connection, checkfirst=True)
        for column in () if is_new else added:
            try:
                self._alter(made.table, "ADD COLUMN", column)
            except exc.OperationalError as error:
                # a crash came between the column and its entry in the catalogue
                if "uplicate column" not in str(error.orig):
                    raise

    def _alter(self, table: Table, how: str, column: Named) -> None:
        made = Column(column.sql_name, TYPES[column.type]())
        Table(table.name, MetaData(), made)
        definition = CreateColumn(made).compile(dialect=self._connection.dialect)
        self._connection.execute(text(f"ALTER TABLE {self._quoted(table.name)} {how} {definition}"))

    def _note(self, made: Measured, added: list[Named], wanted: dict[str, dict[str, Any]], *, is_new: bool) -> None:
        if is_new:
            self._connection.execute(insert(self._schema.tables).values(sql_name=made.table.name, name=made.name))
        for position, column in enumerate(added, len(made.columns) - len(added)):
            values = {name: getattr(column, name) for name in ("name", "sql_name", "type")}
            values |= {"table_name": made.table.name, "position": position}
            values |= {"declared": wanted[column.name].get("declared", False)}
            about = {key: wanted[column.name].get(key) for key in ("unit", "better")}
            self._connection.execute(insert(self._schema.columns).values(**values, **about))

    def _quoted(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote_identifier(name)


_BY_MONTH = "PARTITION BY RANGE COLUMNS (ave_time)"


def _named(name: str, about: dict[str, Any]) -> Named:
    return Named(name, sql_name(name), about["type"])


def wanted(row: dict[str, Any], columns: Any) -> dict[str, dict[str, Any]]:
    """Return what a row asks for: name -> type, and what its declaration says; values of None ask for nothing."""
    declared = columns if isinstance(columns, dict) else {}
    asked: dict[str, dict[str, Any]] = {}
    for name in {**row, **declared}:
        about = declared.get(name)
        if isinstance(about, dict) and about.get("type") in TYPES:
            kept = {key: value for key, value in about.items() if isinstance(value, str)}
            is_declared = "inferred" not in about
            kind = about["type"] if is_declared else inferred(about["type"])
            asked[name] = {**kept, "type": kind, "declared": is_declared}
        elif row.get(name) is not None:
            asked[name] = {"type": type_of(row[name])}
    return asked


def _newest_months(connection: Connection) -> dict[str, str]:
    rows = connection.execute(
        text(
            "SELECT TABLE_NAME, MAX(PARTITION_NAME) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() "
            "AND PARTITION_NAME LIKE 'p2%' GROUP BY TABLE_NAME"
        )
    )
    return {table: name[1:] for table, name in rows}


def _next(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"
