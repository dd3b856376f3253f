"""A service into the background, by python-daemon; whoever starts it learns what came of it."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from daemon import DaemonContext  # type: ignore[import-untyped]

from ave.exceptions import AveException, ConfigError
from ave.lab.daemon.life import Life
from ave.lab.text import safe, safe_line
from ave.network.process import forget_fds

if TYPE_CHECKING:
    from ave.lab.daemon.service import Service

__all__ = ["launch", "log_to_stderr"]

#: Seconds within which a service answers.
START_S = 120.0


def launch(service: Service, *, take_over: bool) -> int:
    """Start it; see `Service.start`."""
    read, write = os.pipe2(os.O_CLOEXEC)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    child = os.fork()
    if child == 0:
        _be_daemon(service, write, take_over=take_over)
    os.close(write)
    try:
        with suppress(ChildProcessError):  # who ignores SIGCHLD has nobody to wait for
            os.waitpid(child, 0)
        return _hear(service, read)
    finally:
        os.close(read)


def log_to_stderr(name: str) -> None:
    """Let the messages of this process go to stderr, each with its time and the name of the service."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"%(asctime)s {name} %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Formatter(logging.Formatter):
    """Makes one harmless line of a message, in which a server may have its say; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return safe_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return safe(super().formatException(ei))


def _hear(service: Service, read: int) -> int:
    """Read what the daemon reports until it answers; returns its pid."""
    poll = select.poll()
    poll.register(read, select.POLLIN)
    deadline = time.monotonic() + START_S
    pid: int = 0
    said = b""
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if not (data := os.read(read, 65536)):
            raise AveException(f"{service.name} ended before it answered; {_why(service)}")
        said += data
        *lines, said = said.split(b"\n")
        for report in map(json.loads, lines):
            pid = report.get("pid", pid)
            if "error" in report:
                raise (ConfigError if report["code"] == 2 else AveException)(report["error"])
            if "ready" in report:
                return pid
    if pid:  # 0 would be everybody in the group of whoever starts it
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    raise AveException(f"{service.name} did not answer within {START_S:g} s and was ended; {_why(service)}")


def _why(service: Service) -> str:
    """Return where it says why, and the last it said there."""
    try:
        with open(service.log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 500))
            last = file.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    except OSError:
        last = ""
    return f"see {service.log_path}" + (f", which ends with: {last}" if last else "")


# In the new process


def _be_daemon(service: Service, write: int, *, take_over: bool) -> NoReturn:
    code = 1
    try:
        _open_streams()
        log_to_stderr(service.name)
        handles = [handle.fileno() for handle in (service.stdout, service.stderr) if handle is not None]
        # whoever started us may have objects that close their number once more: so it stays taken
        forget_fds({0, 1, 2, write, *handles})
        # nothing of what it makes is for others; what is, says so itself
        DaemonContext(umask=0o077, signal_map={}, files_preserve=_descriptors(), detach_process=True).open()
        _report(write, pid=os.getpid())
        life = Life(service, take_over=take_over, is_daemon=True, report=lambda: _finish(write))
        code = life.run()
        if life.failure:
            _report(write, error=life.failure, code=code)
    except BaseException as error:
        logging.exception("%s did not even begin", service.name)
        _report(write, error=f"{type(error).__name__}: {error}", code=1)
    finally:
        # whatever happens, this must not go on as a second one of who started it
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def _open_streams() -> None:
    """See that fds 0 to 2 are there and have streams: whoever starts us may have put others in their place."""
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
        setattr(sys, name, open(fd, mode, closefd=False, buffering=1, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115 - until the end


def _report(write: int, **said: Any) -> None:
    with suppress(OSError):  # whoever started us may have gone, or knows already
        os.write(write, json.dumps(said).encode() + b"\n")


def _finish(write: int) -> None:
    _report(write, ready=True)
    os.close(write)
