"""What it costs a daemon to print into its log, rotation and quota included, against the same program and a plain file.

The two alternate, as other load on the machine comes and goes; the best of each is compared, and their median shown.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from table import finish, heading, row

from ave.lab.daemon.logs import Log

LINES = int(os.environ.get("AVE_BENCH_RECORDS", "1000000"))
RUNS = 7
LIMIT = 1.2

#: Small enough that a run has several rotations, and the quota something to take.
SETTINGS = {"log_rotate_bytes": 4 << 20, "logs_quota_bytes": 32 << 20}


def printing(home: str) -> None:
    """Print; tell on descriptor 3 how many seconds it took. Without a home, to where stdout goes."""
    from threading import Event, Thread

    ending = Event()
    if home:
        log = Log(home, "ave-bench")
        log.open()

        def keep() -> None:
            while not ending.wait(0.05):
                log.check()

        keeper = Thread(target=keep)
        keeper.start()
    began = time.perf_counter()
    for n in range(LINES):
        print("line", n, "of a daemon that has much to say")
    sys.stdout.flush()
    took = time.perf_counter() - began
    if home:
        ending.set()
        keeper.join()
        log.close()
    os.write(3, str(took).encode())


def measure(home: str, stdout: int) -> float:
    """Run the program; return the seconds that it told."""
    read_end, write_end = os.pipe()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = ["sh", "-c", f'exec "$@" 3>&{write_end}', "sh", sys.executable, __file__, "print", home]
    subprocess.run(command, stdout=stdout, pass_fds=[write_end], check=True, env=environment)
    os.close(write_end)
    with os.fdopen(read_end) as told:
        return float(told.read())


def daemon() -> tuple[float, int]:
    """Print as a daemon does; return the seconds, and how many logs there were."""
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(f"{home}/.ave/config")
        with open(f"{home}/.ave/config/logd.json", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(SETTINGS, file)
        took = measure(home, subprocess.DEVNULL)
        with open(f"{home}/.ave/run/ave-bench.log.number", encoding="ascii") as file:
            return took, int(file.read())


def plain() -> float:
    """Print into a plain file; return the seconds."""
    with tempfile.NamedTemporaryFile() as file:
        return measure("", file.fileno())


def main() -> None:
    """Print the table."""
    heading(f"a daemon that prints {LINES:,} lines, {RUNS} runs of each")
    logs, plains, rotations = [], [], 0
    for _ in range(RUNS):
        took, rotations = daemon()
        logs.append(took)
        plains.append(plain())
    row("into its log, best", f"{min(logs):.2f} s")
    row("into a plain file, best", f"{min(plains):.2f} s")
    row("rotations in the last run", f"{rotations - 1}", "> 0", rotations > 1)
    row("median of the pairs", f"{statistics.median(a / b for a, b in zip(logs, plains, strict=True)):.2f} x")
    ratio = min(logs) / min(plains)
    finish([row("best / best", f"{ratio:.2f} x", f"<= {LIMIT} x", ratio <= LIMIT), rotations > 1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["print"]:
        printing(sys.argv[2])
    else:
        main()
