"""A TCP input of lines of JSON, as Logstash's, that can stall, reset and vanish."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from contextlib import suppress


class Sink:
    """Listens on a free loopback port and reads lines until the other side ends.

    Attributes:
        port: where it listens; the same after `vanish` and `come_back`.
        events: the documents of all whole lines that it read, in order.
        mood: `well`; `stall` reads nothing; `reset` resets once `bytes_first` bytes were read; `close` closes instead;
            `drip` reads, and then says a byte again and again.
        answers_end: whether it answers the end of TLS, as OpenSSL does. Java, and so Logstash, waits for the end of the
            connection, and closes it.
    """

    def __init__(self, context=None, *, answers_end=False):
        self.events = []
        self.mood = "well"
        self.bytes_first = 0
        self.connections = 0
        self.answers_end = answers_end
        self._context = context
        self.port = 0
        self._open = set()
        self.come_back()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.vanish()

    def come_back(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._goes_on = threading.Event()
        threading.Thread(target=self._accept, args=(self._listener, self._goes_on), daemon=True).start()

    def vanish(self):
        """Be gone, as a process that was killed: who connects is refused, who is connected gets a reset."""
        self._goes_on.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _reset(connection)

    def _accept(self, listener, goes_on):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._read, args=(connection, goes_on), daemon=True).start()

    def _read(self, connection, goes_on):
        self._open.add(connection)
        rest = b""
        count = 0
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            while True:
                while self.mood == "stall" and not goes_on.wait(0.01):
                    pass
                data = connection.recv(4096)
                count += len(data)
                if self.mood in {"reset", "close"} and count >= self.bytes_first:
                    if self.mood == "reset":
                        _reset(connection)
                    return
                *lines, rest = (rest + data).split(b"\n")
                self.events += map(json.loads, lines)
                if not data:
                    while self.mood == "drip" and not goes_on.wait(0.01):
                        connection.sendall(b"x")
                    if isinstance(connection, ssl.SSLSocket):
                        self._end(connection)
                    return
        except OSError:
            return
        finally:
            self._open.discard(connection)
            connection.close()

    def _end(self, connection):
        if self.answers_end:
            connection.unwrap()
        while socket.socket.recv(connection, 4096):
            pass


def _reset(connection):
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
