"""MariaDB from Debian's packages, its data in a private directory; or the MySQL that AVE_TEST_MYSQL_URL names.

Against that one, `mysql://user:password@host:port`, go the tests that make a database of their own and end no server.
"""

from __future__ import annotations

import os
import uuid
from functools import cache
from urllib.parse import unquote, urlsplit

import pymysql

from etc.demo import servers
from etc.demo.servers import MariaDB
from tests.system.serving import started

__all__ = ["PASSWORD", "USER", "MariaDB", "execute", "fresh_url", "shared", "start", "url"]

GIVEN = os.environ.get("AVE_TEST_MYSQL_URL", "").rstrip("/")
USER, PASSWORD = servers.USER, servers.MARIADB_PASSWORD


def start(*options):
    """Start one of its own, for tests that kill it."""
    return started(MariaDB, options=options)


@cache
def shared():
    """Return the one that tests share, started at the first call."""
    return start("--innodb-flush-log-at-trx-commit=2")


def fresh_url():
    """Return the URL of a database that is not there yet on the shared server, or on the one that is named."""
    name = f"ave_{uuid.uuid4().hex[:8]}"
    return f"{GIVEN}/{name}" if GIVEN else shared().url(name)


def execute(*statements):
    """Run statements where `fresh_url` leads to; return the rows of the last one."""
    if not GIVEN:
        return shared().execute(*statements)
    place = urlsplit(GIVEN)
    login = {"user": unquote(place.username or ""), "password": unquote(place.password or "")}
    where = {"host": place.hostname, "port": place.port or 3306}
    with pymysql.connect(**where, **login, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def url(server, name="ave", **login):
    return server.url(name, **login)
