"""A daemon whose log disk, 1 MiB, is full for a while; prints what is in its log in the end. Run by a test.

full_log_disk.py HOME     to be run with `unshare --mount`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from ave.lab.daemon.logs import Log

#: Lines that are printed in all.
LINES = 20_000


def main(home: str) -> None:
    """Print until long after the disk is full, make room, and print on."""
    os.makedirs(f"{home}/.ave/config", mode=0o700)
    os.makedirs(f"{home}/.ave/logs", mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", f"{home}/.ave/logs"], check=True)
    with open(f"{home}/.ave/config/logd.json", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump({"logs_quota_bytes": 1 << 30}, file)
    with open(f"{home}/.ave/logs/ballast", "wb") as file:
        file.write(bytes(400_000))
    said = os.dup(1)
    log = Log(home, "ave-printer")
    log.open()
    for n in range(LINES):
        print("line", n, "x" * 100)
        if n % 100 == 0:
            log.check()
    os.unlink(f"{home}/.ave/logs/ballast")
    log.check()
    print("the daemon goes on")
    log.close()
    with open(f"{home}/.ave/logs/ave-printer.log", "rb") as file:
        os.write(said, file.read())


if __name__ == "__main__":
    main(sys.argv[1])
