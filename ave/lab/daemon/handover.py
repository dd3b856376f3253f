"""A restart without a gap: two processes of a service agree who does what, step by step.

The new one asks over the control socket of the old one, and gets the lock of the pid file and the listening sockets by
their descriptors. Then each says a word when it has done its part::

    new                                       old
    hand-over                                 (serves and works)
                                              descriptors
    has checked and opened everything
    ready                                     accepts no more clients
                                              accept
    accepts clients
    accepting                                 ends its work and unlocks it
                                              work
    works, is in the pid file, answers
    working                                   lets its clients finish, and ends

Until the last word the old one keeps all it needs to go on: if the new one dies or gives up before, it does. If the
old one dies, its locks are free, and the new one goes on alone.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ave import io
from ave.exceptions import AveException, ConnectionClosed, ConnectionFailed, ConnectionRefused, ConnectionTimeout
from ave.lab.daemon import notify
from ave.lab.daemon.channel import Talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from ave.lab.daemon.life import Life

__all__ = ["Taking", "give"]

log = logging.getLogger(__name__)

#: Seconds for one step of the other process: to check everything, to end the work.
STEP_S = 60.0
LISTEN_S = 0.1

#: Seconds within which a look at what somebody removed under the service is over; what lasts longer is a restart.
LOOK_S = 2.0

#: Seconds after which a process that has closed its end has ended, too, if it is going to.
GONE_S = 10.0


class Taking:
    """The new process's part.

    Args:
        path: of the old one's control socket.
        is_told_to_end: asked again and again.

    Attributes:
        lock: the descriptor that holds the lock of the pid file.
        sockets: the listening sockets, by name.
        is_alone: whether the old process has ended meanwhile.

    Raises:
        ConnectionRefused: there is no old process that could give anything.
        AveException (every step): the old one goes on, and why.
    """

    def __init__(self, path: str, is_told_to_end: Callable[[], bool]) -> None:
        self.is_alone = False
        self._is_told_to_end = is_told_to_end
        self._talk = talk = Talk.begin(path)
        io.reached("handover-connected")
        try:
            talk.say({"what": "hand-over"})
            heard = self._hear()
            self.lock, *descriptors = talk.descriptors
            talk.descriptors = []
        except ConnectionFailed as error:
            if talk.peer is not None:
                talk.peer.ends_within(GONE_S)
            talk.close()
            raise ConnectionRefused(f"nobody hands over: {error}") from error
        except BaseException:
            talk.close()
            raise
        self.sockets = {name: socket.socket(fileno=fd) for name, fd in zip(heard["sockets"], descriptors, strict=True)}
        notify.adopt(heard["manager"])
        io.reached("handover-taken")

    def ready(self) -> None:
        """Say that everything is checked and opened; when this returns, clients may be accepted."""
        io.reached("handover-ready")
        self._step("ready")

    def accepting(self) -> None:
        """Say that clients are accepted; when this returns, the work is free."""
        io.reached("handover-accepting")
        self._step("accepting")

    def working(self) -> None:
        """Say that all is taken over: the end."""
        io.reached("handover-working")
        if not self.is_alone:
            try:
                self._talk.say({"done": "working"})
            except ConnectionClosed:
                pass  # then it has ended, as it is to
        self.close()

    def close(self) -> None:
        """Say no more: before the end, this gives up. Safe to call twice."""
        self._talk.close()

    def _step(self, done: str) -> None:
        if self.is_alone:
            return
        try:
            self._talk.say({"done": done})
            self._hear()
        except ConnectionClosed as error:
            peer = self._talk.peer
            if peer is not None and not peer.ends_within(GONE_S):
                raise AveException("the process that serves has stopped handing over, and serves on") from error
            self.is_alone = True

    def _hear(self) -> dict[str, Any]:
        """Wait for the next word, but not when this process is told to end."""
        deadline = time.monotonic() + STEP_S
        while True:
            try:
                answer = self._talk.hear(LISTEN_S)
            except ConnectionTimeout:
                if self._is_told_to_end():
                    raise AveException("it was told to end before it had taken over") from None
                if time.monotonic() >= deadline:
                    raise
            else:
                break
        if "error" in answer:
            raise AveException(str(answer["error"]))
        return answer


def give(life: Life, talk: Talk) -> None:
    """Do the old process's part, in a thread of its own; it ends, or serves on as if nothing had been."""
    if not life.handing.acquire(timeout=LOOK_S):
        talk.say({"error": "another restart is under way; wait for it"})
        return
    undo: list[Any] = []
    try:
        names, descriptors = life.descriptors()
        talk.say({"sockets": names, "manager": notify.passed()}, descriptors)
        io.reached("handover-given")
        talk.hear(STEP_S)
        undo.append(life.service.resume)
        life.service.pause()
        io.reached("handover-paused")
        talk.say({"do": "accept"})
        talk.hear(STEP_S)
        undo.append(life.begin_work)
        life.end_work()
        io.reached("handover-rested")
        talk.say({"do": "work"})
        talk.hear(STEP_S)
    except Exception as error:  # noqa: BLE001 - whatever a service raises while it passes on, it is to serve on
        _go_on(life, undo, error)
        with suppress(ConnectionClosed):
            talk.say({"error": f"the process that serves does not hand over: {error}"})
    else:
        pid = talk.peer.pid if talk.peer else 0
        log.info("handed over to process %d", pid, extra={"action": "handed_over"})
        life.retire(pid)
    finally:
        life.handing.release()


def _go_on(life: Life, undo: list[Any], error: Exception) -> None:
    """Take everything back: the new process is no more, or does not answer."""
    if life.is_ending:
        return
    log.error("the restart has failed, this process serves on: %s", error, extra={"action": "handover_failed"})
    while undo:
        try:
            undo.pop()()
        except Exception as failed:  # noqa: BLE001 - as above: what comes next is to be taken back, too
            log.error("%s: %s", type(failed).__name__, failed, extra={"action": "handover_failed"})
    life.lead_again()
