"""How near the SQL store comes to pymysql's own multi-row insert into a table like its own, on MariaDB."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from table import finish, heading

sys.path.insert(0, str(Path(__file__).parents[2]))

from draining import ROUNDS, compare, drained, in_turns, report

from ave.lab.stores import Store, open_store
from ave.lab.stores.sql.rows import base_row
from ave.record import KINDS, Record
from ave.report import oursql
from tests.system import servers_mariadb

RECORDS = int(os.environ.get("AVE_BENCH_RECORDS", "200000"))
BATCH = 1000
TIME = 1_795_348_800 * 10**9
ROW = {"seconds": 31.25, "volts": 3.3, "count": 17, "cold": True, "device": "yuga", "build": "24.0.A.1.34"}


def batches(segment: str, table: str) -> list[list[Record]]:
    """Make rows as ave-logd batches them."""
    made = [
        Record(f"{segment}-{n}", "measurement", "bench-guid-0001", TIME + n, "lab-1", 4711, "bench", body)
        for n in range(1, RECORDS + 1)
        for body in [{"table": table, "row": {**ROW, "n": n}}]
    ]
    return [made[at : at + BATCH] for at in range(0, RECORDS, BATCH)]


def raw(server: servers_mariadb.MariaDB, url: str, table: str) -> float:
    """Insert the same rows into a table like the store's, and nothing else; return rows per second."""
    opened(url, f"like_{table}").close()
    server.execute("USE ave", f"CREATE TABLE raw_{table} LIKE like_{table}")
    login = (servers_mariadb.USER, servers_mariadb.PASSWORD, "ave", None)
    connection = oursql.open_connection("127.0.0.1", server.port, *login)
    made = batches("raw", table)
    marks = ", ".join(["%s"] * (len(base_row(made[0][0], None)) + len(made[0][0].body["row"])))
    began = time.perf_counter()
    with connection.cursor() as cursor:
        for batch in made:
            rows = [(*base_row(record, None), *record.body["row"].values()) for record in batch]
            cursor.executemany(f"INSERT INTO raw_{table} VALUES ({marks})", rows)
            connection.commit()
    rate = RECORDS / (time.perf_counter() - began)
    connection.close()
    return rate


def opened(url: str, table: str) -> Store:
    """Open the store, with one row in that table."""
    store = open_store(url, "/nowhere", KINDS)
    assert store.put(batches(f"first-{table}", table)[0][:1]) == []
    return store


def stored(url: str, table: str) -> float:
    """Put records by the store; return rows per second."""
    store = opened(url, table)
    made = batches("stored", table)
    began = time.perf_counter()
    for batch in made:
        assert store.put(batch) == []
    rate = RECORDS / (time.perf_counter() - began)
    store.close()
    return rate


def main() -> None:
    """Print the table."""
    results: list[bool] = []
    server = servers_mariadb.start()
    url = servers_mariadb.url(server)
    heading(f"{RECORDS:,} rows of {len(ROW) + 1} columns into MariaDB, {BATCH} at once, the median of {ROUNDS}")

    def legs(number: int) -> list[Callable[[], Any]]:
        opened(url, f"drained{number}").close()
        bodies = [record.body for batch in batches("logd", f"drained{number}") for record in batch]
        return [
            lambda: raw(server, url, f"bench{number}"),
            lambda: stored(url, f"bench{number}"),
            lambda: drained(("mysql",), "measurement", url, bodies),
        ]

    ceilings, stores, logds = in_turns(legs)
    ceiling = "pymysql's multi-row insert alone, its rows made on the way"
    compare(results, ceiling, 0.75, ceilings, stores, logds)
    report(results, logds)
    server.remove()
    finish(results)


if __name__ == "__main__":
    main()
