"""A peer that speaks the original wire format, byte by byte, written from its description and nothing of ours."""

from __future__ import annotations

import hashlib
import json
import socket


def hmac_md5(key: bytes, text: bytes) -> bytes:
    """RFC 2104, by hand."""
    key = key.ljust(64, b"\0") if len(key) <= 64 else hashlib.md5(key).digest().ljust(64, b"\0")
    inner = hashlib.md5(bytes(byte ^ 0x36 for byte in key) + text).digest()
    return hashlib.md5(bytes(byte ^ 0x5C for byte in key) + inner).digest()


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


class Wire:
    """A socket that carries the original's frames."""

    def __init__(self, sock: socket.socket, pieces=lambda data: [data]):
        self.socket = sock
        self.pieces = pieces

    def send(self, payload: bytes) -> None:
        self.send_raw(frame(payload))

    def send_raw(self, data: bytes) -> None:
        for piece in self.pieces(data):
            self.socket.sendall(piece)

    def receive(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(4), "big"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            got = self.socket.recv(size - len(data))
            if not got:
                raise EOFError(data)
            data += got
        return data

    def close(self) -> None:
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()


class Client(Wire):
    """An original RemoteControl."""

    def __init__(self, port: int, key: bytes | None = None, pieces=lambda data: [data]):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, pieces)
        challenge = self.receive()
        assert challenge.startswith(b"#CHALLENGE#")
        assert len(challenge) == 31
        self.send(hmac_md5(key or b"", challenge[11:]))
        self.answer = self.receive()
        self.authenticated = json.loads(self.answer)["authenticated"]

    def request(self, text: str) -> dict:
        self.send(text.encode())
        return json.loads(self.receive())

    def call(self, method: str, *vargs, **kwargs) -> dict:
        return self.request(blob(method, *vargs, **kwargs))


def blob(method: str, *vargs, is_async=False, **kwargs) -> str:
    params = {"vargs": list(vargs), "kwargs": kwargs}
    return json.dumps({"method": method, "resource": None, "params": params, "async": is_async})


def serve_one(listener: socket.socket, key: bytes, replies: list[bytes]) -> list[bytes]:
    """Be an original Control for the connections that come, until `replies` are used up.

    Returns:
        Everything that clients sent besides their digests: the first message of a connection that was no digest, and
        all requests.
    """
    seen = []
    while replies:
        sock, _ = listener.accept()
        sock.settimeout(10)
        with Wire(sock) as wire:
            salt = b"0123456789abcdefghij"
            wire.send(b"#CHALLENGE#" + salt)
            try:
                digest = wire.receive()
                if len(digest) != 16:
                    seen.append(digest)
                wire.send(b'{"authenticated": %s}' % (b"true" if digest == hmac_md5(key, salt) else b"false"))
                while replies:
                    seen.append(wire.receive())
                    wire.send(replies.pop(0))
            except (EOFError, ConnectionError):
                pass
    return seen
