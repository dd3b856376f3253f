"""How near the SQL store comes to pymysql's own multi-row insert into a table like its own, on MariaDB."""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from table import finish, heading, home, row

sys.path.insert(0, str(Path(__file__).parents[2]))

from draining import drained

from ave.lab.stores import open_store
from ave.lab.stores.sql.rows import base_row
from ave.record import KINDS, Record
from ave.report import oursql
from tests.system import servers_mariadb

RECORDS = int(os.environ.get("AVE_BENCH_RECORDS", "30000"))
BATCH = 1000
ROUNDS = 3
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


def raw(server: servers_mariadb.MariaDB, segment: str, table: str) -> float:
    """Insert the same rows, made beforehand, into a table like the store's; return rows per second."""
    server.execute("USE ave", f"CREATE TABLE raw_{table} LIKE {table}")
    login = (servers_mariadb.USER, servers_mariadb.PASSWORD, "ave", None)
    connection = oursql.open_connection("127.0.0.1", server.port, *login)
    made = batches(segment, table)
    rows = [[(*base_row(record, None), *record.body["row"].values()) for record in batch] for batch in made]
    marks = ", ".join(["%s"] * len(rows[0][0]))
    began = time.perf_counter()
    with connection.cursor() as cursor:
        for batch in rows:
            cursor.executemany(f"INSERT INTO raw_{table} VALUES ({marks})", batch)
            connection.commit()
    rate = RECORDS / (time.perf_counter() - began)
    connection.close()
    return rate


def stored(url: str, segment: str, table: str) -> float:
    """Put records by the store; return rows per second."""
    store = open_store(url, "/nowhere", KINDS)
    store.put(batches("first", table)[0][:1])
    made = batches(segment, table)
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
    heading(f"{RECORDS:,} rows of {len(ROW) + 1} columns into MariaDB, {BATCH} at once")
    pairs = []
    for number in range(ROUNDS):
        mine = stored(url, f"segment{number}", f"bench{number}")
        pairs.append((raw(server, f"segment{number}", f"bench{number}"), mine))
    ceiling, rate = (statistics.median(side) for side in zip(*pairs, strict=True))
    share = statistics.median(mine / theirs for theirs, mine in pairs)
    row("pymysql's multi-row insert, its rows made beforehand", f"{ceiling:,.0f}/s")
    row("the store", f"{rate:,.0f}/s")
    results.append(row("share", f"{share:.0%}", ">= 75 %", share >= 0.75))
    with home() as path:
        drained(results, path, "mysql", "measurement", url, RECORDS, {"table": "drained", "row": ROW})
    server.remove()
    finish(results)


if __name__ == "__main__":
    main()
