"""Emits much more than the quota allows, and prints what was kept and what was refused. Run by a test.

greedy_emitter.py HOME BYTES VERDICTS SEED
"""

from __future__ import annotations

import json
import random
import sys

from ave import spool
from ave.exceptions import SpoolFull
from ave.spool import writer

#: Smaller than in real life, so that many are rolled.
SEGMENT_SIZE = 256 << 10


def main(home: str, size: int, verdicts: int, dice: random.Random) -> None:
    """Emit traces and logs of `size` bytes together, and `verdicts` verdicts and exceptions between them."""
    kept: dict[str, int] = {}
    refused: dict[str, int] = {}
    total = sent = 0
    while total < size or sent < verdicts:
        if total >= size or dice.random() < verdicts / (size / 10_000):
            sent += 1
            kind, text = dice.choice(("verdict", "exception")), ""
        else:
            kind, text = dice.choice(("trace", "log")), "7 " * dice.randrange(10_000)
            total += len(text)
        try:
            spool.append(kind, f"guid-of-{kind}", {"text": text}, source="test", home=home)
            kept[kind] = kept.get(kind, 0) + 1
        except SpoolFull:
            refused[kind] = refused.get(kind, 0) + 1
    spool.close()
    print(json.dumps([kept, refused]))


if __name__ == "__main__":
    writer.SEGMENT_SIZE = SEGMENT_SIZE
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), random.Random(sys.argv[4]))
