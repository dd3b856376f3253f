"""Where a job's output goes: a file, or stderr. A log that cannot be written costs output, never the job."""

from __future__ import annotations

import os
import sys

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["JobLog", "tell"]


def tell(text: str) -> None:
    """Say something about the run, not from it, on stderr; never raises."""
    try:
        sys.stderr.write(f"vcsjob: WARNING: {text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # none, full or closed: there is nobody left to tell
        return


class JobLog:
    """The log of one run, a context manager. Bytes go out as they come, unbuffered and unchanged.

    A failure is told once on stderr. Writing goes on, so a disk that is full for a while costs only that while,
    and a line in the log says how much is missing there.

    Attributes:
        path: absolute, for the job may change its directory; None for stderr.
        size: bytes written so far: where the next one will be.
        lost: bytes that could not be written, in all.
        failure: why not, the first time; empty if all went well.
    """

    def __init__(self, path: str | None) -> None:
        """Empty the file at `path`, or make it and its directories; falsy means stderr.

        UsageError: `path` is none that any file could have.
        """
        if path and "\0" in path:
            raise UsageError(f"a log path has no NUL: {path!r}")
        self.path = os.path.abspath(path) if path else None
        self.size = 0
        self.lost = 0
        self.failure = ""
        self._missing = 0  # bytes that could not be written since the last that could
        self._fd = -1
        if self.path:
            self._open(self.path)
        else:
            self._fd = _stderr_fd()

    def _open(self, path: str) -> None:
        try:
            try:
                self._fd = _emptied(path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._fd = _emptied(path)
        except (OSError, ValueError) as exc:
            self._fail(exc)

    def write(self, data: bytes) -> None:
        """Write all of `data`, or count what is lost; never raises."""
        if self._missing:
            mark = b"\nvcsjob: %d bytes are missing here\n" % self._missing
            if self._put(mark) < len(mark):
                self._miss(len(data))
                return
            self._missing = 0
        self._miss(len(data) - self._put(data))

    def _miss(self, count: int) -> None:
        self._missing += count
        self.lost += count

    def _put(self, data: bytes) -> int:
        """Return how many bytes of `data` were written."""
        done = 0
        try:
            if self.path is None and self._fd < 0:
                done = _put_text(data)
            while done < len(data):
                done += os.write(self._fd, data[done:] if done else data)
        except (OSError, ValueError) as exc:
            self._fail(exc)
        self.size += done
        return done

    def _fail(self, exc: Exception) -> None:
        if not self.failure:
            self.failure = str(exc) or type(exc).__name__
            tell(f"cannot write the log {self.path or 'on stderr'}, output is lost while the job goes on: {exc}")

    def __enter__(self) -> JobLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        fd, self._fd = self._fd, -1
        if self.path and fd >= 0:
            try:
                os.close(fd)
            except OSError as error:  # a file system over a network may say only now that there was no room
                self._fail(error)


def _emptied(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _stderr_fd() -> int:
    """Return the descriptor behind sys.stderr, -1 if there is none (somebody has put a StringIO there)."""
    try:
        sys.stderr.flush()
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return -1


def _put_text(data: bytes) -> int:
    if sys.stderr is not None:
        sys.stderr.write(data.decode(errors="backslashreplace"))
    return len(data)
