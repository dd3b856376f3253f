"""A server's peers, from the first byte to the last: accepted, greeted, served in turn, and ended.

It knows what a peer may cost: how many may be unauthenticated at a time, how long a handshake, a message and a reply
that is not taken may last. What a request means it leaves to its `Service`.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod

from ave.exceptions import AveException, ProtocolError
from ave.network.address import tune
from ave.network.codec import encode
from ave.network.connection import Connection
from ave.network.frames import HANDSHAKE_LIMIT
from ave.network.handshake import ServerHandshake
from ave.network.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from ave.network.loop import Loop

__all__ = ["Peer", "Server", "Service"]

#: Seconds a handshake may take, and a message from its first byte to its last at less than RATE bytes a second.
HANDSHAKE_S = 5.0
MESSAGE_S = 9.0
RATE = 64 * 1024

#: Seconds for which a peer may leave a reply where it is, and for which one that is refused may read why.
STALL_S = 20.0
LINGER_S = 1.0

#: Connections that may be unauthenticated at a time; each new one beyond ends the one that was quiet longest.
UNAUTHENTICATED_MAX = 256

#: Messages of one peer, and new peers, that are served before it is the others' turn.
TURN = 32

#: Seconds to leave new peers alone when there are no descriptors for them.
NO_DESCRIPTORS_S = 0.1

_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

#: How far a peer has come: in TLS's handshake, in ours, served, or told why it has to go.
TLS, HELLO, OPEN, LEAVING = "TLS", "HELLO", "OPEN", "LEAVING"


class Service(ABC):
    """What a server is for."""

    @abstractmethod
    def keys(self) -> list[bytes]:
        """Return the keys that peers may prove to know."""

    @abstractmethod
    def welcomes(self) -> bool:
        """Tell whether new peers are let in at all at the moment."""

    @abstractmethod
    def established(self, peer: Peer) -> None:
        """Be told that a handshake is over."""

    @abstractmethod
    def lost(self, peer: Peer) -> None:
        """Be told that an established peer is gone, whoever ended it."""

    @abstractmethod
    def answer(self, peer: Peer, message: memoryview) -> bytes | None:
        """Return the reply to a message, None if it gets none."""

    @abstractmethod
    def answered(self) -> None:
        """Be told that the reply is on its way: the time for what the caller need not wait for."""


class Peer(Connection):
    """A connection of a server.

    Attributes:
        state: TLS, HELLO, OPEN or LEAVING.
        key: the one it has proved to know, or None.
        handshake: while its state is HELLO.
        is_taken: whether it takes its replies; no request is read from it while it does not.
        progress: bytes that have come since its message was given time.
        handle: what the service calls it.
    """

    def __init__(self, sock: socket.socket, limit: int) -> None:
        super().__init__(sock, limit)
        self.state = HELLO
        self.key: bytes | None = None
        self.handshake: ServerHandshake | None = None
        self.is_taken = True
        self.progress = 0
        self.handle: object = self


class Server:
    """All peers of a service.

    Args:
        name: told to clients in the handshake.
        limit: bytes a message may have.
        legacy: speak the original's format, too.
        tls: for every connection that is accepted.
    """

    def __init__(
        self, loop: Loop, service: Service, name: str, *, limit: int, legacy: bool, tls: ssl.SSLContext | None
    ) -> None:
        self.peers: set[Peer] = set()
        self._loop = loop
        self._service = service
        self._name = name
        self._limit = limit
        self._legacy = legacy
        self._tls = tls
        self._listener: socket.socket | None = None
        self._finished: Callable[[], object] | None = None
        # the first is the one that was quiet longest
        self._unauthenticated: dict[Peer, None] = {}
        self._handshakes = loop.patience(HANDSHAKE_S, self.end)
        self._messages = loop.patience(MESSAGE_S, self._end_if_slow)
        self._stalls = loop.patience(STALL_S, self.end)
        self._lingers = loop.patience(LINGER_S, self.end)
        self._pauses = loop.patience(NO_DESCRIPTORS_S, lambda listener: loop.watch(listener, self._accept))

    def listen(self, listener: socket.socket) -> None:
        """Accept peers from a listening socket."""
        listener.setblocking(False)
        self._listener = listener
        self._loop.watch(listener, self._accept)

    def stop_listening(self) -> socket.socket | None:
        """Accept no more; peers stay. Returns the socket, which still listens."""
        listener, self._listener = self._listener, None
        if listener is not None:
            if listener not in self._pauses:
                self._loop.forget(listener)
            self._pauses.end(listener)
        return listener

    def retire(self, finished: Callable[[], object]) -> None:
        """Let each peer go after its next reply, when it cannot have another request under way.

        Args:
            finished: called when none is left.
        """
        self._finished = finished
        if not self.peers:
            finished()

    def add(self, sock: socket.socket, key: bytes | None) -> Peer:
        """Serve a connected socket without a handshake and without MACs."""
        peer = Peer(sock, self._limit)
        peer.key, peer.state = key, OPEN
        self._begin(peer)
        return peer

    def remove(self, peer: Peer) -> None:
        """Serve a peer no more, but leave its socket open."""
        if peer not in self.peers:
            return
        self.peers.remove(peer)
        self._loop.forget(peer)
        self._unauthenticated.pop(peer, None)
        for patience in (self._handshakes, self._messages, self._stalls, self._lingers):
            patience.end(peer)
        if self._finished is not None and not self.peers:
            self._finished()

    def end(self, peer: Peer) -> None:
        """Close a connection; the service is told if it was established."""
        if peer not in self.peers:
            return
        was_open = peer.state == OPEN
        self.remove(peer)
        peer.close()
        if was_open:
            self._service.lost(peer)

    def tell(self, peer: Peer, message: bytes) -> None:
        """Send a message that is no reply, as far as the peer takes it."""
        if peer.state == OPEN:
            peer.send(message)
        elif peer.state == HELLO:
            peer.send_open(message)

    def close(self) -> None:
        """Close every connection and the listening socket; nobody is told."""
        for peer in [*self.peers]:
            self.remove(peer)
            peer.close()
        listener = self.stop_listening()
        if listener is not None:
            listener.close()

    # Coming

    def _accept(self, _mask: int) -> None:
        for _ in range(TURN):
            if self._listener is None:
                return
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._make_room(self._listener)
                return
            self._welcome(sock)

    def _make_room(self, listener: socket.socket) -> None:
        """Come by a descriptor, or accept nobody for a moment: the listener would say without end that one waits."""
        if self._unauthenticated:
            self.end(next(iter(self._unauthenticated)))
        else:
            self._loop.forget(listener)
            self._pauses.begin(listener)

    def _welcome(self, sock: socket.socket) -> None:
        if not self._service.welcomes():
            sock.close()
            return
        try:
            tune(sock)
            if self._tls is not None:
                sock.setblocking(False)
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            peer = Peer(sock, HANDSHAKE_LIMIT)
        except OSError:  # it is gone already
            sock.close()
            return
        self._begin(peer)
        self._unauthenticated[peer] = None
        self._handshakes.begin(peer)
        if self._tls is None:
            self._greet(peer)
        else:
            peer.state = TLS
        if len(self._unauthenticated) > UNAUTHENTICATED_MAX:
            self.end(next(iter(self._unauthenticated)))

    def _begin(self, peer: Peer) -> None:
        self.peers.add(peer)
        self._loop.watch(peer, lambda mask: self._serve(peer, mask))

    def _shake_tls(self, peer: Peer) -> None:
        try:
            wants = peer.shake_tls()
        except OSError:
            self.end(peer)
            return
        if wants is None:
            self._watch(peer, READ)
            self._greet(peer)
        else:
            self._watch(peer, WRITE if wants == "write" else READ)

    def _greet(self, peer: Peer) -> None:
        peer.state = HELLO
        peer.handshake = ServerHandshake(self._service.keys(), self._name, legacy=self._legacy)
        self._after_send(peer, is_there=peer.send_open(peer.handshake.greeting))
        if peer.has_more():
            self._loop.again(self._take, peer)

    def _finish_handshake(self, peer: Peer, handshake: ServerHandshake, message: memoryview) -> None:
        is_there = peer.send_open(handshake.answer(message))
        peer.session, peer.key, peer.handshake, peer.state = handshake.session, handshake.key, None, OPEN
        self._handshakes.end(peer)
        if peer.key is not None or not self._service.keys():
            # where there is no key to prove, nobody can be asked for one
            self._unauthenticated.pop(peer, None)
            peer.frames.limit = self._limit
        self._service.established(peer)
        if peer in self.peers:
            self._after_send(peer, is_there=is_there)

    # Served

    def _serve(self, peer: Peer, mask: int) -> None:
        if peer.state == TLS:
            self._shake_tls(peer)
        elif not peer.is_taken:
            self._after_send(peer, is_there=peer.flush())
            # what came meanwhile waits in the buffer, of which no event tells
            self._take(peer)
        elif mask & ~WRITE:
            self._read(peer)

    def _read(self, peer: Peer) -> None:
        had = peer.frames.size
        if not peer.read():
            self.end(peer)
        elif peer.state == LEAVING:
            peer.frames.drop()
        else:
            peer.progress += peer.frames.size - had
            self._take(peer)

    def _take(self, peer: Peer) -> None:
        """Serve the messages that are there, as long as it is this peer's turn and it takes the replies."""
        for _ in range(TURN):
            if peer not in self.peers or peer.state == LEAVING or not peer.is_taken:
                return
            try:
                message = peer.next()
                if message is None:
                    self._wait_for_more(peer)
                    return
                self._serve_message(peer, message)
            except ProtocolError as error:
                self._refuse(peer, error)
        self._loop.again(self._take, peer)

    def _wait_for_more(self, peer: Peer) -> None:
        if peer.has_more():
            self._loop.again(self._read, peer)
        if not peer.frames.size:
            return
        if peer.state == OPEN and peer not in self._messages:
            peer.progress = peer.frames.size
            self._messages.begin(peer)

    def _end_if_slow(self, peer: Peer) -> None:
        if peer.progress < RATE * MESSAGE_S:
            self.end(peer)
        else:
            peer.progress = 0
            self._messages.begin(peer)

    def _serve_message(self, peer: Peer, message: memoryview) -> None:
        self._messages.end(peer)
        if peer in self._unauthenticated:
            self._unauthenticated[peer] = self._unauthenticated.pop(peer)
        if peer.handshake is not None:
            self._finish_handshake(peer, peer.handshake, message)
            return
        reply = self._service.answer(peer, message)
        if reply is not None and peer in self.peers:
            self._reply(peer, reply)
        self._service.answered()

    def _reply(self, peer: Peer, reply: bytes) -> None:
        # who retires ends the connection with the reply: a request that came after it would be lost
        is_last = self._finished is not None and not peer.frames.size
        if is_last:
            peer.cork(is_corked=True)
        self._after_send(peer, is_there=peer.send(reply))
        if is_last and peer in self.peers:
            if peer.waiting():
                peer.cork(is_corked=False)
            else:
                self._leave(peer)

    def _after_send(self, peer: Peer, *, is_there: bool) -> None:
        """Wait for a peer that does not take its reply."""
        if not is_there:
            self.end(peer)
        elif peer.waiting():
            self._stalls.begin(peer)
            if peer.is_taken:
                peer.is_taken = False
                self._watch(peer, WRITE)
        elif not peer.is_taken:
            peer.is_taken = True
            self._stalls.end(peer)
            self._watch(peer, READ)

    def _watch(self, peer: Peer, events: int) -> None:
        self._loop.watch(peer, lambda mask: self._serve(peer, mask), events)

    # Going

    def _refuse(self, peer: Peer, error: AveException) -> None:
        """Tell a peer why it has to go, and give it a moment to read that."""
        details = {"type": error.details["type"], "message": f"got invalid RPC from client, {error}. disconnect"}
        message = encode({"exception": details})
        is_there = peer.send(message) if peer.state == OPEN else peer.send_open(message)
        if not is_there or peer.waiting():
            self.end(peer)
        else:
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        """Serve a peer no more, and give it a moment to read what it was sent."""
        was_open = peer.state == OPEN
        peer.state = LEAVING
        peer.half_close()
        peer.frames.drop()
        self._unauthenticated.pop(peer, None)
        self._handshakes.end(peer)
        self._messages.end(peer)
        self._lingers.begin(peer)
        if was_open:
            self._service.lost(peer)
