"""The handshake without I/O, and what it ends in: a session that seals and opens every message.

The server speaks first, each side proves that it knows the key without telling it, and from then on each message
carries a MAC over its direction, its number and its content. Version 2 means HMAC-SHA256 everywhere; no algorithm is
ever offered or chosen. Every proof covers the server's first message as it was sent, so nobody between the two can
make them agree on less than both can do.

The original's handshake (a challenge, answered by HMAC-MD5) is spoken only where `legacy` asks for it.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from struct import Struct

from ave.exceptions import AuthError, FormatError, ProtocolError
from ave.network.codec import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    #: Both hashes of an HMAC that is on its way.
    _Begun = tuple[Any, Any]

__all__ = ["CHALLENGE", "VERSION", "ClientHandshake", "LegacyPeer", "OpenSession", "ServerHandshake", "Session"]

#: The version of the handshake and of everything after it.
VERSION = 2

#: The original's first message: this and 20 random bytes.
CHALLENGE = b"#CHALLENGE#"
CHALLENGE_NONCE = 20
CHALLENGE_SIZE = len(CHALLENGE) + CHALLENGE_NONCE
MD5_SIZE = 16

#: Bytes of a nonce, and of a MAC.
NONCE_SIZE = 32
MAC_SIZE = 32

#: From this size on a message is not copied to put its MAC before it.
LARGE = 64 * 1024

_count = Struct(">Q").pack
_size = Struct(">I").pack


class LegacyPeer(ProtocolError):  # noqa: N818 - what to do about it is its name
    """The peer is of the original kind: connect again and answer its challenge as it expects."""


class OpenSession:
    """A session without MACs: that of the original's format, and of a connection that was handed over."""

    #: Whether replies name the request they answer.
    numbered = False

    def seal(self, message: bytes) -> list[bytes]:
        """Return the parts of one frame, its length first."""
        return [_size(len(message)) + message] if len(message) < LARGE else [_size(len(message)), message]

    def open(self, message: memoryview) -> memoryview:
        """Return the content of a message as it came in a frame."""
        return message

    def prepare(self) -> None:
        """Do beforehand what can be done for the next messages: for moments in which the peer has work."""


class Session(OpenSession):
    """A session of version 2: each message is its MAC and then its content.

    A message that was repeated, left out, moved, altered or sent back does not open.
    """

    numbered = True

    def __init__(self, sending: bytes, receiving: bytes) -> None:
        self._sending = _Hmac(sending)
        self._receiving = _Hmac(receiving)
        self._sent = self._received = 0
        self._next_sent: _Begun | None = None
        self._next_received: _Begun | None = None

    def seal(self, message: bytes) -> list[bytes]:
        """Return the parts of the next frame to be sent, its length first."""
        mac = _finished(self._next_sent or self._sending.begun(self._sent), message)
        self._next_sent = None
        self._sent += 1
        head = _size(MAC_SIZE + len(message)) + mac
        return [head + message] if len(message) < LARGE else [head, message]

    def open(self, message: memoryview) -> memoryview:
        """Return the content of the next message; ProtocolError if it is not the one that the peer sent."""
        content = message[MAC_SIZE:]
        begun, self._next_received = self._next_received or self._receiving.begun(self._received), None
        if not hmac.compare_digest(_finished(begun, content), message[:MAC_SIZE]):
            raise ProtocolError("a message was altered, repeated or lost on the way")
        self._received += 1
        return content

    def prepare(self) -> None:
        """Work the numbers of the next messages into their MACs."""
        self._next_sent = self._next_sent or self._sending.begun(self._sent)
        self._next_received = self._next_received or self._receiving.begun(self._received)


