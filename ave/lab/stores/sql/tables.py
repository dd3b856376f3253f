"""The tables of measurements: made, changed and widened as rows come; their names come from the catalogue.

What users call tables and columns never reaches a statement: `ave.lab.stores.sql.values.sql_name` makes identifiers of
small letters, digits and underlines, and `ave_tables` and `ave_columns` say which name is whose.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Index, MetaData, Table, delete, exc, func, insert, inspect, or_, select, text, update
from sqlalchemy.schema import CreateColumn

from ave.lab.stores.sql.engine import BUSY, RETRY_S, is_of_table, number_of
from ave.lab.stores.sql.months import Months
from ave.lab.stores.sql.schema import BASE, base_columns, columns_of, is_server, one_at_a_time, options
from ave.lab.stores.sql.values import TYPES, WHOLE, inferred, sql_name, type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import Connection

    from ave.lab.stores.sql.schema import Schema

__all__ = ["COLUMNS_MAX", "TABLES_MAX", "Catalogue", "Measured", "Named"]

log = logging.getLogger(__name__)

#: More columns than these InnoDB may not be able to keep in a row (it ends at about 370 of text; MariaDB adds more, and
#: then cannot divide the table any more), and more tables nobody meant to make.
COLUMNS_MAX = 350
TABLES_MAX = 5000

#: Tables that are remembered as not to be changed for a while.
LATER_MAX = 5000


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
        sql_name: its identifier.
        columns: by what users call them.
    """

    def __init__(self, name: str, columns: Iterable[Named], made_with: dict[str, Any]) -> None:
        self.name = name
        self.sql_name = sql_name(name)
        self.columns = {column.name: column for column in columns}
        self._made_with = made_with

    @cached_property
    def table(self) -> Table:
        """As SQLAlchemy's, with the columns that every table has. That takes a millisecond to make."""
        return Table(
            self.sql_name,
            MetaData(),
            *base_columns(),
            *(Column(column.sql_name, TYPES[column.type](), quote=True) for column in self.columns.values()),
            Index(f"{self.sql_name}_guid", "ave_guid", "ave_time"),
            Index(f"{self.sql_name}_time", "ave_time"),
            # no list of reserved words has those of every server
            quote=True,
            **self._made_with,
        )

    def knows(self, identifiers: Iterable[str]) -> bool:
        """Tell whether it has all of these columns."""
        return set(identifiers) <= BASE.union(column.sql_name for column in self.columns.values())


