"""MariaDB from Debian's packages, its data in a private directory."""

from __future__ import annotations

import uuid
from functools import cache

from etc.demo import servers
from etc.demo.servers import MariaDB
from tests.system.serving import started

__all__ = ["PASSWORD", "USER", "MariaDB", "fresh_url", "shared", "start", "url"]

USER, PASSWORD = servers.USER, servers.MARIADB_PASSWORD


def start(*options):
    """Start one of its own, for tests that kill it."""
    return started(MariaDB, options=options)


@cache
def shared():
    """Return the one that tests share, started at the first call."""
    return start("--innodb-flush-log-at-trx-commit=2")


def fresh_url():
    """Return the URL of a database that is not there yet on the shared server."""
    return shared().url(f"ave_{uuid.uuid4().hex[:8]}")


def url(server, name="ave", **login):
    return server.url(name, **login)
