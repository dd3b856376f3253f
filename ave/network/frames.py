"""Frames without I/O: bytes go in, messages come out, whatever the pieces they arrive in.

A frame is a length, 4 bytes with the most significant first, and so many bytes of message. A length is judged
as soon as it is there, and no memory is taken for what has not arrived.
"""

from __future__ import annotations

from struct import Struct

from ave.exceptions import Overflow, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FRAME_LIMIT", "HANDSHAKE_LIMIT", "Frames", "framed"]

#: Bytes a message may have before the peer is authenticated, and afterwards unless another limit is given.
HANDSHAKE_LIMIT = 4096
FRAME_LIMIT = 64 << 20

#: Lengths from here on are negative numbers to peers of the original kind.
_SIGNED_LIMIT = 1 << 31

_LENGTH = Struct(">I")

#: The four bytes of a length.
length_bytes: Callable[[int], bytes] = _LENGTH.pack


def framed(message: bytes) -> bytes:
    """Return the frame of a message; ProtocolError if no frame can hold it."""
    if not 0 < len(message) < _SIGNED_LIMIT:
        raise ProtocolError(f"a message of {len(message)} bytes does not fit into a frame")
    return length_bytes(len(message)) + message


class Frames:
    """What came from one peer and was not taken yet.

    Attributes:
        limit: bytes a message may have; may be changed between two messages.
        size: bytes that wait here.
    """

    __slots__ = ("_at", "_buffer", "limit", "size")

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._buffer: bytes | bytearray = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived."""
        self.size += len(data)
        if not self._buffer:
            self._buffer = data
            return
        if not isinstance(self._buffer, bytearray):
            self._buffer = bytearray(memoryview(self._buffer)[self._at :])
        elif self._at:
            del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self) -> memoryview | None:
        """Return the next message, None if it is not all there.

        Raises:
            Overflow: it is longer than `limit`.
            ProtocolError: it is empty, which no message is.
        """
        here, size = self._at, self.size
        if size < 4:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, here)
        if not 0 < length <= self.limit:
            raise _refusal(length, self.limit)
        begin, end = here + 4, here + 4 + length
        if size < 4 + length:
            return None
        if size == 4 + length:
            # nothing is copied: the message takes the buffer with it
            message = memoryview(self._buffer)[begin:]
            self._buffer, self._at, self.size = b"", 0, 0
            return message
        self._at = end
        self.size -= 4 + length
        return memoryview(bytes(self._buffer[begin:end]))

    def missing(self) -> int:
        """Return how many bytes of the message in progress have not arrived; 0 between messages."""
        if self.size < 4:
            return 4 - self.size if self.size else 0
        (length,) = _LENGTH.unpack_from(self._buffer, self._at)
        return max(0, 4 + int(length) - self.size)

    def drop(self) -> None:
        """Forget all that came."""
        self._buffer, self._at, self.size = b"", 0, 0


def _refusal(length: int, limit: int) -> ProtocolError:
    if length == 0:
        return ProtocolError("an empty message")
    if length >= _SIGNED_LIMIT:
        return Overflow("signed integer is greater than maximum")
    return Overflow(f"a message of {length} bytes is over the limit of {limit}")