class Catalogue:
    """The tables of measurements that one connection has met.

    There may be thousands, of which those who measure use a few: what it costs to learn of one, or to make it, does not
    depend on how many there are.

    Attributes:
        tables: by what users call them, as they were when last asked for.
    """

    def __init__(self, schema: Schema, connection: Connection) -> None:
        self._schema = schema
        self._connection = connection
        self._options = options(connection)
        self._is_divided = is_server(connection)
        self.tables: dict[str, Measured] = {}
        self.months = Months(connection)
        # tables that cannot be changed now -> when to try again
        self._later: dict[str, float] = {}
        # when to try again to make any, if there are too many
        self._full_until = 0.0
        # tables of which it was told that they are not ours
        self._foreign: set[str] = set()

    def learn(self, names: Iterable[str | None]) -> None:
        """Ask for those of these tables that it has not met, all at once."""
        unknown = [name for name in names if name is not None and name not in self.tables]
        if unknown:
            self.load(*unknown)

    def load(self, *names: str) -> None:
        """Read anew what these tables are."""
        # a transaction shows what there was when it began
        self._connection.rollback()
        self._read(*names)
        self._connection.commit()

    def _read(self, *names: str) -> None:
        tables, columns = self._schema.tables, self._schema.columns
        both = tables.outerjoin(columns, columns.c.table_name == tables.c.sql_name)
        # which are the key
        identifiers = [*map(sql_name, names)]
        asked = select(tables.c.name.label("table"), columns.c.name, columns.c.sql_name, columns.c.type)
        asked = asked.select_from(both).where(tables.c.sql_name.in_(identifiers)).order_by(columns.c.position)
        found: dict[str, list[Named]] = {}
        for table, *column in self._connection.execute(asked):
            named = found.setdefault(table, [])
            if column[0] is not None:
                named.append(Named(*column))
        for name in names:
            if name in found:
                self.tables[name] = Measured(name, found[name], self._options)
            else:
                self.tables.pop(name, None)

    def ensure(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        """See that there is a table, with these columns (name -> type, unit, better) if it can have them.

        Returns:
            False if there can be no such table. One that is full, or held by somebody, stays as it is for a while: what
            its columns do not hold is in the bodies of its rows.
        """
        if not self._has(name, wanted) and self._is_time(name):
            self.load(name)
            if self._lacks(name, wanted):
                with self._alone(name):
                    if self._lacks(name, wanted):
                        self._make_if_it_can_be(name, wanted)
        return name in self.tables

    def present(self) -> list[Measured]:
        """Return the tables that nobody has dropped, of all there are; which columns they have is not asked."""
        there = set(inspect(self._connection).get_table_names())
        listed = self._connection.execute(select(self._schema.tables))
        return [Measured(row.name, (), self._options) for row in listed if row.sql_name in there]

    def mend(self, name: str) -> None:
        """Make a table what the catalogue says: somebody has dropped it or a part of it, or put another there."""
        with self._alone(name):
            known = self.tables.get(name)
            try:
                if known:
                    self.months.forget(known.table)
                if known and not self._change(known, ()):
                    self._forget(known.sql_name)
                    del self.tables[name]
            except exc.DBAPIError as error:
                if not is_of_table(error):
                    raise
                self._leave(name, str(error.orig))

    def decide(self, name: str, types: dict[str, str]) -> bool:
        """Give columns of a table (name -> type) the type that they have for good, if no other host has done so.

        Returns:
            False if somebody holds the table: it stays as it is for a while.
        """
        self.load(name)
        if self._open(name, types) and self._is_time(name):
            with self._alone(name):
                self._decide(name, types)
        return not self._open(name, types)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Change a table while no other host does, knowing what others have made of it; committed at the end."""
        with one_at_a_time(self._connection):
            self._read(name)
            yield
            self._connection.commit()

    def _has(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        known = self.tables.get(name)
        return known is not None and wanted.keys() <= known.columns.keys()

    def _lacks(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        """Tell whether something of these is to be made now."""
        return not self._has(name, wanted) and self._has_room(name, wanted)

    def _has_room(self, name: str, wanted: dict[str, dict[str, Any]]) -> bool:
        known = self.tables.get(name)
        columns = known.columns if known else {}
        new = len(wanted.keys() - columns.keys())
        if len(columns) + new > COLUMNS_MAX:
            self._leave(name, f"it has no room for {new}")
            return False
        return known is not None or self._has_room_for_another()

    def _has_room_for_another(self) -> bool:
        number = self._connection.execute(select(func.count()).select_from(self._schema.tables)).scalar_one()
        if number < TABLES_MAX:
            return True
        self._full_until = monotonic() + RETRY_S
        told = "there are %d tables of measurements: no more are made for a while, ave_records has the rows of others"
        log.warning(told, number, extra={"action": "tables_full"})
        return False

    def _is_time(self, name: str) -> bool:
        full_until = 0.0 if name in self.tables else self._full_until
        return monotonic() >= max(full_until, self._later.get(name, 0.0))

    def _leave(self, name: str, why: str) -> None:
        """Leave a table as it is for a while."""
        self._put_off(name)
        told = "table %r stays as it is for a while, ave_body has what it cannot hold: %s"
        log.warning(told, name, why, extra={"action": "table_full"})

    def _put_off(self, name: str) -> None:
        """Try to change a table later; of too many, the one that has waited longest may be tried at once."""
        self._later.pop(name, None)
        if len(self._later) >= LATER_MAX:
            del self._later[next(iter(self._later))]
        self._later[name] = monotonic() + RETRY_S

    def _make_if_it_can_be(self, name: str, wanted: dict[str, dict[str, Any]]) -> None:
        try:
            self._make(name, wanted)
        except exc.DBAPIError as error:
            # a table that is not there cannot be held for long
            if not is_of_table(error) or (number_of(error) == BUSY and name not in self.tables):
                raise
            self._leave(name, str(error.orig))

    def _make(self, name: str, wanted: dict[str, dict[str, Any]]) -> None:
        """Make a table, or the columns that it has not."""
        known = self.tables.get(name)
        columns = known.columns if known else {}
        added = [_named(column, about) for column, about in wanted.items() if column not in columns]
        made = Measured(name, [*columns.values(), *added], self._options)
        if not self._change(made, added):
            self._put_off(name)
            return
        self._note(made, added, wanted, is_new=known is None)
        self.tables[name] = made

    def _open(self, name: str, columns: Iterable[str]) -> list[Named]:
        """Return those of the columns whose type nobody has decided."""
        known = self.tables[name].columns if name in self.tables else {}
        return [known[column] for column in columns if column in known and known[column].type == WHOLE]

    def _decide(self, name: str, types: dict[str, str]) -> None:
        """Change the columns that are open. A crash in between leaves them so: what they hold fits into any type."""
        measured = self.tables.get(name)
        columns = [Named(column.name, column.sql_name, types[column.name]) for column in self._open(name, types)]
        if measured is None or not columns:
            return
        try:
            # a column that is gone would be an error in here, which keeps the others out
            if not self._change(measured, ()):
                return
            if self._is_divided:
                self._alter(measured.table, "MODIFY COLUMN", *columns)
        except exc.DBAPIError as error:
            if not is_of_table(error):
                raise
            self._leave(name, str(error.orig))
            return
        listed = self._schema.columns
        for column in columns:
            is_it = (listed.c.table_name == measured.sql_name) & (listed.c.sql_name == column.sql_name)
            self._connection.execute(update(listed).where(is_it).values(type=column.type))
        made = measured.columns | {column.name: column for column in columns}
        self.tables[name] = Measured(name, made.values(), self._options)

    def _change(self, made: Measured, added: Collection[Named]) -> bool:
        """Make of a table what it must be, whatever crashes and people have left; False if it is somebody else's."""
        there = columns_of(self._connection, made.table)
        if not there:
            made.table.create(self._connection)
            self.months.forget(made.table)
        elif BASE - there:
            if made.name not in self._foreign:
                self._foreign.add(made.name)
                told = "the rows of %r are kept in ave_records: there is a table %s already, which is not ave-logd's"
                log.warning(told, made.name, made.sql_name, extra={"action": "table_foreign"})
            return False
        # a crash came between the column and its entry in the catalogue: it has no values, but another type perhaps
        unlisted = [it for it in added if it.sql_name in there] if self._is_divided else []
        if unlisted and self._have_values(made.table, unlisted):
            self._leave(made.name, "it has columns with values that ave_columns has lost; bring those entries back")
            return False
        if there:
            self._alter(made.table, "ADD COLUMN", *(it for it in made.columns.values() if it.sql_name not in there))
        self._alter(made.table, "MODIFY COLUMN", *unlisted)
        return True

    def _have_values(self, table: Table, columns: list[Named]) -> bool:
        have = or_(*(table.c[it.sql_name].is_not(None) for it in columns))
        return self._connection.execute(select(table.c.ave_id).where(have).limit(1)).first() is not None

    def _forget(self, identifier: str) -> None:
        for listed in (self._schema.tables.c.sql_name, self._schema.columns.c.table_name):
            self._connection.execute(delete(listed.table).where(listed == identifier))

    def _alter(self, table: Table, how: str, *columns: Named) -> None:
        """Change columns of a table: all of them or none, but for SQLite."""
        clauses = []
        for column in columns:
            made = Column(column.sql_name, TYPES[column.type](), quote=True)
            Table(table.name, MetaData(), made)
            clauses.append(f"{how} {CreateColumn(made).compile(dialect=self._connection.dialect)}")
        for clause in [", ".join(clauses)] if self._is_divided and clauses else clauses:
            self._connection.execute(text(f"ALTER TABLE {self._quoted(table.name)} {clause}"))

    def _note(self, made: Measured, added: list[Named], wanted: dict[str, dict[str, Any]], *, is_new: bool) -> None:
        if is_new:
            self._connection.execute(insert(self._schema.tables).values(sql_name=made.sql_name, name=made.name))
        rows = []
        for position, column in enumerate(added, len(made.columns) - len(added)):
            values = {name: getattr(column, name) for name in ("name", "sql_name", "type")}
            values |= {"table_name": made.sql_name, "position": position}
            values |= {"declared": wanted[column.name].get("declared", False)}
            rows.append(values | {key: wanted[column.name].get(key) for key in ("unit", "better")})
        if rows:
            self._connection.execute(insert(self._schema.columns).values(rows))

    def _quoted(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote_identifier(name)


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
