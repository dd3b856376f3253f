"""What a daemon prints, as `stderr` records, on hosts whose panotti.json says `"stderr": true`.

Read from the log, so nothing that prints waits for it, and what a daemon said that crashed is told by the next one.
How far it got is noted after the records are in the spool: a crash between the two tells some lines twice.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from typing import Any

from ave import home as homes
from ave import io, spool
from ave.exceptions import SpoolError, SpoolFull
from ave.lab.daemon import logfiles
from ave.lab.daemon.calls import Runs, forget_before
from ave.lab.daemon.lines import pieces

__all__ = ["Forwarder", "is_wanted"]

#: Bytes of records per second in the long run, and at once; a record costs some besides its text.
RATE = 256 * 1024
BURST = 4 << 20
RECORD_COST = 200

#: Bytes that are read at once, and looked at for lines.
CHUNK = 1 << 20
WINDOW = 64 * 1024

#: Seconds that a check takes: its thread has a log to rotate.
CHECK_S = 0.01

#: Bytes of one file that may wait; of more, lines are left out.
LAG_MAX = 4 << 20

#: Seconds without a new byte after which a traceback is taken as it is.
QUIET_S = 0.3

#: Seconds after which a closed file that somebody still holds is left.
HELD_S = 1.0

#: Seconds after which a spool that cannot be written to is tried again.
RETRY_S = 1.0


def is_wanted(home: str) -> bool:
    """Tell whether this host wants the lines of its daemons in Panotti; ConfigError if panotti.json is wrong."""
    try:
        return bool(homes.load("panotti", home)["stderr"])
    except FileNotFoundError:
        return False


class Forwarder:
    """Forwards the log of one service; of several instances the one does that has the lock.

    Raises:
        ConfigError: panotti.json is wrong.
    """

    def __init__(self, home: str, name: str) -> None:
        self._home = home
        self._name = name
        self._is_wanted = is_wanted(home)
        self._lock = -1
        self._note = logfiles.run_file(home, name, "forwarded")
        # where there is no note, what was printed into older files than this is left alone
        self._first = max(1, logfiles.number(home, name))
        self._number = self._offset = self._left_out = 0
        self._noted = (0, 0, 0)
        self._is_middle = False
        self._path = ""
        self._active = logfiles.active(home, name)
        self._inode = 0
        self._budget = float(BURST)
        self._then = self._until = self._grown_at = time.monotonic()
        self._size = 0
        self._wait_until = 0.0

    def check(self) -> None:
        """Forward what was printed since the last time, as far as the rate allows; call it every 50 ms."""
        now = time.monotonic()
        if not self._is_wanted or now < self._wait_until or not self._has_lock():
            return
        self._budget = min(BURST, self._budget + (now - self._then) * RATE)
        self._then = now
        try:
            self._go_on()
        except SpoolError:
            self._wait_until = now + RETRY_S  # it told why; the same lines come again
        except OSError:
            self._path = ""  # removed or renamed under our eyes: looked for again
        self._save()

    def release(self) -> None:
        """Leave the rest to another instance; `check` would take the lock again."""
        if self._lock >= 0:
            io.close(self._lock)
            self._lock = -1
            self._path = ""

    def _has_lock(self) -> bool:
        """Tell whether this instance is the one; what another has noted is taken over with the lock."""
        if self._lock >= 0:
            return True
        io.make_dirs(os.path.dirname(self._note))
        fd = os.open(f"{self._note}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not logfiles.is_free(fd):
            io.close(fd)
            return False
        self._lock = fd
        self._load()
        return True

    def _load(self) -> None:
        try:
            self._number, self._offset, self._left_out = json.loads(io.read_file(self._note, 100))
        except (OSError, ValueError, TypeError):
            self._number, self._offset = self._first, 0
        self._runs = Runs(self._home, self._name, self._number)

    def _save(self) -> None:
        noted = (self._number, self._offset, self._left_out)
        if noted != self._noted:
            try:
                io.replace_file(self._note, json.dumps(noted).encode(), durable=False)
                self._noted = noted
            except OSError:
                pass  # tried again at the next check

    def _go_on(self) -> None:
        self._until = time.monotonic() + CHECK_S
        while not self._is_over():
            if not self._path and not self._find():
                return
            if self._is_idle():
                break
            data, is_last = self._read()
            moved = self._take(data, is_last=is_last)
            if is_last and not moved:
                self._turn(self._number + 1)
            elif not moved:
                break
        if self._left_out and self._budget > RECORD_COST:
            self._emit("", self._offset)

    # From file to file

    def _find(self) -> bool:
        """Find the file to read; count the lines of those that the quota took meanwhile."""
        with logfiles.locked(self._home) as mine:
            if not mine:
                return False
            there = self._files()
            later = [number for number in there if number >= self._number]
            if not later:
                return False
            if min(later) > self._number:
                gone = logfiles.removed(self._home, self._name)
                self._left_out += sum(gone.get(number, 0) for number in range(self._number, min(later)))
                self._turn(min(later))
            self._inode = os.stat(there[self._number]).st_ino
            self._path = there[self._number]
            return True

    def _files(self) -> dict[int, str]:
        """Return the paths of all files by their numbers; where a file is there twice, the one not compressed."""
        found = [file for file in logfiles.closed(self._home)[0] if file.service == self._name]
        there = {file.number: file.path for file in sorted(found, key=lambda file: file.path, reverse=True)}
        if os.path.exists(self._active):
            there[max(1, logfiles.number(self._home, self._name))] = self._active
        return there

    def _is_idle(self) -> bool:
        """Tell whether all of the log that is written to is read."""
        info = os.stat(self._path)
        return info.st_ino == self._inode and info.st_size == self._offset and self._path == self._active

    def _turn(self, number: int) -> None:
        """Begin with another file."""
        self._number, self._offset, self._is_middle, self._path, self._size = number, 0, False, "", 0
        self._runs = Runs(self._home, self._name, number)
        forget_before(self._home, self._name, number)

    def _read(self) -> tuple[bytes, bool]:
        """Return what comes next, and whether it is the last of its file."""
        if self._path.endswith(".gz"):
            with gzip.open(self._path) as file:
                file.seek(self._offset)
                data = file.read(CHUNK)
            return data, len(data) < CHUNK
        fd = io.open_read(self._path)
        try:
            info = os.fstat(fd)
            if info.st_ino != self._inode:
                raise FileNotFoundError(self._path)  # rotated: it has another name now
            if info.st_size < self._offset:
                self._offset = 0  # it is another file than the note meant
            if info.st_size != self._size:
                self._size, self._grown_at = info.st_size, time.monotonic()
            is_closed = self._path != self._active and self._is_left(fd)
            data = io.pread(fd, CHUNK, self._offset)
            return data, is_closed and len(data) < CHUNK
        finally:
            io.close(fd)

    def _is_left(self, fd: int) -> bool:
        """Tell whether nobody writes to a closed file any more, or only somebody who has no business there."""
        return logfiles.is_free(fd) or self._is_quiet(HELD_S)

    def _is_over(self) -> bool:
        """Tell whether this check has had its time."""
        return time.monotonic() > self._until

    def _is_quiet(self, seconds: float) -> bool:
        return time.monotonic() - self._grown_at >= seconds

    # From bytes to records

    def _take(self, data: bytes, *, is_last: bool) -> bool:
        """Forward what is complete of `data`; tell whether there was any."""
        begin = self._offset
        if self._budget <= 0 or self._size - begin > LAG_MAX:
            self._leave_out(data)
            return self._offset > begin
        is_all = (is_last or self._is_quiet(QUIET_S)) and len(data) <= WINDOW
        for piece in pieces(data[:WINDOW], is_all=is_all, is_middle=self._is_middle):
            is_told = self._forward(data[piece.begin : piece.end], continued=piece.continued)
            if is_told and (self._budget <= 0 or self._is_over()):
                break
        else:
            if is_last and len(data) <= WINDOW and (rest := data[self._offset - begin :]):
                self._forward(rest, continued=self._is_middle)
        return self._offset > begin

    def _forward(self, piece: bytes, *, continued: bool) -> bool:
        """Forward a piece; tell whether it says anything, as an empty line does not."""
        text = piece.decode("utf-8", "backslashreplace").removesuffix("\n")
        is_told = bool(text.strip())
        if is_told:
            self._emit(text, self._offset, continued=continued)
        self._offset += len(piece)
        self._is_middle = not piece.endswith(b"\n")
        return is_told

    def _leave_out(self, data: bytes) -> None:
        """Only count what is over the rate."""
        end = data.rfind(b"\n") + 1
        self._left_out += data.count(b"\n")
        self._offset += end
        self._is_middle = self._is_middle and not end

    def _emit(self, text: str, offset: int, *, continued: bool = False) -> None:
        """Put a record into the spool; SpoolError if that cannot be written to."""
        name = f"{self._name}.log.{self._number:06d}"
        body: dict[str, Any] = {"stream": "stderr", "text": text, "file": name, "offset": offset}
        if continued:
            body["continued"] = True
        if self._left_out:
            body["left_out"] = self._left_out
        self._budget -= RECORD_COST + len(text)
        try:
            spool.append("stderr", self._runs.guid_at(offset), body, source=self._name, home=self._home)
        except SpoolFull:
            pass  # counted by the spool as refused
        self._left_out = 0
