"""What a service is: the few things that differ from one to the next. All else is the framework's.

A service has two sides, each with a thread of its own. *Clients*: `open`, `serve`, `pause`, `resume`, `retire`, `stop`.
*Work* that only one process of the home may do at a time - shippers, collectors, rotation -: `begin`, `work`, `rest`.
A service overrides the side it has.
"""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

from ave import home as homes
from ave.exceptions import UsageError

if TYPE_CHECKING:
    import argparse
    import socket
    from typing import IO, Self

__all__ = ["Service"]


class Service:
    """A service of one home.

    Args:
        home: below which `.ave` lies.
        stdout: where the daemon's fd 1 goes; by default the service's log.
        stderr: where its fd 2 goes; may be the same file.

    Attributes:
        name: of the program, its log, its pid file: `ave-...`.

    Raises:
        UsageError: a handle is no file that can be written.

    Example:
        >>> class Clock(Service):
        ...     name = "ave-clock"
        ...     def serve(self):
        ...         while not self.stopped.wait(1):
        ...             print("tick")
        >>> Clock("/srv/ave").start()  # doctest: +SKIP
        4711
    """

    name = "ave-service"

    #: What the program does when it is told nothing, e.g. `foreground`; None makes that an error.
    default_action: str | None = None

    def __init__(self, home: str, *, stdout: IO[Any] | None = None, stderr: IO[Any] | None = None) -> None:
        self.home = home
        self.stdout = _checked("stdout", stdout)
        self.stderr = _checked("stderr", stderr)
        #: Set by `stop`.
        self.stopped = Event()
        #: Set by `rest`, cleared when work begins again.
        self.rested = Event()

    # Its command line

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add what the program takes besides the options that all services have."""

    @classmethod
    def made(cls, home: str, options: argparse.Namespace) -> Self:  # noqa: ARG003 - for services with options
        """Make the service that a command line asks for."""
        return cls(home)

    # What a service is made of

    @property
    def listeners(self) -> dict[str, tuple[str, int]]:
        """The addresses to listen on, name -> (host, port); the service manager may bring sockets of these names."""
        return {}

    def prepare(self) -> None:
        """Check all that can be checked without touching anything; what this raises ends the start.

        Called first of all; during a restart the old process still does everything.
        """

    def open(self, sockets: dict[str, socket.socket]) -> None:
        """Get ready to serve clients from these listening sockets, without accepting one yet."""

    def serve(self) -> int | None:
        """Serve clients until `stop`; returns the exit code of the process, None for 0."""
        self.stopped.wait()
        return None

    def pause(self) -> None:
        """Accept no more clients; keep the listening sockets open, in which they wait."""

    def resume(self) -> None:
        """Accept clients again, after `pause`: the new process has failed."""

    def retire(self, seconds: float) -> None:  # noqa: ARG002 - for services with clients
        """Let `serve` return when the clients that are here have gone, at the latest after so many seconds."""
        self.stop()

    def stop(self) -> None:
        """Let `serve` return soon."""
        self.stopped.set()

    def begin(self) -> None:
        """Get ready to work; no other process of this home works. In the thread that then calls `work`."""

    def work(self) -> int | None:
        """Do what only one process may do, until `rest`; a return before that ends the process with this exit code."""
        self.rested.wait()
        return None

    def rest(self) -> None:
        """Let `work` return soon. `begin` may be called again afterwards."""
        self.rested.set()

    def reload(self) -> None:
        """Read the configuration again: SIGHUP."""

    def gauges(self) -> dict[str, float]:
        """Return the lengths of queues and the like, for `--status`, `--hickup` and the service's metric."""
        return {}

    def health(self) -> dict[str, Any]:
        """Return what else `--status` is to show: name -> text, number, or a dict of these."""
        return {}

    # What a service can be told

    def start(self, *, take_over: bool = False) -> int:
        """Become a daemon: in a process of its own, which is returned from when it answers.

        Args:
            take_over: from the process that serves now, without a gap; if none does, start.

        Returns:
            Its pid.

        Raises:
            ConfigError: the configuration is wrong.
            AveException: it does not start, and why; whoever served before serves on.
        """
        from ave.lab.daemon.launch import launch  # noqa: PLC0415 - which needs this module

        return launch(self, take_over=take_over)

    def run(self, *, take_over: bool = False) -> int:
        """Serve in this process and its main thread; returns the exit code."""
        from ave.lab.daemon.life import Life  # noqa: PLC0415 - as above

        return Life(self, take_over=take_over).run()

    def path(self, kind: str) -> str:
        """Return the path of the service's file in `.ave/run`: its `pid` file, `sock`et or `lock`."""
        return homes.ave(self.home, "run", f"{self.name}.{kind}")

    @property
    def log_path(self) -> str:
        """The path of its log."""
        return homes.ave(self.home, "logs", f"{self.name}.log")


def _checked(name: str, handle: IO[Any] | None) -> IO[Any] | None:
    if handle is None:
        return None
    try:
        handle.fileno()
        if handle.writable():
            return handle
    except (AttributeError, OSError, ValueError):
        pass
    raise UsageError(f"{name} is not a writable file: {type(handle).__name__}")
