"""Emits one very large body and prints by how many bytes the process grew. Run by a test.

long_emitter.py text HOME CHARACTERS
long_emitter.py fields HOME NUMBER
"""

from __future__ import annotations

import sys

from ave import spool


def make(what: str, size: int) -> dict:
    """Return the body; a test makes the same."""
    if what == "text":
        return {"before": 1, "text": "0123456 \n" * (size // 9), "behind": [2]}
    return {f"field {number}": number for number in range(size)}


def peak() -> int:
    """Return the most bytes that this process had in memory so far (proc(5))."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    what, home, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # what is loaded at first use is no growth
    spool.append("log", "guid-of-length", make(what, 100_000 if what == "text" else 1000), source="warm", home=home)
    body = make(what, size)
    before = peak()
    spool.append("log", "guid-of-length", body, source="test", home=home)
    print(peak() - before)
