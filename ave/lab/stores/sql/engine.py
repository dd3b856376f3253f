"""The way to a database: a connection of SQLAlchemy's, and what its failures mean.

MariaDB and MySQL are reached as `ave.report.oursql` reaches them: strict, in UTC and utf8mb4, never giving away a file.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, exc
from sqlalchemy.pool import NullPool

from ave import io
from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores import servers
from ave.report import oursql

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["BUSY", "RETRY_S", "Database", "NoDatabase", "explained", "is_changed", "is_of_table", "number_of"]

#: The database's name unless the URL says it.
NAME = "ave"

#: Seconds to wait for another process that holds SQLite's write lock.
BUSY_S = 5.0

#: Seconds to wait for a table that somebody holds. While one waits to change it, nobody else gets at it.
LOCK_WAIT_S = 5

#: Seconds until a change is tried again that could not be made.
RETRY_S = 60.0

#: The number of the server's error where somebody holds a table.
BUSY = 1205

#: Those where a statement does not find a table, or a column, or the one that divides it, or the month of a row; or
#: finds a column that demands a value, or takes none.
_CHANGED = {1054, 1146, 1364, 1488, 1526, 1906, 3105}

#: How SQLite tells that something is not there.
_CHANGED_WORDS = ("no such table", "no such column", "has no column named")

#: Numbers of the server's errors that take a person: no such user, no right, no such login, wrong host, no TLS.
_REFUSALS = {1044, 1045, 1130, 1142, 1143, 1227, 1251, 1396, 1410, 1524, 1698, 3159, 9002}

#: Numbers of errors that are about one row: too large for a page, for a packet, not of its column; or against what an
#: operator has made of its table: a trigger, a column that is calculated, a check.
_ROWS = {1118, 1153, 1264, 1265, 1292, 1366, 1406, 3140} | {1365, 1411, 1644, 1690, 3819, 4025}

#: Words in errors that take a person besides, and what that person can do.
_CURES = {
    "CERTIFICATE_VERIFY_FAILED": "mend the server's certificate, or give tls= with those to trust",
    "SSL": "let the server speak TLS, or give insecure=true",
    "LOAD_LOCAL": "it asks for a file of this machine, which no server of ours does: see who answers there",
    **oursql.LACKING,
}

#: What is wrong with the way there, or with all of a database.
_BROKEN = (exc.OperationalError, exc.InternalError, exc.InterfaceError, OSError)

_NO_DATABASE = 1049


class NoDatabase(Exception):  # noqa: N818 - an answer
    """There is no such database yet, and who asks may make none."""


class Database:
    """A place that a URL names.

    Attributes:
        place: the URL for messages.
    """

    def __init__(self, url: str, *, readonly: bool) -> None:
        self._readonly = readonly
        self._path = ""
        scheme, _, path = url.partition(":")
        if scheme.startswith("sqlite"):
            self._path = "/" + path.lstrip("/")
            self.place = self._path
            return
        self._server = servers.parse(url, oursql.PORT, quiet=readonly)
        self._name = self._server.path or NAME
        self.place = self._server.place if self._server.path else f"{self._server.place}{NAME}"
        if not 0 < len(self._name) <= 64 or not self._name.isprintable() or "`" in self._name:
            raise ConfigError(f"{self.place}: {self._name!r} cannot be the name of a database")

    def connect(self) -> Connection:
        """Open a connection; NoDatabase if there is none and it is for reading."""
        if self._path:
            return create_engine("sqlite://", creator=self._open_file, poolclass=NullPool).connect()
        engine = create_engine("mysql+pymysql://", creator=self._open_server, poolclass=NullPool, paramstyle="format")
        return engine.connect()

    def _open_file(self) -> Any:
        if self._readonly and not os.path.exists(self._path):
            raise NoDatabase(self._path)
        if not self._readonly:
            io.make_dirs(os.path.dirname(self._path))
            # O_EXCL: to close an existing one would drop the locks that other connections of this process hold on it
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
        if self._readonly:
            connection.execute("PRAGMA query_only = TRUE")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _open_server(self) -> Any:
        import pymysql  # noqa: PLC0415 - it is loaded by now; here for its errors

        try:
            return self._login(self._name)
        except pymysql.err.OperationalError as error:
            if error.args[0] != _NO_DATABASE:
                raise
            if self._readonly:
                raise NoDatabase(self._name) from error
        maker = self._login(None)
        with maker, maker.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{self._name}` CHARACTER SET utf8mb4")
        return self._login(self._name)

    def _login(self, database: str | None) -> Any:
        server = self._server
        begin = f"{oursql.IN_UTC}, lock_wait_timeout = {LOCK_WAIT_S}"
        connection = oursql.open_connection(
            server.host, server.port, server.user, server.password, database, server.tls, init_command=begin
        )
        connection.autocommit(False)
        return connection


def number_of(error: exc.DBAPIError) -> int:
    """Return the number that the server gives an error, 0 for none."""
    first = error.orig.args[0] if error.orig and error.orig.args else None
    return first if isinstance(first, int) else 0


def is_changed(error: exc.DBAPIError) -> bool:
    """Tell whether somebody has dropped a table or a part of it, or made another of it than rows were made for."""
    return number_of(error) in _CHANGED or any(word in str(error.orig) for word in _CHANGED_WORDS)


def is_of_table(error: exc.DBAPIError) -> bool:
    """Tell whether a change that fails may be about its table alone: we are connected still, and may make changes."""
    return not error.connection_invalidated and number_of(error) not in _REFUSALS


def explained(place: str, error: BaseException) -> Exception | None:
    """Return what a failure means to whoever put or asked; None if it is about one row, or nobody foresaw it."""
    original = getattr(error, "orig", None) or error
    number = original.args[0] if original.args and isinstance(original.args[0], int) else 0
    told = str(original.args[-1] if original.args else original)
    if number in _ROWS:
        return None
    if number in _REFUSALS:
        return ConfigError(
            f"{place} refuses us: {told}; mend user or password, what that user may do, or that the account demands TLS"
        )
    for word, cure in _CURES.items():
        if word in told:
            return ConfigError(f"{place}: {told}; {cure}")
    if isinstance(error, _BROKEN) or _is_broken(original) or number in _CHANGED:
        return StoreUnavailable(f"{place}: {told}")
    return None


def _is_broken(error: BaseException) -> bool:
    """Tell whether a database's own library says so of connection or file."""
    if type(error) is sqlite3.DatabaseError:
        return True
    return type(error).__module__.startswith("pymysql") and type(error).__name__ in {"OperationalError", "Error"}
