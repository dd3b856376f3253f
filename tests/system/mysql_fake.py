"""A server that greets as a MySQL does, and then says what a test wants, for what real ones never do."""

from __future__ import annotations

import socket
import struct
import threading

__all__ = ["FakeMysql", "packet"]


def packet(number, content):
    """Return a packet of MySQL's protocol: length, number, content."""
    return struct.pack("<I", len(content))[:3] + bytes([number]) + content


class FakeMysql:
    """Serves one connection.

    Args:
        plugin: the way to log in that it demands.
        talk: called with the connection behind the greeting.
    """

    def __init__(self, plugin, talk):
        self._plugin, self._talk = plugin, talk
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        peer, _ = self._socket.accept()
        with peer:
            peer.settimeout(5)
            greeting = b"\x0a8.0.40\x00" + struct.pack("<I", 1) + b"12345678\x00" + b"\xff\xf7\x2d\x02\x00\xff\x81\x15"
            peer.sendall(packet(0, greeting + b"\x00" * 10 + b"123456789012\x00" + self._plugin + b"\x00"))
            self._talk(peer)

    def end(self):
        """Wait for the end of the connection."""
        self._thread.join(10)
        self._socket.close()
