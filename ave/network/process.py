"""A process of its own for a server: started by fork, joined, terminated."""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from ave import spool
from ave.exceptions import AveException, Timeout, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any, NoReturn

__all__ = ["Process", "forget_fds"]

#: What the process exits with when SIGTERM ends it, and when its target raises.
TERMINATED, FAILED = 15, 1

#: prctl(2): die with the parent, be named.
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15

#: Bytes of a message about a failed start.
MESSAGE_MAX = 64 * 1024


class Process:
    """Runs `target` in a forked process; it ends with its parent.

    Args:
        target: what to run; by default `run`.
        args: what to give it.
        logging: whether `log` writes anything.
        proc_name: what `ps` shows, by default `ave-` and the name of the class. The kernel keeps 15 bytes of it.

    Attributes:
        signalled: in the new process, a pipe that can be read from once a signal came. Who sleeps in a system call
            without a time-out watches it, too: a signal in the moment before the call does not interrupt it.
    """

    def __init__(
        self,
        target: Callable[..., object] | None = None,
        args: tuple[Any, ...] = (),
        logging: bool = False,
        proc_name: str | None = None,
    ) -> None:
        self.target = target or self.run
        self.args = args
        self.logging = logging
        self.proc_name = proc_name or f"ave-{type(self).__name__}"
        self.pid: int | None = None
        self.signalled: int | None = None
        self._status: int | None = None
        self._is_terminated = False

    def start(self, *, synchronize: bool = False) -> None:
        """Fork, and run the target there.

        Args:
            synchronize: return only when `initialize` is through, so that a server listens.

        Raises:
            AveException: `synchronize`, and the process could not start; says why.
            UsageError: it was started already.
        """
        if self.pid is not None:
            raise UsageError(f"{self.proc_name} was started already")
        read_end, write_end = os.pipe()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(parent, write_end)
        os.close(write_end)
        try:
            if synchronize and (said := _read_all(read_end)) != b"ready":
                self.join()
                raise AveException(f"{self.proc_name} could not start: {said.decode('utf-8', 'replace')}")
        finally:
            os.close(read_end)

    def run(self) -> int | None:
        """Do the work, and return the exit code; for classes that give no target."""
        return None

    def initialize(self) -> None:
        """Get ready, in the new process, before the target runs. Classes that extend this call it, too."""

    def kept_fds(self) -> Iterable[int]:
        """Return the descriptors that the new process keeps besides 0, 1 and 2."""
        return ()

    def join(self, timeout: float | None = None) -> int:
        """Wait for the end and return the status as `os.waitpid` gives it; the exit code is in its second byte.

        Raises:
            Timeout: it runs on after `timeout` seconds.
            UsageError: it was never started, or by another process.
        """
        if self._status is None:
            if timeout is not None and not self._ends_within(timeout):
                raise Timeout(f"{self.proc_name} still runs after {timeout:g} s")
            self._wait(0)
        assert self._status is not None
        return self._status

    def is_alive(self) -> bool:
        """Tell whether it runs; UsageError as of `join`."""
        return self._status is None and not self._wait(os.WNOHANG)

    def terminate(self) -> None:
        """Ask it to end, by SIGTERM; nothing happens if it has."""
        if self.is_alive():
            os.kill(self._child(), signal.SIGTERM)

    def log(self, message: str) -> None:
        """Write a line to stderr, if logging is on."""
        if self.logging:
            line = f"{time.ctime()} {self.proc_name} {os.getpid()} -- {message}\n"
            try:
                os.write(2, line.encode("utf-8", "backslashreplace"))
            except OSError:
                pass  # there is nobody left to tell

    def _child(self) -> int:
        if not self.pid:
            raise UsageError(f"{self.proc_name} was not started by this process")
        return self.pid

    def _wait(self, options: int) -> bool:
        try:
            pid, status = os.waitpid(self._child(), options)
        except ChildProcessError as error:
            raise UsageError(f"{self.proc_name} was not started by this process") from error
        if pid:
            self._status = status
        return pid != 0

    def _ends_within(self, timeout: float) -> bool:
        descriptor = os.pidfd_open(self._child())
        try:
            return bool(select.select([descriptor], [], [], timeout)[0])
        finally:
            os.close(descriptor)

    # In the new process

    def _live(self, parent: int, report: int) -> NoReturn:
        code = FAILED
        try:
            signal.signal(signal.SIGTERM, self._terminated)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self.pid = None
            forget_fds({0, 1, 2, report, *self.kept_fds()})
            self.signalled = _signal_pipe()
            _name_and_bind(self.proc_name, parent)
            try:
                self.initialize()
            except Exception as error:
                _report(report, f"{type(error).__name__}: {error}")
                raise
            _report(report, "ready")
            result = self.target(*self.args)
            code = result if isinstance(result, int) else 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else FAILED
        except BaseException:  # noqa: BLE001 - this is where the process ends
            import traceback  # noqa: PLC0415 - it is over anyway

            self.log(f"Exception in target():\n{traceback.format_exc()}")
        finally:
            # whatever happens, this must not go on as a second parent
            try:
                spool.close()
            finally:
                os._exit(TERMINATED if self._is_terminated else code)

    def _terminated(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        self._is_terminated = True
        self._leave()
        raise SystemExit(TERMINATED)

    def _leave(self) -> None:
        """Let the target end soon, by SIGTERM; the exception that follows is lost where it meets a finalizer."""


def _signal_pipe() -> int:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end


def forget_fds(kept: set[int]) -> None:
    """Let go of what the parent had open.

    The numbers stay taken: an object that came along from the parent closes its number once more when it is collected,
    and that must not be a new descriptor of ours.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor not in kept and descriptor != nothing:
            try:
                os.fstat(descriptor)  # the directory that was listed is closed by now
                os.dup2(nothing, descriptor, inheritable=False)
            except OSError:
                pass
    os.close(nothing)


def _report(report: int, text: str) -> None:
    try:
        os.write(report, text.encode("utf-8", "backslashreplace")[:MESSAGE_MAX])
    except BrokenPipeError:
        pass  # the parent did not wait for it
    os.close(report)


def _name_and_bind(name: str, parent: int) -> None:
    import ctypes  # noqa: PLC0415 - in a new process, where it costs nobody anything

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NAME, name.encode()[:15])
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        raise SystemExit(TERMINATED)  # it died before the kernel knew


def _read_all(descriptor: int) -> bytes:
    said = b""
    while data := os.read(descriptor, MESSAGE_MAX):
        said += data
    return said
