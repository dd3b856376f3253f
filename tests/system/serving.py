"""Real servers for tests: started once per test run, see `etc/demo/servers.py`; without one, its tests skip."""

from __future__ import annotations

import os

import pytest

from etc.demo.servers import CannotBeHadError

#: Servers that every machine can have: where all must be there, their absence is a failure.
DEMANDED = ("MariaDB", "pouchdb-server")


def started(make, *args, **kwargs):
    """Start a server; skip the test that needs it where it cannot be had, or fail where it must be there."""
    try:
        return make(*args, **kwargs)
    except CannotBeHadError as error:
        cannot_be_had(str(error))


def cannot_be_had(reason):
    """Skip a test without the server that a reason begins with, or fail it where that must be there."""
    if os.environ.get("CI") == "true" and reason.startswith(DEMANDED):
        pytest.fail(reason)
    pytest.skip(reason)
