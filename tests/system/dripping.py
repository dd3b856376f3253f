"""A server that never comes to an end."""

from __future__ import annotations

import socket
import threading


def dripping(before, drop):
    """Serve HTTP to one client: `before`, and then `drop` again and again; return the port, and what ends it if set."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(before)
            try:
                while not ended.wait(0.01):
                    connection.sendall(drop)
            except OSError:
                return

    ended = threading.Event()
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], ended
