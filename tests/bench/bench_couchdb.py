"""How near the CouchDB store comes to the server's own `_bulk_docs`, and what ave-logd needs for a backlog."""

from __future__ import annotations

import http.client
import os
import statistics
import sys
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from table import finish, heading, home, row

sys.path.insert(0, str(Path(__file__).parents[2]))

from draining import drained

from ave.lab.stores import open_store
from ave.lab.stores.couchdb.documents import document
from ave.record import KINDS, Record
from tests.system import servers_couchdb

RECORDS = int(os.environ.get("AVE_BENCH_RECORDS", "6000"))
BATCH = 1000
ROUNDS = 3
TIME = 1_795_348_800 * 10**9


def batches(segment: str) -> list[list[Record]]:
    """Make records of 300 bytes, as ave-logd batches them."""
    text = "x" * 95
    made = [
        Record(f"{segment}-{n}", "shout", "bench-guid-0001", TIME + n, "lab-1", 4711, "bench", {"n": n, "text": text})
        for n in range(1, RECORDS + 1)
    ]
    return [made[at : at + BATCH] for at in range(0, RECORDS, BATCH)]


def raw(url: str, segment: str) -> float:
    """Put the same documents by the server's own call, made beforehand; return records per second."""
    parts = urlsplit(url)
    login = b64encode(f"{servers_couchdb.USER}:{servers_couchdb.PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Basic {login}"}
    connection = http.client.HTTPConnection(parts.hostname, parts.port)

    def ask(method: str, path: str, body: bytes | None = None) -> None:
        connection.request(method, path, body, headers)
        connection.getresponse().read()

    ask("PUT", f"{parts.path}-raw")
    bodies = [msgspec.json.encode({"docs": [*map(document, batch)]}) for batch in batches(segment)]
    began = time.perf_counter()
    for body in bodies:
        ask("POST", f"{parts.path}-raw/_bulk_docs", body)
    rate = RECORDS / (time.perf_counter() - began)
    connection.close()
    return rate


def stored(url: str, segment: str) -> float:
    """Put records by the store; return records per second."""
    store = open_store(url, "/nowhere", KINDS)
    store.put(batches("first")[0][:1])
    made = batches(segment)
    began = time.perf_counter()
    for batch in made:
        assert store.put(batch) == []
    rate = RECORDS / (time.perf_counter() - began)
    store.close()
    return rate


def main() -> None:
    """Print the table."""
    results: list[bool] = []
    server = servers_couchdb.start()
    heading(f"{RECORDS:,} records of 300 B into pouchdb-server, {BATCH} at once")
    pairs = []
    for number in range(ROUNDS):
        url = servers_couchdb.url(server, f"bench{number}")
        pairs.append((raw(url, f"segment{number}"), stored(url, f"segment{number}")))
    ceiling, rate = (statistics.median(side) for side in zip(*pairs, strict=True))
    share = statistics.median(mine / theirs for theirs, mine in pairs)
    row("_bulk_docs, its documents made beforehand", f"{ceiling:,.0f}/s")
    row("the store", f"{rate:,.0f}/s")
    results.append(row("share", f"{share:.0%}", ">= 85 %", share >= 0.85))
    with home() as path:
        drained(results, path, "panotti", "shout", servers_couchdb.url(server, "logd"), RECORDS, {"text": "x" * 95})
    server.remove()
    finish(results)


if __name__ == "__main__":
    main()
