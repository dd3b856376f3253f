"""What a shout costs a job, against the floor and against the peers' ways of logging, all in one run.

The floor is the least that can keep a record: `json.dumps` of the same record and one `os.write` to an
O_APPEND file. Calls of all sides alternate, so that they share whatever else the machine does.
"""

from __future__ import annotations

import itertools
import json
import logging
import logging.handlers
import multiprocessing
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from table import finish, heading, home, percentile, row

from ave import panotti

GUID = "bench-guid-0001"
ENTRY = {
    "title": "flashing",
    "handset": "CB5A1YEDW0",
    "step": 3,
    "ok": True,
    "duration": 1.25,
    "message": "",
    "build": "2026-11-22-nightly-0042",
}
#: Words of a lab's messages; every call says something else, as jobs do, so that nothing is remembered from before.
WORDS = [
    "wrote",
    "verified",
    "image",
    "slot",
    "boot",
    "loader",
    "retries",
    "chunk",
    "modem",
    "antenna",
    "battery",
    "level",
    "percent",
    "after",
    "reboot",
    "waiting",
    "for",
    "device",
    "handset",
    "usb",
    "port",
    "relay",
    "opened",
    "closed",
    "current",
    "voltage",
    "stable",
    "median",
    "sample",
    "lost",
    "found",
    "again",
    "screen",
    "locked",
    "camera",
    "ready",
    "network",
    "attached",
    "roaming",
    "call",
    "placed",
    "answered",
    "dropped",
    "report",
    "saved",
    "step",
    "done",
]
MESSAGES = [" ".join(random.Random(seed).choices(WORDS, k=9)) for seed in range(5_000)]
CALLS = 20_000
PACED_CALLS = 200
PEER_CALLS = 2_000
PROCESSES = 4


def floor(path: str) -> Callable[[], object]:
    """Return the least that keeps a record."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    record = {"id": "0" * 28, "kind": "shout", "guid": GUID, "time": time.time_ns()}
    record |= {"host": os.uname().nodename, "pid": os.getpid(), "source": "panotti", "body": ENTRY}
    return lambda: os.write(fd, json.dumps(record).encode() + b"\n")


def shout() -> None:
    """Keep the entry the way jobs do."""
    panotti.shout(GUID, ENTRY)


def timed(call: Callable[[], object]) -> int:
    """Return the nanoseconds of one call, which says something new."""
    ENTRY["message"] = next(messages)
    began = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - began


messages = itertools.cycle(MESSAGES)


def alternating(calls: list[Callable[[], object]], times: int) -> list[list[int]]:
    """Time `times` calls of each, a hundred of one and a hundred of the next; the first hundreds warm up."""
    taken: list[list[int]] = [[] for _ in calls]
    for turn in range(times // 100 + 1):
        for call, into in zip(calls, taken, strict=True):
            part = [timed(call) for _ in range(100)]
            if turn:
                into += part
    return taken


def paced(calls: list[Callable[[], object]], times: int) -> list[list[int]]:
    """Time calls at a job's pace, 20 a second, with whatever that leaves of the caches."""
    taken: list[list[int]] = [[] for _ in calls]
    for _ in range(times):
        for call, into in zip(calls, taken, strict=True):
            time.sleep(0.05)
            into.append(timed(call))
    return taken


def _worker(side: str, path: str, begin: object, answer: object) -> None:
    call = floor(f"{path}/floor-{os.getpid()}") if side == "floor" else shout
    call()
    begin.wait()
    began = time.perf_counter()
    for message in itertools.islice(messages, CALLS):
        ENTRY["message"] = message
        call()
    answer.put(time.perf_counter() - began)


def together(side: str, path: str, processes: int) -> float:
    """Return the calls per second of several processes at once."""
    begin, answer = multiprocessing.Event(), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=_worker, args=(side, path, begin, answer)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    begin.set()
    slowest = max(answer.get() for _ in workers)
    for worker in workers:
        worker.join()
    return processes * CALLS / slowest


def p50_alone(make: Callable[[], Callable[[], object]]) -> float:
    """Return the p50 in microseconds of a call that is made and timed in a process without anybody's threads."""
    answer = multiprocessing.SimpleQueue()

    def measure() -> None:
        call = make()
        answer.put(percentile(alternating([call], PEER_CALLS)[0], 0.5))
        # a peer's threads would go on delivering for a while
        os._exit(0)

    process = multiprocessing.Process(target=measure)
    process.start()
    found = answer.get()
    process.join()
    return found


