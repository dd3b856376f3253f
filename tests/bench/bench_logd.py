"""How fast ave-logd brings a backlog into the embedded store, with how much memory, and how long one shout takes."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

from table import finish, heading, home, row

from ave import panotti, spool
from ave.lab.audit import audit

GUID = "bench-guid-0001"
BACKLOG = int(os.environ.get("AVE_BENCH_RECORDS", "1000000"))
PART = BACKLOG // 10
SHOUTS = 50
CALM_S, IDLE_S = 3, 20
LOGD = [sys.executable, "-c", "import sys; from ave.lab.logd import main; sys.exit(main())"]

os.environ.setdefault("AVE_ALLOW_ROOT", "1")


def fill(count: int) -> None:
    """Put records of 300 bytes into the spool."""
    text = "x" * 95
    bodies = ({"title": "bench", "n": n, "text": text} for n in range(count))
    spool.append_all("shout", GUID, bodies, source="bench")
    spool.close()


def stored(path: str) -> int:
    """Return how many records the embedded store has; they are numbered, and counting them all would take its time."""
    try:
        with sqlite3.connect(f"file:{path}/.ave/lab.db?mode=ro", uri=True) as db:
            return db.execute("SELECT coalesce(max(rowid), 0) FROM records").fetchone()[0]
    except sqlite3.Error:
        return 0


def drain(path: str, count: int) -> tuple[list[float], float, float]:
    """Drain a backlog; return seconds per tenth of it, the peak RSS in MiB and the CPU seconds."""
    daemon = subprocess.Popen(LOGD, stderr=subprocess.DEVNULL)
    began, marks = time.monotonic(), []
    while len(marks) < 10:
        time.sleep(0.02)
        while stored(path) >= count * (len(marks) + 1) // 10:
            marks.append(time.monotonic())
    rss = _peak_mib(daemon.pid)
    daemon.send_signal(signal.SIGTERM)
    _, _, usage = os.wait4(daemon.pid, 0)
    parts = [after - before for before, after in zip([began, *marks], marks, strict=False)]
    return parts, rss, usage.ru_utime + usage.ru_stime


def _peak_mib(pid: int) -> float:
    # not ru_maxrss, which has our own memory from before the exec in it
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        [peak] = [line.split()[1] for line in file if line.startswith("VmHWM:")]
    return int(peak) / 1024


def backlog(results: list[bool]) -> None:
    """Measure a large and a small backlog."""
    with home() as path:
        fill(1000)
        _, small, _ = drain(path, 1000)
    with home() as path:
        fill(BACKLOG)
        parts, rss, cpu = drain(path, BACKLOG)
        rate = BACKLOG / sum(parts)
        heading(f"backlog of {BACKLOG:,} records of 300 B into the embedded store")
        results.append(row("rate", f"{rate:,.0f}/s", ">= 20,000/s", rate >= 20_000))
        row("CPU", f"{cpu / BACKLOG * 1e6:.1f} us/record")
        results.append(row("RSS at most", f"{rss:.0f} MiB", "< 150 MiB", rss < 150))
        more = rss - small
        results.append(row("  more than with a backlog of 1,000", f"{more:.0f} MiB", "<= 16 MiB", more <= 16))
        # the first tenth has the start of the process in it
        slower = parts[-1] / parts[1]
        results.append(row("last tenth / second tenth", f"{slower:.2f}", "<= 1.3", slower <= 1.3))
        results.append(
            row("audit", "balances" if audit(path, GUID).ok else "does not balance", "", audit(path, GUID).ok)
        )


def latency(results: list[bool]) -> None:
    """Measure from shout to stored on an idle host."""
    with home() as path:
        daemon = subprocess.Popen(LOGD, stderr=subprocess.DEVNULL)
        while not os.path.exists(f"{path}/.ave/run/ave-logd.lock"):
            time.sleep(0.01)
        times = []
        for n in range(1, SHOUTS + 1):
            time.sleep(0.19)  # no multiple of the daemon's own interval
            began = time.monotonic()
            panotti.shout(GUID, {"n": n})
            while stored(path) < n:
                time.sleep(0.002)
            times.append(time.monotonic() - began)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        heading("an idle host")
        p50 = statistics.median(times) * 1000
        results.append(row("shout to visible, p50", f"{p50:.0f} ms", "< 300 ms", p50 < 300))


def idle(results: list[bool]) -> None:
    """Measure what waiting costs in the background, where it has a log to look after."""
    with home() as path:
        subprocess.run([*LOGD, "--start"], stdout=subprocess.DEVNULL, check=True)
        with open(f"{path}/.ave/run/ave-logd.pid", encoding="ascii") as file:
            pid = int(file.readline())
        time.sleep(CALM_S)
        before = _cpu_s(pid)
        time.sleep(IDLE_S)
        share = (_cpu_s(pid) - before) / IDLE_S * 100
        subprocess.run([*LOGD, "--stop"], stdout=subprocess.DEVNULL, check=True)
        results.append(row("idle ave-logd", f"{share:.2f} % of a core", "< 0.5 %", share < 0.5))


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the tables."""
    results: list[bool] = []
    backlog(results)
    latency(results)
    idle(results)
    finish(results)


if __name__ == "__main__":
    main()
