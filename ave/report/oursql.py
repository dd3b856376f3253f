"""A connection to the lab's MySQL or MariaDB, for jobs that want SQL: the server that `mysql.json` names.

    from ave.report import oursql

    with oursql.connect(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT AVG(seconds) FROM boots WHERE device = %s", ("yuga",))

Without `autocommit`, the first statement begins a transaction, be it a `SELECT`, which lasts until `commit`, `rollback`
or `close`. Meanwhile nobody can change a table that it has read: new columns and months have to wait. Commit soon.

It is a connection of `pymysql` (PEP 249), which the extra `mysql` brings; it is imported when `connect` is called. The
measurements' tables are described in the reference; each row's `ave_guid` is its run.
"""

from __future__ import annotations

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable
from ave.tls import way_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from pymysql.connections import Connection

__all__ = ["PORT", "connect", "open_connection"]

#: Where MySQL listens unless mysql.json says it.
PORT = 3306

#: Seconds: to connect, and that the server may be silent.
CONNECT_S = 10
TIMEOUT_S = 60

#: The first statement of every connection.
IN_UTC = "SET time_zone = '+00:00'"

#: A value that does not fit is an error, never cut; whatever the server's own setting.
SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"


def connect(home: str | None = None, **options: Any) -> Connection[Any]:
    """Connect to the server that `mysql.json` names, in UTC, strict mode and utf8mb4.

    Beyond this machine the connection is TLS, and the server must prove its name, unless mysql.json says `insecure`.
    The server never gets a file of this machine (`local_infile`).

    Args:
        home: as for `ave.home.find`.
        options: of `pymysql.connect` besides, `cursorclass` or `read_timeout` for instance.

    Returns:
        A DB-API connection; transactions are yours to commit, unless `autocommit` is among the options.

    Raises:
        ConfigError: there is no mysql.json, it names no such server, or pymysql is not installed.
        StoreUnavailable: the server cannot be reached, or refuses.
    """
    where = _place(homes.find(home))
    try:
        return open_connection(**where, **options)
    except ImportError as error:
        raise ConfigError("pymysql is not installed; it comes with: pip install 'ave-logging[mysql]'") from error
    except Exception as error:
        # RuntimeError: the server asks for a file
        if not (type(error).__module__.startswith("pymysql") or isinstance(error, RuntimeError)):
            raise
        raise StoreUnavailable(f"mysql://{where['host']}:{where['port']}/{where['database']}: {error}") from error


def open_connection(
    host: str,
    port: int,
    user: str | None,
    password: str | None,
    database: str | None,
    tls: ssl.SSLContext | None,
    **options: Any,
) -> Connection[Any]:
    """Open a connection as all of ours are; the lab side opens its own with it. Raises what pymysql raises."""
    import pymysql  # noqa: PLC0415 - for those alone who want SQL

    settings: dict[str, Any] = {
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_S,
        "read_timeout": TIMEOUT_S,
        "write_timeout": TIMEOUT_S,
        "init_command": IN_UTC,
        "sql_mode": SQL_MODE,
        **options,
        "local_infile": False,
    }
    if tls is None:
        settings["ssl_disabled"] = True
    else:
        settings["ssl"] = tls
    return pymysql.connect(host=host, port=port, user=user, password=password or "", database=database, **settings)


def _place(home: str) -> dict[str, Any]:
    """Read from mysql.json where the server is, and how the way there is protected."""
    from urllib.parse import parse_qsl, unquote, urlsplit  # noqa: PLC0415 - as pymysql

    path = homes.config_file("mysql", home)
    try:
        settings = homes.load("mysql", home)
    except FileNotFoundError as error:
        raise ConfigError(f"no such configuration file: {path}") from error
    parts = urlsplit(settings["url"] or "")
    host = (parts.hostname if parts.scheme in {"mysql", "mariadb"} else None) or settings["host"]
    if not settings["enabled"] or not host:
        raise ConfigError(
            f'{path} names no MySQL server that is enabled: it needs "host" and "db", or "url": "mysql://"'
        )
    query = dict(parse_qsl(parts.query))
    given: dict[str, Any] = {
        "host": host,
        "port": parts.port or settings["port"] or PORT,
        "user": unquote(parts.username) if parts.username is not None else settings["user"],
        "password": unquote(parts.password) if parts.password is not None else settings["password"],
        "database": unquote(parts.path.strip("/")) or settings["db"] or "ave",
    }
    tls = query.get("tls", settings["tls"])
    insecure = settings["insecure"] or query.get("insecure") == "true"
    return {**given, "tls": way_to(host, tls, insecure=insecure)}
