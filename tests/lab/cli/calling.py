"""How the tests of `ave` call it, and the run and the moment they speak of."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

from ave.lab.cli import main

ROOT = Path(__file__).parents[3]
GUID = "run-0123456789"
SECOND = 1_000_000_000
NOON = 1_795_348_800 * SECOND  # 2026-11-22 12:00 UTC

#: `ave`, though it may not be installed.
PROGRAM = [sys.executable, "-c", "import sys; from ave.lab.cli import main; sys.exit(main())"]

#: The same; it writes the most memory it had, in KiB, as the last thing to stderr.
MEASURED = [
    sys.executable,
    "-c",
    "import re, sys; from ave.lab.cli import main; code = main();"
    "sys.stderr.write(re.search('VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)",
]


class Ran(NamedTuple):
    """What came of a call of `ave`."""

    code: int
    out: str
    err: str


def called(capsys, *arguments: str) -> Ran:
    """Call it in this process."""
    capsys.readouterr()
    code = main(arguments)
    return Ran(code, *capsys.readouterr())


def started(*arguments: str, program: list[str] = PROGRAM) -> Ran:
    """Call it in a process of its own."""
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=120, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def shown(*arguments: str, columns: int = 80) -> Ran:
    """Call it on a terminal of so many columns; `out` has all that is written there."""
    pid, fd = pty.fork()
    if pid == 0:
        # with an environment: readline has put COLUMNS into the one that C functions see
        os.execve(PROGRAM[0], [*PROGRAM, *arguments], dict(os.environ))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written = bytearray()
    while part := _read(fd):
        written += part
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    return Ran(os.waitstatus_to_exitcode(status), written.decode().replace("\r\n", "\n"), "")


def deliver(home: str) -> None:
    """Bring what is in the spool to the store."""
    code = "import sys; from ave.lab.logd import main; sys.exit(main(['--once', '--home', sys.argv[1]]))"
    subprocess.run([sys.executable, "-c", code, home], check=True, capture_output=True, timeout=60)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # the other end is closed
        return b""
