"""Many ave-logd at once, each a process of its own, for one home each. Run by a test.

crowd.py HOME ...      forks them; ends them when stdin ends; then prints (exit code, peak MiB of memory) of each

What each says is in `logd.log` of its home. They are forked, for so many interpreters take half a minute to begin.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from ave import home as homes
from ave.lab.logd import main

# what they need, loaded once instead of by each
from ave.lab.stores import couchdb, elasticsearch, sql  # noqa: F401


def begin(home: str) -> int:
    """Fork an ave-logd; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        said = os.open(os.path.join(home, "logd.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.close(0)
        homes.forget()
        code = main(["--home", home])
    finally:
        os._exit(code)


def end(pid: int) -> tuple[int, float]:
    """Wait for the end of an ave-logd; return its exit code, and its peak of memory in MiB."""
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_maxrss / 1024


if __name__ == "__main__":
    crowd = [begin(home) for home in sys.argv[1:]]
    sys.stdin.read()
    for one in crowd:
        os.kill(one, signal.SIGTERM)
    print(json.dumps([end(one) for one in crowd]))
