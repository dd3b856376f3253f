"""Emits where the kernel itself says no, then where it says yes again; prints what was kept. Run by a test.

full_disk.py limit HOME     no file may grow beyond 40,000 bytes (RLIMIT_FSIZE)
full_disk.py mount HOME     in a file system of 1 MiB, mounted on HOME for this process alone (needs `unshare -m`)
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

from ave import spool
from ave.exceptions import SpoolFull

GUID = "guid-of-disks"


def emit(home: str, bodies: list[dict]) -> tuple[list[int], list[int]]:
    """Append all; return the numbers of those kept and of those refused."""
    kept, refused = [], []
    for body in bodies:
        try:
            spool.append("log", GUID, body, source="test", home=home)
            kept.append(body["n"])
        except SpoolFull:
            refused.append(body["n"])
    return kept, refused


def resume(home: str, refused: list[int]) -> float:
    """Return after how many seconds the spool took a record again; note what it refused before that."""
    began = time.monotonic()
    while time.monotonic() < began + 10:
        kept, more = emit(home, [{"n": 1000}])
        refused += more
        if kept:
            break
        time.sleep(0.005)
    return time.monotonic() - began


def limit(home: str) -> dict:
    """Write under a limit, try what is longer than the limit, then lift it."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    short = [{"n": n, "text": "7 " * 1500} for n in range(100)]
    kept, refused = emit(home, [*short, {"n": 100, "text": "8 " * 25_000}])
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return {"kept": kept, "resumed_s": resume(home, refused), "refused": refused}


def mount(home: str) -> dict:
    """Fill a small file system, go on for a while, then make room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home], check=True)
    os.makedirs(f"{home}/.ave/config", mode=0o700)
    with open(f"{home}/.ave/config/panotti.json", "w") as file:
        json.dump({"spool": {"quota_bytes": 1 << 30}}, file)
    with open(f"{home}/ballast", "wb") as file:
        file.write(bytes(200_000))
    kept, refused = emit(home, [{"n": n, "text": "7 " * 5000} for n in range(150)])
    os.unlink(f"{home}/ballast")
    return {"kept": kept, "resumed_s": resume(home, refused), "refused": refused}


if __name__ == "__main__":
    told = {"limit": limit, "mount": mount}[sys.argv[1]](sys.argv[2])
    spool.close()
    from ave.testing import read_spool

    found = read_spool(f"{sys.argv[2]}/.ave/spool")
    told["found"] = [record.body["n"] for record in found.records if record.kind == "log"]
    told["gaps"] = sum(record.body["count"] for record in found.records if record.kind == "gap")
    print(json.dumps(told))
