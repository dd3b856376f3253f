"""The tables that are always there, the columns every table has, the versions of all this, and who may change it.

ave_schema   a row per version that was reached
ave_tables   what each table of measurements is called by those who measure
ave_columns  the same of its columns, and their types, units and which way is better
ave_records  records of other kinds, and measurements that fit into no table
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    column,
    func,
    insert,
    inspect,
    quoted_name,
    select,
    table,
    text,
)
from sqlalchemy.dialects import mysql

from ave.exceptions import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, TableClause
    from sqlalchemy.types import TypeEngine

__all__ = [
    "BASE",
    "LIMITS",
    "MIGRATIONS",
    "Schema",
    "bare",
    "base_columns",
    "columns_of",
    "is_server",
    "one_at_a_time",
    "options",
    "text_type",
]

#: Seconds to wait for another host that is just changing tables.
LOCK_S = 30

#: The name of the lock that who changes tables holds. MySQL takes 64 characters, which that of a database may have.
LOCK = "IF(CHAR_LENGTH(DATABASE()) > 60, SHA2(DATABASE(), 224), CONCAT(DATABASE(), '.ave'))"

_COLUMNS = text(
    "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :name"
)
_COLUMNS_OF_SQLITE = text("SELECT name FROM pragma_table_info(:name)")

#: Characters that a field of a record may have.
LIMITS = {"id": 255, "guid": 500, "host": 255, "source": 255, "kind": 32}

_TIME: TypeEngine[Any] = (
    DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb").with_variant(Text(), "sqlite")
)


def text_type() -> TypeEngine[str]:
    """Return the type of text without a limit that anybody meets."""
    return Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def base_columns() -> list[Column[Any]]:
    """Return new columns for what every row carries.

    `ave_time` is UTC to the microsecond and `ave_ns` the nanoseconds behind it; `ave_body` is the record's whole body
    as JSON where the columns do not hold it exactly.
    """
    return [
        Column("ave_id", String(LIMITS["id"]), primary_key=True),
        # in the key, for it divides the table into months
        Column("ave_time", _TIME, primary_key=True),
        Column("ave_ns", SmallInteger, nullable=False),
        Column("ave_guid", String(LIMITS["guid"]), nullable=False),
        Column("ave_host", String(LIMITS["host"]), nullable=False),
        Column("ave_pid", BigInteger, nullable=False),
        Column("ave_source", String(LIMITS["source"]), nullable=False),
        Column("ave_body", text_type()),
    ]


#: Their names.
BASE = frozenset(column.name for column in base_columns())


def bare(name: str) -> TableClause:
    """Return a table as who reads needs it, which is quick to make: with the columns that every one has."""
    return table(quoted_name(name, quote=True), *map(column, BASE))


def is_server(connection: Connection) -> bool:
    """Tell whether it leads to MariaDB or MySQL, not to a file."""
    return connection.dialect.name in {"mysql", "mariadb"}


def columns_of(connection: Connection, table: Table) -> set[str]:
    """Return the identifiers of the columns that a table really has; none if it is not there."""
    asked = _COLUMNS if is_server(connection) else _COLUMNS_OF_SQLITE
    return {name.lower() for (name,) in connection.execute(asked, {"name": table.name})}


@contextmanager
def one_at_a_time(connection: Connection) -> Iterator[None]:
    """Change tables while no other host does; StoreUnavailable if another one does not come to an end.

    A host that hangs holds up all who wait here: look first whether anything must change, and inside look again, for
    others may have changed it. What fails inside closes the connection, and so lets others in.
    """
    # a transaction shows what there was when it began, and keeps others from changing the tables that it has read
    connection.rollback()
    if not is_server(connection):
        # nor may a crash leave a column without its entry in the catalogue
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        return
    locked = connection.execute(text(f"SELECT GET_LOCK({LOCK}, :s)"), {"s": LOCK_S})
    if not locked.scalar():
        raise StoreUnavailable("another host is changing the tables")
    yield
    connection.execute(text(f"SELECT RELEASE_LOCK({LOCK})"))


def options(connection: Connection) -> dict[str, Any]:
    """Return what every table is made with: text compared byte by byte, blanks at its end too."""
    if not is_server(connection):
        return {}
    dialect = connection.dialect
    is_mariadb = bool(getattr(dialect, "is_mariadb", False))
    is_new = (dialect.server_version_info or (0,)) >= (8, 0, 17)
    collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin" if is_new else "utf8mb4_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}


class Schema:
    """The tables that are always there, as SQLAlchemy's."""

    def __init__(self, connection: Connection) -> None:
        made_with = options(connection)
        self.metadata = MetaData()
        self.schema = Table("ave_schema", self.metadata, Column("version", Integer, primary_key=True), **made_with)
        self.tables = Table(
            "ave_tables",
            self.metadata,
            Column("sql_name", String(64), primary_key=True),
            Column("name", String(200), nullable=False),
            **made_with,
        )
        self.columns = Table(
            "ave_columns",
            self.metadata,
            Column("table_name", String(64), primary_key=True),
            Column("sql_name", String(64), primary_key=True),
            Column("name", String(200), nullable=False),
            Column("type", String(16), nullable=False),
            Column("unit", text_type()),
            Column("better", String(16)),
            Column("declared", Boolean, nullable=False),
            Column("position", Integer, nullable=False),
            **made_with,
        )
        self.records = Table(
            "ave_records",
            self.metadata,
            *base_columns(),
            Column("ave_kind", String(LIMITS["kind"]), nullable=False),
            Index("ave_records_guid", "ave_guid", "ave_time"),
            Index("ave_records_kind", "ave_kind", "ave_time"),
            Index("ave_records_time", "ave_time"),
            **made_with,
        )

    def prepare(self, connection: Connection, place: str) -> None:
        """Bring the tables up to date; ConfigError if they are of a newer version. Most find nothing to do."""
        if self.version(connection, place) == len(MIGRATIONS) and self._is_whole(connection):
            return
        with one_at_a_time(connection):
            reached = self.version(connection, place)
            for number, step in enumerate(MIGRATIONS[reached:], reached + 1):
                step(self, connection)
                connection.execute(insert(self.schema).values(version=number))
            # and what an operator has dropped
            self.metadata.create_all(connection)
            connection.commit()

    def _is_whole(self, connection: Connection) -> bool:
        there = inspect(connection)
        return all(map(there.has_table, self.metadata.tables))

    def version(self, connection: Connection, place: str) -> int:
        """Return the version that all tables have reached, 0 for none; ConfigError if it is newer than this program."""
        if not inspect(connection).has_table(self.schema.name):
            return 0
        reached = int(connection.execute(select(func.coalesce(func.max(self.schema.c.version), 0))).scalar_one())
        if reached > len(MIGRATIONS):
            raise ConfigError(
                f"{place}: was written by a newer version of ave-logging (schema {reached}, this one knows "
                f"{len(MIGRATIONS)}); upgrade this host, or give another url"
            )
        return reached


def _first(schema: Schema, connection: Connection) -> None:
    schema.metadata.create_all(connection, checkfirst=True)


#: Steps from one version to the next. What was released never changes: a new version is a new step at the end.
MIGRATIONS: list[Callable[[Schema, Connection], None]] = [_first]
