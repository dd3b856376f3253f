"""Dialling: from an address and a key to a connection whose handshake is over."""

from __future__ import annotations

import time

from ave.exceptions import AuthError, ConnectionClosed, ConnectionRefused, ConnectionTimeout
from ave.network.address import shown, warn
from ave.network.connection import RETRY_S, BlockingConnection, remaining
from ave.network.frames import FRAME_LIMIT, HANDSHAKE_LIMIT
from ave.network.handshake import ClientHandshake, LegacyPeer
from ave.network.tls import wrap_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl

__all__ = ["Dialler"]

#: Times an impatient caller is put through again when the service, crowded by others, ends a handshake.
TRIES = 3


class Dialler:
    """Makes connections to one service; parameters as of `RemoteControl`."""

    def __init__(
        self,
        address: tuple[str, int],
        authkey: str | bytes | None = None,
        *,
        optimist: bool = True,
        legacy: bool = False,
        tls: ssl.SSLContext | None = None,
        require_auth: bool = False,
        limit: int = FRAME_LIMIT,
    ) -> None:
        self._address = address
        self._key = authkey.encode() if isinstance(authkey, str) else authkey
        self._optimist = optimist
        self._legacy = legacy
        self._tls = tls
        self._require_auth = require_auth
        self._limit = limit
        self._is_original = False
        if legacy:
            warn(f"the original's weak authentication is on, towards {shown(address)}")

    def take(self, sock: socket.socket) -> BlockingConnection:
        """Make a connection of a socket that needs no handshake."""
        return BlockingConnection(sock, self._limit)

    def dial(self, deadline: float | None) -> BlockingConnection:
        """Connect and shake hands.

        Raises:
            ConnectionRefused, ConnectionTimeout, ConnectionClosed: there is no connection.
            AuthError: the service did not prove that it knows the key, or (`require_auth`) did not let us in.
            ProtocolError: it speaks another protocol.
        """
        tries = 0
        while True:
            try:
                return self._dial(deadline)
            except LegacyPeer:
                self._is_original = True
            except ConnectionClosed as error:
                # nothing was asked yet, so nothing can happen twice
                tries += 1
                is_late = deadline is not None and time.monotonic() + RETRY_S >= deadline
                if is_late or (tries >= TRIES and not self._optimist):
                    kind = ConnectionTimeout if is_late and self._optimist else ConnectionClosed
                    raise kind(f"{shown(self._address)} ends the handshake: {error}") from error
                time.sleep(RETRY_S)

    def _dial(self, deadline: float | None) -> BlockingConnection:
        connection = BlockingConnection.connect(self._address, deadline, patient=self._optimist)
        try:
            if self._tls is not None:
                connection = self._wrap(connection, self._tls, deadline)
            connection.frames.limit = HANDSHAKE_LIMIT
            is_in = self._shake(connection, deadline)
            if self._require_auth and not is_in:
                raise AuthError(f"{shown(self._address)} does not know the key it was shown")
        except BaseException:
            connection.close()
            raise
        connection.frames.limit = self._limit
        return connection

    def _shake(self, connection: BlockingConnection, deadline: float | None) -> bool:
        handshake = ClientHandshake(self._key, legacy=self._legacy)
        greeting = connection.get(deadline)
        if self._is_original and handshake.is_challenge(greeting):
            connection.put_open(handshake.digest(greeting), deadline)
            return handshake.finish_digest(connection.get(deadline))
        connection.put_open(handshake.hello(greeting), deadline)
        is_in = handshake.finish(connection.get(deadline))
        connection.session = handshake.session
        return is_in

    def _wrap(
        self, connection: BlockingConnection, context: ssl.SSLContext, deadline: float | None
    ) -> BlockingConnection:
        peer = shown(self._address)
        connection.socket.settimeout(remaining(deadline))
        try:
            return BlockingConnection(wrap_client(connection.socket, context, self._address[0]), HANDSHAKE_LIMIT)
        except TimeoutError as error:
            raise ConnectionTimeout(f"no TLS connection to {peer} in time") from error
        except ConnectionError as error:
            raise ConnectionClosed(f"{peer} closed the connection: {error}") from error
        except (OSError, ValueError) as error:
            raise ConnectionRefused(f"no TLS connection to {peer}: {error}") from error
