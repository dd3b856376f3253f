"""What a job notices of a store that is away: nothing. And how fast what it left behind is brought home afterwards.

Three hosts' homes, each with its ave-logd: the MariaDB of one takes everything, that of the second refuses every
connection, that of the third takes connections and says nothing. A job emits as fast as it can, into one after the
other; the next turn begins when the first home's spool is empty.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from draining import LOGD
from table import finish, heading, home, percentile, row

from ave import home as homes
from ave import spool
from ave.lab.audit import audit
from ave.network import find_free_port
from tests.system import servers_mariadb

GUID = "bench-guid-0001"
CALLS = int(os.environ.get("AVE_BENCH_RECORDS", "10000"))
PAIRS = 20

#: Records per second of a busy job, see R9.
INGEST = 1000
ROW = {"seconds": 31.25, "volts": 3.3, "count": 17, "cold": True, "device": "yuga", "build": "24.0.A.1.34"}


class Host:
    """A home, its ave-logd, and what calls into it took, in nanoseconds."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.calls: list[int] = []
        self.turns: list[int] = []

    def begin(self, url: str) -> None:
        """Let ave-logd serve with this store."""
        config = Path(homes.config_file("mysql", self.path))
        config.write_text(json.dumps({"enabled": True, "url": url}), encoding="utf-8")
        config.chmod(0o600)
        self.logd = subprocess.Popen(LOGD, env={**os.environ, "AVE_HOME": self.path}, stderr=subprocess.DEVNULL)
        while not list(Path(self.path).glob(".ave/spool/cursors/mysql*")):
            time.sleep(0.01)

    def end(self) -> None:
        """End ave-logd."""
        self.logd.send_signal(signal.SIGTERM)
        self.logd.wait()

    def emit(self) -> None:
        """Emit, and end the segment, as a job does."""
        began = time.perf_counter_ns()
        for n in range(CALLS):
            at = time.perf_counter_ns()
            body = {"table": "bench", "row": {**ROW, "n": n}}
            spool.append("measurement", GUID, body, source="bench", home=self.path)
            self.calls.append(time.perf_counter_ns() - at)
        self.turns.append(time.perf_counter_ns() - began)
        spool.close()

    def drain(self) -> float:
        """Wait until the spool is empty; return how many seconds that took."""
        began = time.monotonic()
        while list(Path(self.path).glob(".ave/spool/*.seg")):
            assert self.logd.poll() is None, "ave-logd has ended"
            time.sleep(0.01)
        return time.monotonic() - began


@contextmanager
def silent() -> Iterator[int]:
    """Give a port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


def spread(host: Host) -> str:
    """Say how long a call takes."""
    return f"{percentile(host.calls, 0.5):.0f}, {percentile(host.calls, 0.99):.0f} us"


def compare(name: str, away: Host, usual: Host, results: list[bool]) -> None:
    """Print what a job has of a store that is away, beside one that is not: turn by turn, the median."""
    share = statistics.median(there / gone for there, gone in zip(usual.turns, away.turns, strict=True))
    row(f"{name}: emit p50, p99", spread(away))
    results.append(row("  rate / that with the store there", f"{share:.2f}", ">= 0.98", share >= 0.98))


def main() -> None:
    """Print the table."""
    results: list[bool] = []
    server = servers_mariadb.start()
    with ExitStack() as stack:
        there, refused, hanging = (Host(stack.enter_context(home())) for _ in range(3))
        there.begin(servers_mariadb.url(server))
        refused.begin(f"mysql://127.0.0.1:{find_free_port()}/ave")
        hanging.begin(f"mysql://127.0.0.1:{stack.enter_context(silent())}/ave")
        for turn in range(PAIRS + 1):
            hosts = [there, refused, hanging]
            for host in hosts[turn % 3 :] + hosts[: turn % 3]:
                host.emit()
                there.drain()
            if not turn:  # the first one warms up
                for host in hosts:
                    host.calls.clear()
                    host.turns.clear()
        heading(f"{CALLS:,} records at once, {PAIRS} times in turns")
        row("the store is there: emit p50, p99", spread(there))
        compare("it refuses connections", refused, there, results)
        compare("it hangs", hanging, there, results)
        refused.end()
        refused.begin(servers_mariadb.url(server, "later"))
        count = CALLS * (PAIRS + 1)
        rate = count / refused.drain()
        row(f"it is back: the {count:,} that waited", f"{rate:,.0f}/s")
        results.append(row("  times the pace of a busy job", f"{rate / INGEST:.1f}", ">= 5", rate >= 5 * INGEST))
        for host in (there, refused, hanging):
            host.end()
        homes.forget()
        ok = all(audit(host.path, GUID).ok for host in (there, refused))
        results.append(row("audit", "balances" if ok else "does not balance", "", ok))
    server.remove()
    finish(results)


if __name__ == "__main__":
    main()
