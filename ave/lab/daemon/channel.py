"""The control socket of a service: messages of JSON, with descriptors, between processes of one user.

`.ave/run/ave-<service>.sock`, mode 0600; whoever is neither the service's user nor root is turned away by what the
kernel says of it. A message is one packet.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from contextlib import closing, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from ave.exceptions import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRefused,
    ConnectionTimeout,
    ProtocolError,
)
from ave.lab.daemon.pidfile import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Channel", "Talk", "ask"]

#: Bytes of a message, and descriptors that come with it, at most.
MESSAGE_MAX = 64 * 1024
DESCRIPTORS_MAX = 64

#: Seconds within which whoever connects says what it wants.
REQUEST_S = 2.0

#: Seconds to leave new ones alone when there are no descriptors for them.
NO_DESCRIPTORS_S = 0.1

_CREDENTIALS = struct.Struct("iII")


class Talk:
    """One end of a conversation.

    Attributes:
        peer: the process at the other end; None if it cannot be looked at: it has ended, or has no number here.
        uid: whose that is.
        descriptors: what came with the messages so far; who takes one out owns it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        pid, self.uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        self.descriptors: list[int] = []
        self.peer: Process | None = None
        with suppress(OSError):
            self.peer = Process(pid)

    @classmethod
    def begin(cls, path: str) -> Talk:
        """Connect to a service; ConnectionRefused if none is there."""
        sock = _socket()
        try:
            sock.settimeout(REQUEST_S)  # for one that is stopped, and so many wait for it that there is no room
            with _short(path) as near:
                sock.connect(near)
            sock.settimeout(None)
        except OSError as error:
            sock.close()
            raise ConnectionRefused(f"nobody answers at {path}: {error.strerror}") from error
        return cls(sock)

    def say(self, message: dict[str, Any], descriptors: Iterable[int] = ()) -> None:
        """Send a message; ConnectionClosed if nobody is there any more."""
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], [*descriptors])
        except OSError as error:
            raise ConnectionClosed(f"the other end has gone: {error.strerror}") from error

    def hear(self, seconds: float) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            ConnectionClosed: the other end is closed, or its process has ended.
            ConnectionTimeout: nothing came.
            ProtocolError: what came is no message.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if self.peer is not None:
            # a forked child may keep the other end open for longer than its owner lives
            poll.register(self.peer, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(seconds * 1000)]
        if not ready:
            raise ConnectionTimeout(f"nothing was said for {seconds:g} s")
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX, DESCRIPTORS_MAX, socket.MSG_DONTWAIT)
        except OSError as error:
            raise ConnectionClosed(f"the other end has gone: {error.strerror}") from error
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self.descriptors += descriptors
        if not data:
            raise ConnectionClosed("the other end has gone")
        try:
            message = json.loads(data)
        except ValueError as error:
            raise ProtocolError(f"the other end says what is no JSON: {data[:80]!r}") from error
        return message if isinstance(message, dict) else {}

    def close(self) -> None:
        """End it; descriptors that nobody took are closed. Safe to call twice."""
        self._sock.close()
        if self.peer is not None:
            self.peer.close()
        while self.descriptors:
            os.close(self.descriptors.pop())


def ask(path: str, what: str, seconds: float = 5.0) -> dict[str, Any]:
    """Ask a service one thing.

    Raises:
        ConnectionRefused, ConnectionClosed, ConnectionTimeout, ProtocolError: it does not answer.
        ConnectionFailed: it answers that it cannot, and why.
    """
    with closing(Talk.begin(path)) as talk:
        talk.say({"what": what})
        answer = talk.hear(seconds)
    if "error" in answer:
        raise ConnectionFailed(str(answer["error"]))
    return answer


class Channel:
    """The service's end.

    Args:
        path: where it listens; whoever listens there is replaced without a gap.
        answer: called in a thread of its own with a request and the conversation, which ends when it returns.
    """

    def __init__(self, path: str, answer: Callable[[dict[str, Any], Talk], None]) -> None:
        self.path = path
        self._answer = answer
        self._sock: socket.socket | None = None
        self._inode = 0

    def open(self) -> None:
        """Begin to listen, in a thread."""
        sock = _socket()
        beside = f"{self.path}.{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(beside)
        with _short(beside) as near:
            sock.bind(near)
        os.chmod(beside, 0o600)
        self._inode = os.stat(beside).st_ino
        sock.listen(16)
        os.rename(beside, self.path)
        self._sock = sock
        Thread(target=self._listen, args=(sock,), name="channel", daemon=True).start()

    def is_there(self) -> bool:
        """Tell whether the path still leads here."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Listen no more. The path is removed, unless it is another one's by now. Safe to call twice."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self.is_there():
            os.unlink(self.path)
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # closing alone would leave the thread waiting
        sock.close()

    def _listen(self, sock: socket.socket) -> None:
        while self._sock is sock:
            try:
                peer, _ = sock.accept()
            except OSError:
                if self._sock is sock:  # else it is closed
                    time.sleep(NO_DESCRIPTORS_S)
                continue
            Thread(target=self._converse, args=(peer,), name="channel-talk", daemon=True).start()

    def _converse(self, sock: socket.socket) -> None:
        with closing(Talk(sock)) as talk, suppress(ConnectionFailed, ProtocolError):
            request = talk.hear(REQUEST_S)
            if talk.uid in {0, os.geteuid()}:
                self._answer(request, talk)
            else:
                talk.say({"error": f"this service is not that of user {talk.uid}"})


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


class _short:  # noqa: N801 - used as a function
    """A way to a path that is short enough for an address (unix(7): 107 bytes); a context manager."""

    def __init__(self, path: str) -> None:
        self._directory, self._name = os.path.split(path)
        self._fd = -1

    def __enter__(self) -> str:
        self._fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{self._name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
