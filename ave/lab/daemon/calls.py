"""Which part of a log was printed inside a call made for a run: begin and end of calls, noted beside the log.

The log itself stays raw. Per number of the log there is a file `.ave/run/<service>.calls.<number>` of lines
`[pid, offset, begins, guid]`, JSON. A call that goes on over a rotation begins anew, at 0, in the next file.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from ave import context, io
from ave import home as homes
from ave.lab.daemon.logfiles import run_file

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Notes", "Runs", "forget_before"]

#: Bytes of notes that are read at once.
CHUNK = 1 << 20


class Notes:
    """Writes down when calls of this process begin and end.

    Args:
        settle: brings what was printed into the log, and returns its number and size; see `Log.settle`.
    """

    def __init__(self, home: str, name: str, settle: Callable[[], tuple[int, int]]) -> None:
        self._home = home
        self._name = name
        self._settle = settle
        self._open: Counter[str] = Counter()
        self._number = 0
        self._fd = -1
        context.observer = self.note

    def note(self, guid: str, begins: bool) -> None:
        """Note that a call made for `guid` begins or ends; raises nothing, for the call is what matters."""
        _, offset = self._settle()
        self._open[guid] += 1 if begins else -1
        if self._open[guid] <= 0:
            del self._open[guid]
        self._write([[os.getpid(), offset, begins, guid]])

    def turn(self, number: int, *, is_alone: bool, size: int) -> None:
        """Go on with the next file of the log; `is_alone`: calls of others that never ended are over now."""
        self._number = number
        if self._fd >= 0:
            io.close(self._fd)
        self._fd = -1
        over = [[0, size, False, ""]] if is_alone and size else []
        self._write(over + [[os.getpid(), size, True, guid] for guid in self._open.elements()])

    def stop(self) -> None:
        """Note nothing any more."""
        context.observer = None

    def _write(self, notes: list[list[object]]) -> None:
        if not notes:
            return
        try:
            if self._fd < 0:
                self._fd = io.open_append(run_file(self._home, self._name, f"calls.{self._number:06d}"))
            io.write(self._fd, b"".join(json.dumps(note).encode() + b"\n" for note in notes))
        except OSError:
            pass  # lines go without their run


class Runs:
    """Tells for which run the parts of one file of a log were printed; asked from its begin to its end."""

    def __init__(self, home: str, name: str, number: int) -> None:
        self._path = run_file(home, name, f"calls.{number:06d}")
        self._read = 0
        self._notes: list[tuple[int, int, bool, str]] = []
        self._open: Counter[tuple[int, str]] = Counter()

    def guid_at(self, offset: int) -> str:
        """Return the run whose call was the only one going on at `offset`; empty if there is none, or several."""
        self._load()
        while self._notes and self._notes[0][1] <= offset:
            pid, _, begins, guid = self._notes.pop(0)
            if not pid:
                self._open.clear()
            elif begins:
                self._open[pid, guid] += 1
            else:
                self._open[pid, guid] -= 1
        guids = {guid for (_, guid), count in self._open.items() if count > 0}
        return guids.pop() if len(guids) == 1 else ""

    def _load(self) -> None:
        try:
            fd = io.open_read(self._path)
        except OSError:
            return
        try:
            data = io.pread(fd, CHUNK, self._read)
        finally:
            io.close(fd)
        whole = data.rfind(b"\n") + 1
        self._read += whole
        self._notes += [note for line in data[:whole].splitlines() if (note := _note(line))]


def forget_before(home: str, name: str, number: int) -> None:
    """Remove the notes about files before the one with this number."""
    begin = f"{name}.calls."
    for entry in os.listdir(homes.ave(home, "run")):
        rest = entry.removeprefix(begin)
        if rest != entry and rest.isdecimal() and int(rest) < number:
            io.unlink(run_file(home, name, f"calls.{rest}"))


def _note(line: bytes) -> tuple[int, int, bool, str] | None:
    try:
        pid, offset, begins, guid = json.loads(line)
    except (ValueError, TypeError):
        return None  # cut short by the end of a process
    return (pid, offset, begins, guid)
