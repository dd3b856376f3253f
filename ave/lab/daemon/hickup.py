"""What a process is doing at this moment, into a file of `.ave/hickup`: stacks, descriptors, queues; no secrets.

Nothing is stopped, no lock is taken, no code of the process is called but `gauges`. What is shown of the stacks are
files, lines and functions, never the values.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ave import home as homes
from ave import io
from ave.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

__all__ = ["follow_forks", "forward", "write"]

#: Tasks shown at most.
TASKS_MAX = 1000


def write(home: str, name: str, gauges: Callable[[], dict[str, float]]) -> str:
    """Write the file and return its path: `<home>/.ave/hickup/<YYYYmmdd-HHMMSS>-<name>-<pid>`, mode 0600.

    A second one within the same second replaces the first. OSError: it cannot be written.
    """
    directory = homes.ave(home, "hickup")
    io.make_dirs(directory)
    path = os.path.join(directory, f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{os.getpid()}")
    sections = {"stack": _stacks(), "descriptors": _descriptors(), "queues": _queues(gauges)}
    text = "".join(f"{title}:\n{_indented(lines)}\n" for title, lines in sections.items())
    io.replace_file(path, text.encode("utf-8", "backslashreplace"), durable=False)
    return path


def forward() -> list[int]:
    """Send SIGUSR1 to AVE's processes below this one that take it, and return their pids."""
    reached = []
    for pid in _descendants(os.getpid()):
        with suppress(OSError, ValueError):
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                is_ours = file.read().startswith("ave-")
            # who does not catch it would be ended by it
            if is_ours and _catches(pid, signal.SIGUSR1):
                os.kill(pid, signal.SIGUSR1)
                reached.append(pid)
    return reached


def follow_forks(home: str) -> None:
    """Let the children that this process will fork write a hickup, too, when they get SIGUSR1."""
    _homes[:] = [home]
    if not _is_following:
        _is_following.append(True)
        os.register_at_fork(after_in_child=_be_child)


_homes: list[str] = []
_is_following: list[bool] = []


def _be_child() -> None:
    """Take signals as a process that is no service: what the parent does at a signal is not for its children."""
    if not _homes:
        return
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, _take_signal)


def _take_signal(_number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        with open("/proc/self/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
        write(_homes[0], name, dict)


# What there is to see


def _stacks() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        yield f"thread {names.get(ident, '?')} ({ident})"
        yield from _stack(reversed([*traceback.walk_stack(frame)]))
    for kind, name, frames in _tasks():
        yield f"{kind} {name}"
        yield from _stack(frames)


def _tasks() -> Iterator[tuple[str, str, Iterable[tuple[FrameType, int]]]]:
    """Give asyncio's tasks and greenlets, of all loops and threads; nobody else knows them all."""
    kinds = [
        getattr(module, name)
        for module, name in ((sys.modules.get("asyncio"), "Task"), (sys.modules.get("greenlet"), "greenlet"))
        if module is not None
    ]
    if not kinds:
        return
    found = [item for item in gc.get_objects() if type(item) in kinds]
    for item in found[:TASKS_MAX]:
        if hasattr(item, "gr_frame"):
            yield "greenlet", hex(id(item)), reversed([*traceback.walk_stack(item.gr_frame)] if item.gr_frame else [])
        elif not item.done():
            yield "task", item.get_name(), _awaited(item.get_coro())


def _awaited(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """Give the frames of a coroutine and of what it waits for."""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        coroutine = coroutine.cr_await


def _stack(frames: Iterable[tuple[FrameType, int]]) -> Iterator[str]:
    for entry in traceback.StackSummary.extract(frames):
        yield f'  File "{entry.filename}", line {entry.lineno}, in {entry.name}'
        if entry.line:
            yield f"    {entry.line}"


def _descriptors() -> Iterator[str]:
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        with suppress(OSError):  # the directory itself is closed by now
            yield f"{name} {os.readlink(f'/proc/self/fd/{name}')}"


def _queues(gauges: Callable[[], dict[str, float]]) -> Iterator[str]:
    try:
        for name, value in sorted(gauges().items()):
            yield f"{name} {value:g}"
    except Exception as error:  # noqa: BLE001 - the rest is worth the more
        yield f"not known: {type(error).__name__}: {error}"


def _indented(lines: Iterator[str]) -> str:
    shown = redact({"lines": [*lines]})["lines"]
    return "".join(f"  {line}\n" for line in shown)


# Children


def _descendants(ancestor: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError), open(f"/proc/{int(name)}/stat", "rb") as file:
            children.setdefault(int(file.read().rpartition(b")")[2].split()[1]), []).append(int(name))
    found = [ancestor]
    while found:
        for pid in children.get(found.pop(), ()):
            yield pid
            found.append(pid)


def _catches(pid: int, number: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        [caught] = [int(line.split()[1], 16) for line in status if line.startswith("SigCgt:")]
    return bool(caught >> (number - 1) & 1)
