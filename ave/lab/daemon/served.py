"""A `Control` as a service: it listens on one port, and a restart refuses and fails no call."""

from __future__ import annotations

from abc import abstractmethod
from threading import Event, Lock
from typing import TYPE_CHECKING

from ave.exceptions import AveException, UsageError
from ave.lab.daemon.service import Service

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ave.network import Control

__all__ = ["ControlService"]

#: Seconds within which a method of the service ends, and it listens to us.
HAND_S = 30.0


class ControlService(Service):
    """A service whose clients are those of a `Control`. It has one listener."""

    _control: Control | None = None
    _listener: socket.socket | None = None

    @abstractmethod
    def control(self, listener: socket.socket) -> Control:
        """Make the `Control`, with this listening socket as its `socket`."""

    def open(self, sockets: dict[str, socket.socket]) -> None:
        """Make it ready."""
        [self._listener] = sockets.values()
        self._control = self.control(self._listener)
        self._control.initialize()

    def serve(self) -> int | None:
        """Serve until told to end, or until a method raises `Exit`."""
        assert self._control is not None
        return self._control.run()

    def pause(self) -> None:
        """Accept no more clients."""
        self._do(lambda control: control.hand_over())

    def resume(self) -> None:
        """Accept clients again."""
        assert self._listener is not None
        listener = self._listener
        self._do(lambda control: control.take_over(listener))

    def retire(self, seconds: float) -> None:
        """Let clients go, each after its next reply."""
        try:
            self._do(lambda control: control.retire(seconds))
        except AveException:
            self.stop()  # one that does not listen to us cannot be waited for

    def stop(self) -> None:
        """End after the current request."""
        super().stop()
        if self._control is not None:
            self._control.stop()

    def _do(self, act: Callable[[Control], object]) -> None:
        """Have something done between two requests; or not at all, if that takes too long."""
        control, done, lock = self._control, Event(), Lock()
        if control is None:
            raise UsageError(f"{self.name} is not serving")

        def do() -> None:
            if lock.acquire(blocking=False):
                act(control)
                done.set()

        control.call_soon(do)
        # who gets the lock decides whether it is done
        if not done.wait(HAND_S) and lock.acquire(blocking=False):
            raise AveException(f"a method of {self.name} takes longer than {HAND_S:g} s")
        done.wait()
