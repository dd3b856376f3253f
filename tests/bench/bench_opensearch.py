"""How fast ave-logd brings a backlog into OpenSearch, beside that server's own `_bulk` with the same documents.

The ceiling is a loop that makes JSON of 1,000 documents and sends them over one connection to a fresh index with the
same fields: what this server takes from one script on this machine. Both share the cores with the server.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import requests
from draining import ROUNDS, Drained, compare, drained, in_turns, report
from table import finish, heading, row

from ave.lab.stores.elasticsearch.templates import template
from ave.lab.stores.instants import instant
from ave.record import Record
from tests.system import servers_opensearch

GUID = "bench-guid-0001"
SMALL = 50_000
BACKLOG = int(os.environ.get("AVE_BENCH_RECORDS", "100000"))
BATCH = 1000
TEXT = "x" * 95


def shape(record: Record) -> dict[str, object]:
    """Return the document that the store makes of such a record."""
    own = {"id": record.id, "order": f"028{record.id}", "kind": record.kind, "time": record.time, "host": record.host}
    return {
        "@timestamp": instant(record.time),
        "guid": record.guid,
        "ave": {**own, "pid": record.pid, "source": record.source},
        "body": {**record.body, "text": TEXT},
    }


def raw(node: servers_opensearch.Node, count: int) -> float:
    """Send documents by `_bulk` as any script would, and nothing else; return documents per second."""
    name = f"raw{uuid.uuid4().hex[:8]}"
    made = template(servers_opensearch.FLAVOUR, name, locust=f"{name}-requests")
    requests.put(f"{node.url}/_index_template/{name}", json=made, timeout=30).raise_for_status()
    segment, now = uuid.uuid4().hex[:26], time.time_ns()
    session = requests.Session()
    headers = {"Content-Type": "application/x-ndjson"}
    began = time.monotonic()
    for begin in range(0, count, BATCH):
        lines = []
        for n in range(begin + 1, begin + BATCH + 1):
            record = Record(f"{segment}-{n}", "shout", GUID, now + n, "lab-1", 1, "bench", {"title": "bench", "n": n})
            lines += [
                json.dumps({"create": {"_index": f"{name}-2026.11", "_id": record.id}}),
                json.dumps(shape(record)),
            ]
        body = "\n".join([*lines, ""]).encode()
        answer = session.post(f"{node.url}/_bulk?filter_path=errors", body, headers=headers, timeout=60)
        assert answer.json() == {"errors": False}
    seconds = time.monotonic() - began
    session.close()
    requests.delete(f"{node.url}/{name}-*", timeout=30)
    requests.delete(f"{node.url}/_index_template/{name}", timeout=30)
    return count / seconds


def delivered(node: servers_opensearch.Node, count: int) -> Drained:
    """Drain a backlog into indices of its own."""
    name = f"ave{uuid.uuid4().hex[:8]}"
    url = f"elasticsearch://127.0.0.1:{node.port}/{name}?locust={name}-requests"
    bodies = [{"title": "bench", "n": n, "text": TEXT} for n in range(count)]
    figures = drained(("panotti", "decibel", "mysql"), "shout", url, bodies)
    requests.delete(f"{node.url}/{name}-*", timeout=30)
    requests.delete(f"{node.url}/_index_template/{name}", timeout=30)
    return figures


def main() -> None:
    """Print the table."""
    results: list[bool] = []
    node = servers_opensearch.start(hasty=False)
    raw(node, SMALL)  # Java is slow at first
    delivered(node, SMALL // 5)
    small = delivered(node, SMALL).rate
    ceilings, ours = in_turns(lambda _number: [lambda: raw(node, BACKLOG), lambda: delivered(node, BACKLOG)])
    large = statistics.median(mine.rate for mine in ours)
    heading(f"backlog of {BACKLOG:,} records of 300 B into OpenSearch, the median of {ROUNDS}")
    compare(results, "_bulk alone, its JSON made on the way", 0.75, ceilings, (), ours)
    row(f"a backlog of {SMALL:,}", f"{small:,.0f}/s")
    results.append(row("  the large one / the small one", f"{large / small:.2f}", ">= 0.85", large / small >= 0.85))
    report(results, ours)
    node.remove()
    finish(results)


if __name__ == "__main__":
    main()
