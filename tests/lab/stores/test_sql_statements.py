"""The statements as each server's dialect writes them, and what becomes of them on the way."""

from __future__ import annotations

import pymysql.cursors
import pytest
from sqlalchemy import text
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql

from ave.lab.stores.sql.cursor import limited
from ave.lab.stores.sql.engine import Database
from ave.lab.stores.sql.putting import _statement
from ave.lab.stores.sql.schema import LOCK
from ave.lab.stores.sql.tables import Measured, _named
from tests.system import servers_mariadb

COLUMNS = ("ave_id", "ave_time", "ave_ns", "ave_guid", "ave_host", "ave_pid", "ave_source", "ave_body")


def dialect_of(*version):
    """Return SQLAlchemy's dialect as it is after a server of MySQL has told its version."""
    dialect = MySQLDialect_pymysql(paramstyle="format")
    dialect.server_version_info = version
    dialect._requires_alias_for_on_duplicate_key = version >= (8, 0, 20)
    return dialect


@pytest.fixture
def sent(monkeypatch):
    """Collect what cursors would send."""
    sent = []

    def keep(_cursor, query, _args=None):
        sent.append(query)
        return query.count(b"),(") + 1

    monkeypatch.setattr(pymysql.cursors.Cursor, "execute", keep)
    return sent


@pytest.mark.parametrize(
    ("version", "alias"), [((8, 0, 18), b""), ((8, 0, 36), b"AS new "), ((8, 4, 3), b"AS new "), ((10, 0), b"AS new ")]
)
@pytest.mark.parametrize("name", ["boots", "new", "values"])
def test_rows_go_to_every_version_of_mysql_as_one_statement(sent, version, alias, name):
    measured = Measured(name, [_named("values", {"type": "int"})], {})
    statement = _statement(measured.table, dialect_of(*version))
    rows = [(f"id-{n}", "2025-11-22", n, "run", "lab", 1, "s", None, n) for n in range(3)]
    cursor = limited(10_000, 10_000)(None)
    assert cursor.executemany(statement, rows) == 3
    assert cursor.execute(statement, rows[0]) == 1
    several, one = sent
    head, _, tail = several.partition(b" VALUES ")
    assert head == b"INSERT INTO `%b` (%b, `values`)" % (name.encode(), ", ".join(COLUMNS).encode())
    assert tail.startswith(b'("id-0","2025-11-22",0,"run","lab",1,"s",null,0),("id-1","2025-11-22",1,')
    alias = alias.replace(b"new", b"new_1") if name == "new" else alias
    assert tail.endswith(b"null,2) %bON DUPLICATE KEY UPDATE ave_id = `%b`.ave_id" % (alias, name.encode()))
    assert one.count(b"id-") == 1


def test_the_lock_has_a_name_of_its_own_that_every_server_takes_however_long_the_database_is_called():
    url = servers_mariadb.fresh_url()
    names = []
    for rest in ("", "x" * 46, "x" * 52, "x" * 51 + "y"):
        with Database(url + rest, readonly=False).connect() as connection:
            names.append(connection.execute(text(f"SELECT {LOCK}")).scalar_one())
        connection.engine.dispose()
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 64
    assert names[0].endswith(".ave")
