"""What ave-logd needs to bring a backlog into one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from table import home, row

from ave import home as homes
from ave import spool
from ave.lab.audit import audit

LOGD = [sys.executable, "-c", "import sys; from ave.lab.logd import main; sys.exit(main())"]


class Drained(NamedTuple):
    """Records per second, microseconds of CPU per record, the peak RSS in MiB, and whether the audit balances."""

    rate: float
    cpu_us: float
    rss: float
    ok: bool


def drained(files: tuple[str, ...], kind: str, url: str, bodies: Sequence[dict[str, Any]]) -> Drained:
    """Fill the spool of a new home, and let ave-logd drain it into the store of these files."""
    count, guid = len(bodies), f"bench-{uuid.uuid4().hex}"
    with home() as path:
        for file in files:
            config = Path(homes.config_file(file, path))
            config.write_text(json.dumps({"enabled": True, "url": url}), encoding="utf-8")
            config.chmod(0o600)
        homes.forget()
        spool.append_all(kind, guid, iter(bodies), source="bench")
        spool.close()
        seconds, cpu, rss = _drain(Path(path, ".ave/spool"))
        found = audit(path, guid)
        stored = sum(sum(line.stored.values()) for line in found.rows)
    return Drained(count / seconds, cpu / count * 1e6, rss, found.ok and stored == count)


def report(results: list[bool], all_of: list[Drained]) -> None:
    """Print CPU, RSS and audit of some drains, the worst of each."""
    row("CPU of ave-logd", f"{max(it.cpu_us for it in all_of):.1f} us/record")
    rss = max(it.rss for it in all_of)
    results.append(row("RSS at most", f"{rss:.0f} MiB", "< 150 MiB", rss < 150))
    ok = all(it.ok for it in all_of)
    results.append(row("audit", "balances" if ok else "does not balance", "", ok))


def _drain(segments: Path) -> tuple[float, float, float]:
    """Return seconds from the first look at the store until the spool is empty, all CPU seconds, peak RSS in MiB."""
    daemon = subprocess.Popen(LOGD, stderr=subprocess.DEVNULL)
    while not list(segments.glob("cursors/*")):
        time.sleep(0.01)
    began = time.monotonic()
    while list(segments.glob("*.seg")):
        time.sleep(0.02)
    seconds = time.monotonic() - began
    rss = _peak_mib(daemon.pid)
    daemon.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(daemon.pid, 0)
    daemon.returncode = os.waitstatus_to_exitcode(status)
    return seconds, usage.ru_utime + usage.ru_stime, rss


def _peak_mib(pid: int) -> float:
    # not ru_maxrss, which has our own memory from before the exec in it
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024
