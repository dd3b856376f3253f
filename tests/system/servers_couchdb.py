"""A server of CouchDB's protocol: `pouchdb-server`, or the Apache CouchDB that AVE_TEST_COUCHDB_URL names."""

from __future__ import annotations

import os
import uuid
from functools import cache

from etc.demo import servers
from tests.system.serving import started

USER, PASSWORD = servers.USER, servers.COUCHDB_PASSWORD


def start():
    """Start one of its own, for tests that kill it."""
    return started(servers.CouchDB)


@cache
def shared():
    """Return the one that tests share, started at the first call."""
    return start()


def fresh_url():
    """Return the URL of a name that nobody has used yet on the shared server."""
    name = f"panotti-{uuid.uuid4().hex[:8]}"
    given = os.environ.get("AVE_TEST_COUCHDB_URL", "")
    return f"{given.rstrip('/')}/{name}" if given else shared().url(name)


def url(server, name="panotti", **login):
    return server.url(name, **login)
