"""What importing the job side costs, against `import json`: the best of 31 fresh interpreters, timed inside."""

from __future__ import annotations

import os
import subprocess
import sys

from table import finish, heading, row

TIMES = 31
LIMITS = {"ave.panotti": 2.2, "ave.scheduler": 2.2, "vcsjob": 3.2}


def cost(module: str) -> float:
    """Return the milliseconds that one import takes in a fresh interpreter without site packages of anybody's."""
    code = f"import time; t = time.perf_counter_ns(); import {module}; print(time.perf_counter_ns() - t)"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {sys.path[-1]!r}); {code}"]
    # bytecode is cached, as it is wherever a job runs for the second time
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(ended.stdout) / 1e6


def main() -> None:
    """Print the table."""
    modules = ["json", *LIMITS]
    best = dict.fromkeys(modules, float("inf"))
    for _ in range(TIMES):
        for module in modules:
            best[module] = min(best[module], cost(module))
    heading("import, best of 31 fresh interpreters")
    row("json", f"{best['json']:.2f} ms")
    results = []
    for module, limit in LIMITS.items():
        ratio = best[module] / best["json"]
        results.append(row(module, f"{best[module]:.2f} ms = {ratio:.2f}", f"<= {limit} x json", ratio <= limit))
    finish(results)


if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/tests/", 1)[0])
    main()
