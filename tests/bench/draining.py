"""What ave-logd needs to bring a backlog into one store, beside the store alone and the server's own bulk calls."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from table import home, row

from ave import home as homes
from ave import spool
from ave.lab.audit import Audit, audit

os.environ.setdefault("AVE_ALLOW_ROOT", "1")

ROUNDS = 5

#: Seconds that a server may need for its views: pouchdb-server makes some hundred documents a second.
VIEWS_S = 1800
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
        seconds, cpu, rss = _drain(Path(path, ".ave/spool"), is_embedded=not files)
        found = _audited(path, guid)
        stored = sum(here or 0 for line in found.rows for here in line.stored.values())
    return Drained(count / seconds, cpu / count * 1e6, rss, found.ok and stored == count)


def in_turns(legs_of: Callable[[int], Sequence[Callable[[], Any]]]) -> list[tuple[Any, ...]]:
    """Take the legs of each round, none of them always the first; return the results of each leg."""
    rounds = []
    for number in range(ROUNDS):
        legs = legs_of(number)
        done = {leg: legs[leg]() for leg in ((number + turn) % len(legs) for turn in range(len(legs)))}
        rounds.append([done[leg] for leg in range(len(legs))])
    return list(zip(*rounds, strict=True))


def compare(
    results: list[bool], ceiling: str, least: float, ceilings: Sequence[float], stores: Sequence[float], all_of: Any
) -> None:
    """Print how near the store, if it was measured, and ave-logd come to the ceiling: round by round, the median."""
    row(ceiling, f"{statistics.median(ceilings):,.0f}/s")
    if stores:
        row("the store alone", f"{statistics.median(stores):,.0f}/s  {_share(stores, ceilings):.0%}")
    rates = [it.rate for it in all_of]
    row("ave-logd until the spool is empty", f"{statistics.median(rates):,.0f}/s")
    share = _share(rates, ceilings)
    results.append(row("  share", f"{share:.0%}", f">= {least:.0%}", share >= least))


def report(results: list[bool], all_of: list[Drained]) -> None:
    """Print CPU, RSS and audit of some drains, the worst of each."""
    row("CPU of ave-logd, its start too", f"{max(it.cpu_us for it in all_of):.1f} us/record")
    rss = max(it.rss for it in all_of)
    results.append(row("RSS at most", f"{rss:.0f} MiB", "< 150 MiB", rss < 150))
    ok = all(it.ok for it in all_of)
    results.append(row("audit", "balances" if ok else "does not balance", "", ok))


def _share(rates: Sequence[float], ceilings: Sequence[float]) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(rates, ceilings, strict=True))


def _drain(segments: Path, *, is_embedded: bool) -> tuple[float, float, float]:
    """Return seconds from the first look at the store until the spool is empty, all CPU seconds, peak RSS in MiB."""
    daemon = subprocess.Popen(LOGD, stderr=subprocess.DEVNULL)
    # besides another store there is the embedded one, which passes by
    while not [path for path in segments.glob("cursors/*") if (path.name == "embedded") == is_embedded]:
        assert daemon.poll() is None, "ave-logd has ended"
        time.sleep(0.002)
    began = time.monotonic()
    while list(segments.glob("*.seg")):
        assert daemon.poll() is None, "ave-logd has ended"
        time.sleep(0.02)
    seconds = time.monotonic() - began
    rss = _peak_mib(daemon.pid)
    daemon.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(daemon.pid, 0)
    daemon.returncode = os.waitstatus_to_exitcode(status)
    return seconds, usage.ru_utime + usage.ru_stime, rss


def _audited(path: str, guid: str) -> Audit:
    """Balance the books, once the server can tell what it has: it may have views to make first."""
    deadline = time.monotonic() + VIEWS_S
    while (found := audit(path, guid)).away and time.monotonic() < deadline:
        pass
    return found


def _peak_mib(pid: int) -> float:
    # not ru_maxrss, which has our own memory from before the exec in it
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024
