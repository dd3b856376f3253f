"""How fast ave-logd brings a backlog into OpenSearch, beside that server's own `_bulk` with the same documents.

The ceiling is a loop that makes JSON of 1,000 documents and sends them over one connection to a fresh index with the
same fields: what this server takes from one script on this machine. Both share the cores with the server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import requests
from table import finish, heading, home, row

from ave import spool
from ave.lab.audit import audit
from ave.lab.stores.elasticsearch.templates import template
from ave.lab.stores.instants import instant
from ave.record import Record
from tests.system import servers_opensearch

GUID = "bench-guid-0001"
SMALL = 50_000
BACKLOG = int(os.environ.get("AVE_BENCH_RECORDS", "300000"))
BATCH = 1000
TEXT = "x" * 95
LOGD = [sys.executable, "-c", "import sys; from ave.lab.logd import main; sys.exit(main())"]


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
    made = template("opensearch", name, locust=f"{name}-requests")
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


def fill(count: int) -> None:
    """Put records of 300 bytes into the spool."""
    bodies = ({"title": "bench", "n": n, "text": TEXT} for n in range(count))
    spool.append_all("shout", GUID, bodies, source="bench")
    spool.close()


def drained(path: str, count: int) -> tuple[float, float, float]:
    """Drain a backlog; return records per second, the CPU seconds of ave-logd and its peak RSS in MiB."""
    fill(count)
    began = time.monotonic()
    daemon = subprocess.Popen(LOGD, stderr=subprocess.DEVNULL)
    segments = Path(path, ".ave/spool")
    while list(segments.glob("*.seg")):
        time.sleep(0.02)
    seconds = time.monotonic() - began
    rss = _peak_mib(daemon.pid)
    daemon.send_signal(signal.SIGTERM)
    _, _, usage = os.wait4(daemon.pid, 0)
    return count / seconds, usage.ru_utime + usage.ru_stime, rss


def _peak_mib(pid: int) -> float:
    # not ru_maxrss, which has our own memory from before the exec in it
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024


def delivered(node: servers_opensearch.Node, count: int) -> tuple[float, float, float, bool]:
    """Drain a backlog of its own; return what `drained` does, and whether the books balance."""
    name = f"ave{uuid.uuid4().hex[:8]}"
    with home() as path:
        settings = {"enabled": True, "url": f"elasticsearch://127.0.0.1:{node.port}/{name}?locust={name}-requests"}
        for file in ("panotti", "decibel", "mysql"):
            config = Path(path, ".ave/config", f"{file}.json")
            config.write_text(json.dumps(settings))
            config.chmod(0o600)
        figures = drained(path, count)
        found = audit(path, GUID)
        stored = sum(sum(line.stored.values()) for line in found.rows)
    requests.delete(f"{node.url}/{name}-*", timeout=30)
    requests.delete(f"{node.url}/_index_template/{name}", timeout=30)
    return *figures, found.ok and stored == count


def main() -> None:
    """Print the table."""
    results: list[bool] = []
    node = servers_opensearch.start(hasty=False)
    raw(node, SMALL)  # Java is slow at first
    delivered(node, SMALL // 5)
    small, *_ = delivered(node, SMALL)
    large, cpu, rss, ok = delivered(node, BACKLOG)
    # as many, for a larger index is more work for the server
    ceiling = raw(node, BACKLOG)
    heading(f"backlog of {BACKLOG:,} records of 300 B into OpenSearch")
    row("_bulk alone", f"{ceiling:,.0f}/s")
    share = large / ceiling
    results.append(row("ave-logd", f"{large:,.0f}/s", ">= 75 % of it", share >= 0.75))
    row("  that is", f"{share:.0%}")
    row(f"a backlog of {SMALL:,}", f"{small:,.0f}/s")
    results.append(row("  the large one / the small one", f"{large / small:.2f}", ">= 0.85", large / small >= 0.85))
    row("CPU of ave-logd", f"{cpu / BACKLOG * 1e6:.1f} us/record")
    results.append(row("RSS at most", f"{rss:.0f} MiB", "< 150 MiB", rss < 150))
    results.append(row("audit", "balances" if ok else "does not balance", "", ok))
    node.remove()
    finish(results)


if __name__ == "__main__":
    main()
