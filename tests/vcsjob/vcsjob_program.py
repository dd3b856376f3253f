"""How tests call the program `vcsjob`: in a process of its own, with pipes or on a real terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

#: `vcsjob`, though it may not be installed.
PROGRAM = [sys.executable, "-m", "vcsjob"]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def called(*arguments, **more):
    """Call it with pipes."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Terminal:
    """Call it on a terminal; `written` has all that came there so far."""

    def __init__(self, *arguments, columns=80, stdout=None, program=PROGRAM, **more):
        self.written = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            if stdout:
                os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600), 1)
            os.execve(program[0], [*program, *map(str, arguments)], environment(**{"TERM": "xterm", **more}))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self):
        """Read once; false at the end."""
        try:
            part = os.read(self._fd, 65536)
        except OSError:  # the other end is closed
            part = b""
        self.written += part
        return bool(part)

    def read_until(self, pattern):
        while not re.search(pattern, self.written):
            assert self.read(), self.written

    def type(self, data):
        os.write(self._fd, data)

    def finish(self):
        """Read to the end and return the exit code."""
        while self.read():
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    @property
    def screen(self):
        """The lines that a person sees, an endless screen supposed."""
        rows, column = [""], 0
        text = self.written.decode(errors="backslashreplace")
        while text:
            if text.startswith("\x1b[2K"):
                rows[-1] = ""
                text = text[4:]
                continue
            char, text = text[0], text[1:]
            if char == "\r":
                column = 0
            elif char == "\n":
                rows.append("")
            else:
                rows[-1] = rows[-1][:column].ljust(column) + char + rows[-1][column + 1 :]
                column += 1
        return rows


def on_terminal(*arguments, **options):
    """Call it on a terminal and return (exit code, lines as splitlines gives them)."""
    terminal = Terminal(*arguments, **options)
    code = terminal.finish()
    return code, terminal.written.decode().splitlines()
