"""Emits ten records for each line on stdin, so that a test can step the clock in between. Run by a test."""

from __future__ import annotations

import sys

from ave import spool

for line in sys.stdin:
    for n in range(10):
        spool.append("log", "guid-of-clocks", {"line": line.strip(), "n": n}, source="test")
    print("done", flush=True)
