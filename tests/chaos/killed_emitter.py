"""A process that emits until it is killed, and one that forks and kills many of those. Run by a test.

killed_emitter.py emit HOME NAME SIZE       appends for ever; writes an acknowledgement to stdout after each
killed_emitter.py zygote BASE KILLS SEED    forks KILLS emitters, kills each; prints the home of each round, in which
                                            the file `acks` has what was acknowledged

It imports no more than a job does, for a small process forks fast.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import time
import zlib
from datetime import datetime
from itertools import count

from ave import io, spool

SIZES = (300, 4096, 64_000)
TEXT = " ".join(map(str, random.Random(1).choices(range(10_000), k=40_000)))
ACK = struct.Struct("<IIQ")

#: Kills of one round, into one home.
ROUND = 50

#: The longest that an emitter lives that is killed at any moment, in seconds.
LIFE_S = 0.006

#: A byte that an emitter counts up before each write, so that its killer can aim at the write itself.
BELL = mmap.mmap(-1, 1)


def text_of(name: int, n: int, size: int) -> str:
    """Return the text that record `n` of the emitter `name` has."""
    begin = zlib.crc32(b"%d %d" % (name, n)) % (len(TEXT) - size)
    return TEXT[begin : begin + size]


def emit(home: str, name: int, size: int, acks: int) -> None:
    """Append for ever; acknowledge each record once `append` has returned."""
    for n in count():
        text = text_of(name, n, size)
        spool.append("log", "guid-of-kills", {"name": name, "n": n, "text": text}, source="test", home=home)
        os.write(acks, ACK.pack(name, n, zlib.crc32(text.encode())))


def ringing_write(fd: int, data: bytes) -> int:
    """Write as `ave.io.write` does, after ringing the bell."""
    BELL[0] = (BELL[0] + 1) % 256
    return os.write(fd, data)


def zygote(base: str, kills: int, dice: random.Random) -> None:
    """Fork and kill, round after round."""
    io.write = ringing_write
    # what is loaded at first use is loaded once, here
    spool.append("log", "guid-of-kills", {"n": datetime.now()}, source="test", home=f"{base}-warm")
    spool.close()
    for begin in range(0, kills, ROUND):
        home = f"{base}-{begin}"
        os.mkdir(home)
        with open(f"{home}/acks", "wb") as acks:
            acks.writelines(kill_one(home, name, dice) for name in range(begin, min(begin + ROUND, kills)))
        print(home, flush=True)


def kill_one(home: str, name: int, dice: random.Random) -> bytes:
    """Fork an emitter, kill it at any moment or in one of its writes, return what it acknowledged."""
    size = SIZES[name % len(SIZES)]
    reading, writing = os.pipe()
    BELL[0] = 0
    child = os.fork()
    if child == 0:
        try:
            emit(home, name, size, writing)
        finally:
            os._exit(1)  # emit never returns: whatever comes here shows as an exit without a signal
    os.close(writing)
    if dice.random() < 0.25:
        time.sleep(dice.uniform(0, LIFE_S))  # the moment of death is what is drawn, not something to wait for
    else:
        writes, spins = dice.randrange(1, 20), dice.randrange(size // 200 + 20)
        while BELL[0] < writes:
            pass
        for _ in range(spins):
            pass
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the emitter ended by itself: {status}"
    data = b""
    while more := os.read(reading, 1 << 16):
        data += more
    os.close(reading)
    return data[: len(data) - len(data) % ACK.size]


if __name__ == "__main__":
    if sys.argv[1] == "emit":
        emit(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), 1)
    else:
        zygote(sys.argv[2], int(sys.argv[3]), random.Random(sys.argv[4]))
