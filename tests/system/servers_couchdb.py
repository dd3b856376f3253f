"""A server of CouchDB's protocol: `pouchdb-server`, or the Apache CouchDB that AVE_TEST_COUCHDB_URL names."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from functools import cache

from tests.system.serving import ROOT, Server, cannot_be_had

PROGRAM = ROOT / "build/node/node_modules/pouchdb-server/bin/pouchdb-server"
USER, PASSWORD = "lab", "sec:ret/1"


def start():
    """Start one of its own, for tests that kill it."""
    node = shutil.which("node")
    if node is None or not PROGRAM.exists():
        cannot_be_had("pouchdb-server", "it needs Node.js and npm; then `make test` fetches it")
    return Server("pouchdb", lambda port, directory: _command(node, port, directory), _prepare)


@cache
def shared():
    """Return the one that tests share, started at the first call."""
    return start()


def fresh_url():
    """Return the URL of a name that nobody has used yet on the shared server."""
    name = f"panotti-{uuid.uuid4().hex[:8]}"
    given = os.environ.get("AVE_TEST_COUCHDB_URL", "")
    return f"{given.rstrip('/')}/{name}" if given else url(shared(), name)


def url(server, name="panotti", *, user=USER, password=PASSWORD):
    return f"couchdb://{user}:{password.replace(':', '%3A').replace('/', '%2F')}@127.0.0.1:{server.port}/{name}"


def _prepare(directory):
    (directory / "data").mkdir()
    settings = {"admins": {USER: PASSWORD}, "log": {"level": "error", "file": str(directory / "log")}}
    (directory / "config.json").write_text(json.dumps(settings))


def _command(node, port, directory):
    places = ["--dir", str(directory / "data"), "--config", str(directory / "config.json")]
    return [node, str(PROGRAM), "--port", str(port), "--host", "127.0.0.1", *places]
