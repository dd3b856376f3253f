"""What ave-logd needs to bring a backlog into one store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from table import row

from ave import home as homes
from ave import spool
from ave.lab.audit import audit

GUID = "bench-guid-0001"
LOGD = [sys.executable, "-c", "import sys; from ave.lab.logd import main; sys.exit(main(['--once']))"]


def drained(
    results: list[bool], path: str, file: str, kind: str, url: str, count: int, body: Mapping[str, Any]
) -> None:
    """Fill the spool of a home, let ave-logd drain it into the store of one file, and print rate, CPU and RSS."""
    config = homes.config_file(file, path)
    with open(config, "w", encoding="utf-8") as settings:
        json.dump({"enabled": True, "url": url}, settings)
    homes.forget()
    spool.append_all(kind, GUID, (dict(body) for _ in range(count)), source="bench")
    spool.close()
    began = time.monotonic()
    daemon = subprocess.Popen(LOGD, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(daemon.pid, 0)
    daemon.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - began
    row("ave-logd from start to end", f"{count / took:,.0f}/s")
    row("  its CPU", f"{(usage.ru_utime + usage.ru_stime) / count * 1e6:.0f} us/record")
    rss = usage.ru_maxrss / 1024
    results.append(row("  its RSS at most", f"{rss:.0f} MiB", "< 150 MiB", rss < 150))
    found = audit(path, GUID)
    results.append(row("  audit", "balances" if found.ok else "does not balance", "", found.ok))