class _Hmac:
    """HMAC-SHA256 (RFC 2104) with the key worked in once; `hmac` takes twice the time for a short message."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def begun(self, number: int) -> _Begun:
        """Return the MAC of a message as far as its number makes it; for `_finished`, once."""
        inner = self._inner.copy()
        inner.update(_count(number))
        return inner, self._outer.copy()


def _finished(begun: _Begun, content: bytes | memoryview) -> bytes:
    inner, outer = begun
    inner.update(content)
    outer.update(inner.digest())
    mac: bytes = outer.digest()
    return mac


class ServerHandshake:
    """The server's side.

    Attributes:
        greeting: the first message to send.
        key: once `answer` has returned, the one of `keys` that the client knows, or None.
        session: once `answer` has returned, what the connection goes on with.
    """

    def __init__(self, keys: Iterable[bytes], name: str, *, legacy: bool) -> None:
        self.key: bytes | None = None
        self.session = OpenSession()
        self._keys = tuple(keys)
        self._legacy = legacy
        if legacy:
            self.greeting = CHALLENGE + os.urandom(CHALLENGE_NONCE)
        else:
            self.greeting = encode({"ave": [VERSION], "nonce": os.urandom(NONCE_SIZE).hex(), "server": name})

    def answer(self, message: memoryview) -> bytes:
        """Return the frame's message that ends the handshake, to be sent as it is.

        ProtocolError: the client does not speak this version.
        """
        if self._legacy and len(message) == MD5_SIZE:
            self.key = _first(self._keys, lambda key: hmac.digest(key, self.greeting[len(CHALLENGE) :], "md5"), message)
            # with the blank, as the original's clients know it
            return b'{"authenticated": %s}' % (b"false" if self.key is None else b"true")
        nonce, proof = _read_hello(message)
        self.key = _first(self._keys, lambda key: _mac(key, "client", self.greeting, nonce), proof)
        key = self.key or b""
        self.session = Session(*_session_keys(key, self.greeting, nonce, "server", "client"))
        own = _mac(key, "server", self.greeting, nonce)
        return encode({"ave": VERSION, "authenticated": self.key is not None, "proof": own.hex()})


class ClientHandshake:
    """The client's side.

    Attributes:
        session: once `finish` has returned, what the connection goes on with.
    """

    def __init__(self, key: bytes | None, *, legacy: bool) -> None:
        self.session = OpenSession()
        self._key = key or b""
        self._legacy = legacy
        self._greeting = b""
        self._nonce = os.urandom(NONCE_SIZE)

    def hello(self, greeting: memoryview) -> bytes:
        """Return the answer to the server's first message; ProtocolError if it has no version in common."""
        self._greeting = bytes(greeting)
        if not _is_challenge(self._greeting):
            _check_greeting(greeting)
        proof = _mac(self._key, "client", self._greeting, self._nonce)
        return encode({"ave": VERSION, "nonce": self._nonce.hex(), "proof": proof.hex()})

    @staticmethod
    def is_challenge(greeting: memoryview) -> bool:
        """Tell whether a server's first message is the original's."""
        return _is_challenge(bytes(greeting))

    def digest(self, greeting: memoryview) -> bytes:
        """Return the original's answer instead: only for a peer that has shown to be a `LegacyPeer`."""
        if not (self._legacy and _is_challenge(bytes(greeting))):
            raise ProtocolError("the peer's first message is no challenge")
        return hmac.digest(self._key, greeting[len(CHALLENGE) :], "md5")

    def finish(self, message: memoryview) -> bool:
        """Take the server's answer and return whether it let us in; if so, it has proved that it knows the key.

        Raises:
            LegacyPeer: it is of the original kind, and `legacy` is on.
            AuthError: it says that it knows the key, but does not.
            ProtocolError: it does not speak this version.
        """
        answer = _object(message)
        if "exception" in answer:
            raise ProtocolError(f"the server refused the handshake: {answer['exception']}")
        if answer.get("ave") != VERSION:
            if self._legacy and _is_challenge(self._greeting) and isinstance(answer.get("authenticated"), bool):
                raise LegacyPeer("the peer speaks the original's handshake")
            raise ProtocolError(
                "the server speaks the original's handshake only, which legacy=True allows"
                if _is_challenge(self._greeting)
                else "the server's answer is not of this protocol"
            )
        if not isinstance(answer.get("authenticated"), bool):
            raise ProtocolError("the server does not say whether it lets us in")
        key = self._key if answer["authenticated"] else b""
        own = _mac(key, "server", self._greeting, self._nonce)
        if not hmac.compare_digest(own, _bytes_of(answer, "proof", MAC_SIZE)):
            raise AuthError("the server does not know the key it was asked for")
        self.session = Session(*_session_keys(key, self._greeting, self._nonce, "client", "server"))
        return bool(answer["authenticated"])

    def finish_digest(self, message: memoryview) -> bool:
        """Take an original server's answer to `digest` and return whether it let us in; ProtocolError if it is none."""
        answer = _object(message)
        if "exception" in answer:
            raise ProtocolError(f"the server refused the handshake: {answer['exception']}")
        if not isinstance(answer.get("authenticated"), bool):
            raise ProtocolError("the server does not say whether it lets us in")
        return bool(answer["authenticated"])


def _first(keys: tuple[bytes, ...], mac_of: Any, proof: bytes | memoryview) -> bytes | None:
    """Return the key whose MAC is `proof`; every key is tried, so that the time tells nothing."""
    found = None
    for key in keys:
        if hmac.compare_digest(mac_of(key), proof) and found is None:
            found = key
    return found


def _mac(key: bytes, role: str, greeting: bytes, nonce: bytes) -> bytes:
    text = b"AVE RPC %d %s\0%s%s%s" % (VERSION, role.encode(), _size(len(greeting)), greeting, nonce)
    return hmac.digest(key, text, "sha256")


def _session_keys(key: bytes, greeting: bytes, nonce: bytes, sender: str, receiver: str) -> tuple[bytes, bytes]:
    return (
        _mac(key, f"messages of the {sender}", greeting, nonce),
        _mac(key, f"messages of the {receiver}", greeting, nonce),
    )


def _is_challenge(greeting: bytes) -> bool:
    return greeting.startswith(CHALLENGE) and len(greeting) == CHALLENGE_SIZE


def _check_greeting(greeting: memoryview) -> None:
    hello = _object(greeting)
    versions = hello.get("ave")
    if not isinstance(versions, list) or VERSION not in versions:
        raise ProtocolError(f"the server speaks versions {versions}, we speak {VERSION}")
    _bytes_of(hello, "nonce", NONCE_SIZE)


def _read_hello(message: memoryview) -> tuple[bytes, bytes]:
    hello = _object(message)
    if hello.get("ave") != VERSION or set(hello) != {"ave", "nonce", "proof"}:
        raise ProtocolError(f"not a hello of version {VERSION}")
    return _bytes_of(hello, "nonce", NONCE_SIZE), _bytes_of(hello, "proof", MAC_SIZE)


def _object(message: memoryview) -> dict[str, Any]:
    try:
        content = decode(message)
    except FormatError as error:
        raise ProtocolError(f"not a message of the handshake: {error}") from error
    if not isinstance(content, dict):
        raise ProtocolError("not a message of the handshake")
    return content


def _bytes_of(content: dict[str, Any], name: str, size: int) -> bytes:
    text = content.get(name)
    try:
        value = bytes.fromhex(text) if isinstance(text, str) and len(text) == 2 * size else b""
    except ValueError:
        value = b""
    if len(value) != size:
        raise ProtocolError(f'"{name}" is not {size} bytes in hexadecimal digits')
    return value
