"""How near the CouchDB store comes to the server's own `_bulk_docs`, and what ave-logd needs for a backlog."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from table import finish, heading

sys.path.insert(0, str(Path(__file__).parents[2]))

from draining import ROUNDS, compare, drained, in_turns, report

from ave.lab.stores import Store, open_store
from ave.lab.stores.couchdb.documents import document
from ave.lab.stores.couchdb.views import design
from ave.record import KINDS, Record
from tests.system import servers_couchdb

RECORDS = int(os.environ.get("AVE_BENCH_RECORDS", "25000"))
BATCH = 1000
WARM = 3000
TIME = 1_795_348_800 * 10**9


def batches(segment: str, count: int = RECORDS) -> list[list[Record]]:
    """Make records of 300 bytes, as ave-logd batches them."""
    text = "x" * 95
    made = [
        Record(f"{segment}-{n}", "shout", "bench-guid-0001", TIME + n, "lab-1", 4711, "bench", {"n": n, "text": text})
        for n in range(1, count + 1)
    ]
    return [made[at : at + BATCH] for at in range(0, count, BATCH)]


def raw(url: str, segment: str, count: int = RECORDS) -> float:
    """Put the same documents by the server's own call into a database like the store's; return records per second."""
    parts = urlsplit(url)
    login = b64encode(f"{servers_couchdb.USER}:{servers_couchdb.PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Basic {login}"}
    headers["X-Couch-Full-Commit"] = "true"
    connection = http.client.HTTPConnection(parts.hostname, parts.port)

    def ask(method: str, path: str, body: bytes | None = None) -> None:
        connection.request(method, path, body, headers)
        connection.getresponse().read()

    ask("PUT", f"{parts.path}-raw")
    ask("PUT", f"{parts.path}-raw/{design()['_id']}", json.dumps(design()).encode())
    made = [[*map(document, batch)] for batch in batches(segment, count)]
    began = time.perf_counter()
    for documents in made:
        ask("POST", f"{parts.path}-raw/_bulk_docs", json.dumps({"docs": documents}).encode())
    rate = count / (time.perf_counter() - began)
    connection.close()
    return rate


def opened(url: str) -> Store:
    """Open the store, with one record in the database."""
    store = open_store(url, "/nowhere", KINDS)
    assert store.put(batches("first", 1)[0]) == []
    return store


def stored(url: str, segment: str) -> float:
    """Put records by the store; return records per second."""
    store = open_store(url, "/nowhere", KINDS)
    store.put(batches("second", 1)[0])
    made = batches(segment)
    began = time.perf_counter()
    for batch in made:
        assert store.put(batch) == []
    rate = RECORDS / (time.perf_counter() - began)
    store.close()
    return rate


def alone(leg: Callable[[str], Any]) -> Any:
    """Take a leg with a warm server of its own, its database made: one that was used before tidies up at times."""
    server = servers_couchdb.start()
    raw(servers_couchdb.url(server, "warm"), "warm", WARM)
    url = servers_couchdb.url(server, "bench")
    opened(url).close()
    result = leg(url)
    server.remove()
    return result


def main() -> None:
    """Print the table."""
    results: list[bool] = []
    heading(f"{RECORDS:,} records of 300 B into pouchdb-server, {BATCH} at once, the median of {ROUNDS}")
    bodies = [record.body for batch in batches("logd") for record in batch]

    def legs(_number: int) -> list[Callable[[], Any]]:
        return [
            lambda: alone(lambda url: raw(url, "segment")),
            lambda: alone(lambda url: stored(url, "segment")),
            lambda: alone(lambda url: drained(("panotti",), "shout", url, bodies)),
        ]

    ceilings, stores, logds = in_turns(legs)
    compare(results, "_bulk_docs alone, its JSON made on the way", 0.85, ceilings, stores, logds)
    report(results, logds)
    finish(results)


if __name__ == "__main__":
    main()
