"""How much the fault tests do, and the seed of what they do at random.

The sizes in the calls of `scaled` are those of the promises, for `make chaos`; `make test` does a tenth.
"""

from __future__ import annotations

import os
import random

#: 1: make test; 10: make chaos, the size of the promises; 100: make soak.
SCALE = float(os.environ.get("AVE_TEST_SCALE") or 1)

#: Printed at the end of each run; AVE_TEST_SEED repeats one.
SEED = int(os.environ.get("AVE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))


def scaled(full: int, least: int = 1) -> int:
    """Return how many of something to do where a promise names `full`."""
    return max(least, round(full * SCALE / 10))


def dice(name: str) -> random.Random:
    """Return a source of randomness of its own for the test `name`."""
    return random.Random(f"{SEED} {name}")
