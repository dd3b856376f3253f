"""Addresses, and sockets as this protocol wants them."""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["find_free_port", "shown", "tune", "warn"]

#: Seconds of silence after which the kernel asks whether the peer's machine is still there, between two such
#: questions, and questions without an answer before the connection is dead.
KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6))


def find_free_port(start: int = 0, stop: int = 65536, host: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody uses at this moment: any, or the first from `start` up to `stop`.

    Somebody may take it before you do: to be sure, listen yourself and give the socket to `Control`.

    Raises:
        OSError: all are taken.
    """
    error = OSError(f"no port from {start} to {stop - 1} is free")
    for port in range(start, stop):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return int(probe.getsockname()[1])
            except OSError as failed:
                error = failed
    raise error


def tune(connection: socket.socket) -> None:
    """Send small messages at once, and notice when the peer's machine is gone."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def shown(address: Any) -> str:
    """Return an address as people write it: `host:port`, `[::1]:80`, or the path of a local socket."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0] or "127.0.0.1", address[1]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(address or "local")


def warn(text: str) -> None:
    """Write a line to stderr, whatever has become of stderr."""
    try:
        os.write(2, f"ave.network: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass
