"""An HTTP server before a node that wants to know who asks, or that is not to be asked now: what a node alone lacks."""

from __future__ import annotations

import http.server
import threading
from base64 import b64encode

import requests


class Gate(http.server.ThreadingHTTPServer):
    """Hands what it is asked on to a port of this machine.

    Attributes:
        login: "user:password" that it wants; empty lets everybody in.
        answer: if not None, called instead of asking the node: (status, headers, content).
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, to_port, login=""):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to_port = to_port
        self.login = login
        self.answer = None

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_error):
        self.shutdown()
        self.server_close()

    @property
    def port(self):
        return self.server_port

    def handle_error(self, *_args):
        pass  # a client that went away, as it may


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, content = self._answer(body)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body):
        gate = self.server
        if gate.answer:
            return gate.answer()
        if gate.login and self.headers["Authorization"] != f"Basic {b64encode(gate.login.encode()).decode()}":
            return 401, {}, b'{"error": {"type": "security_exception", "reason": "who is it?"}}'
        url = f"http://127.0.0.1:{gate.to_port}{self.path}"
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        said = requests.request(self.command, url, data=body, headers=headers, timeout=30)
        return said.status_code, {}, said.content

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do

    def log_message(self, *_args):
        pass