# The peers, each with a server on this machine that takes everything


def queue_handler() -> Callable[[], object]:
    """Log through the standard library's QueueHandler, a listener thread writing to a file behind it."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue()
    listener = logging.handlers.QueueListener(lines, logging.FileHandler(os.devnull))
    listener.start()
    logger = logging.Logger("peer-queue")
    logger.addHandler(logging.handlers.QueueHandler(lines))
    return lambda: logger.info("flashing", extra={"entry": ENTRY})


def logstash_async(path: str) -> Callable[[], object]:
    """Log through python-logstash-async, its SQLite queue in the same directory as our spool."""
    from logstash_async.handler import AsynchronousLogstashHandler

    handler = AsynchronousLogstashHandler("127.0.0.1", sink(), database_path=f"{path}/logstash.db")
    logger = logging.Logger("peer-logstash")
    logger.addHandler(handler)
    return lambda: logger.info("flashing", extra={"entry": ENTRY})


def sentry() -> Callable[[], object]:
    """Report through sentry-sdk."""
    import sentry_sdk

    sentry_sdk.init(f"http://key@127.0.0.1:{http_sink()}/1", default_integrations=False)
    return lambda: sentry_sdk.capture_message("flashing", contexts={"entry": ENTRY})


def sink() -> int:
    """Take connections and read them empty; return the port."""
    server = socket.create_server(("127.0.0.1", 0))

    def drain(client: socket.socket) -> None:
        while client.recv(65536):
            pass

    def serve() -> None:
        while True:
            threading.Thread(target=drain, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


def http_sink() -> int:
    """Answer 200 to every POST; return the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def killed_after(calls: int) -> int:
    """Shout from a process that is killed right after the last call returned; return how many entries are kept."""
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from ave import panotti
for n in range({calls}):
    panotti.shout({GUID!r}, {{"n": n}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    spool = os.path.join(os.environ["AVE_HOME"], ".ave", "spool")
    kept = 0
    for name in os.listdir(spool):
        if name.endswith(".seg"):
            with open(os.path.join(spool, name), encoding="utf-8") as lines:
                kept += sum('"body":{"n":' in line for line in lines)
    return kept


def main() -> None:
    """Print the tables."""
    results = []
    with home() as path:
        heading("shout of a 200-byte dict")
        lowest, ours = alternating([floor(f"{path}/floor"), shout], CALLS)
        for share, limit in ((0.50, 2.0), (0.99, 5.0)):
            base, cost = percentile(lowest, share), percentile(ours, share)
            row(f"floor p{share * 100:.0f}", f"{base:.1f} us")
            results.append(row(f"shout p{share * 100:.0f}", f"{cost:.1f} us"))
            results.append(row("  shout / floor", f"{cost / base:.2f}", f"<= {limit}", cost / base <= limit))

        heading("the same at a job's pace, 20 calls/s")
        lowest, ours = paced([floor(f"{path}/floor"), shout], PACED_CALLS)
        base, cost = percentile(lowest, 0.5), percentile(ours, 0.5)
        row("floor p50", f"{base:.1f} us")
        row("shout p50", f"{cost:.1f} us")
        results.append(row("  shout / floor", f"{cost / base:.2f}", "<= 2.0", cost / base <= 2.0))

        heading(f"{PROCESSES} processes at once, against one")
        gain = {}
        for side in ("floor", "shout"):
            alone, speed = together(side, path, 1), together(side, path, PROCESSES)
            gain[side] = speed / alone
            row(side, f"{alone:,.0f} -> {speed:,.0f}/s")
        loss = gain["floor"] / gain["shout"]
        results.append(row("  gain of floor / gain of shout", f"{loss:.2f}", "<= 1.2", loss <= 1.2))

        heading("peers, in the same run, each in a process of its own")
        cost = p50_alone(lambda: shout)
        row("shout p50", f"{cost:.1f} us")
        peers = {
            "stdlib QueueHandler": queue_handler,
            "python-logstash-async": lambda: logstash_async(path),
            "sentry-sdk": sentry,
        }
        for name, make in peers.items():
            peer = p50_alone(make)
            results.append(row(f"{name} p50", f"{peer:.1f} us", "more than shout", peer > cost))

        heading("killed right after 1,000 calls returned")
        kept = killed_after(1_000)
        results.append(row("shouts kept", f"{kept}", "= 1000", kept == 1_000))
    finish(results)


if __name__ == "__main__":
    main()
