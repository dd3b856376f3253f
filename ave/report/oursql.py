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

#: What a login of the server's may need besides pymysql, which says so by a RuntimeError -> what can be done.
LACKING = {
    "cryptography": "pip install 'ave-logging[mysql]' brings it; over TLS no login needs it",
    "pynacl": "pip install 'pymysql[ed25519]' brings it; or give the user another way to log in",
}


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
        ConfigError: there is no mysql.json, it names no such server, or pymysql or what a login needs is missing.
        StoreUnavailable: the server cannot be reached, or refuses.
    """
    where = _place(homes.find(home))
    try:
        return open_connection(**where, **options)
    except ImportError as error:
        raise ConfigError("pymysql is not installed; it comes with: pip install 'ave-logging[mysql]'") from error
    except Exception as error:
        place = f"mysql://{where['host']}:{where['port']}/{where['database']}"
        for package, cure in LACKING.items():
            if isinstance(error, RuntimeError) and package in str(error):
                raise ConfigError(f"{place}: {error}; {cure}") from error
        # RuntimeError: the server asks for a file
        if not (type(error).__module__.startswith("pymysql") or isinstance(error, (RuntimeError, UnicodeError))):
            raise
        raise StoreUnavailable(f"{place}: {error}") from error


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
    # as bytes: of a text, pymysql knows no letters beyond Latin-1
    secret = (password or "").encode()
    return pymysql.connect(host=host, port=port, user=user, password=secret, database=database, **settings)


def _place(home: str) -> dict[str, Any]:
    """Read from mysql.json where the server is, and how the way there is protected."""
    from ave import urls  # noqa: PLC0415 - as pymysql

    path = homes.config_file("mysql", home)
    try:
        settings = homes.load("mysql", home)
    except FileNotFoundError as error:
        raise ConfigError(f"no such configuration file: {path}") from error
    url, host = settings["url"], settings["host"]
    if url is None and host:
        url = f"mysql://[{host}]" if ":" in host else f"mysql://{host}"
    if not settings["enabled"] or urls.scheme(url or "") not in {"mysql", "mariadb"}:
        raise ConfigError(
            f'{path} names no MySQL server that is enabled: it needs "host" and "db", or "url": "mysql://"'
        )
    try:
        said = urls.read(url)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    [(host, port), *_] = said.hosts
    is_by_url = said.user is not None
    insecure = settings["insecure"] or said.options.get("insecure") == "true"
    return {
        "host": host,
        "port": port or settings["port"] or PORT,
        "user": said.user if is_by_url else settings["user"],
        "password": said.password if is_by_url else settings["password"],
        "database": said.path or settings["db"] or "ave",
        "tls": way_to(host, said.options.get("tls", settings["tls"]), insecure=insecure),
    }
