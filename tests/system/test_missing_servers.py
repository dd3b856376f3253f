"""Where a server cannot be had its tests skip, the last line of `make test` counts them, and CI demands some."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Tests of a machine that has no server.
SUITE = """
import pytest
from etc.demo import servers
from tests.system.serving import started

@pytest.fixture(autouse=True)
def no_server(monkeypatch, tmp_path):
    monkeypatch.setattr(servers.shutil, "which", lambda name: None)
    monkeypatch.setattr(servers, "Path", lambda *parts: tmp_path / "nothing")

@pytest.mark.parametrize("make", [servers.MariaDB, servers.MariaDB, servers.CouchDB, servers.opensearch])
def test_it(make):
    started(make)

def test_that_needs_none():
    pass
"""


def tallied(directory, ci):
    (directory / "test_it.py").write_text(SUITE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": ci}
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={directory}", f"--junit-xml={directory}/results.xml"]
    command = [sys.executable, "-m", "pytest", *options, str(directory)]
    ended = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)
    tally = [sys.executable, str(ROOT / "tests/tally.py"), str(directory / "results.xml")]
    return ended.returncode, subprocess.run(tally, capture_output=True, text=True, check=True).stdout.splitlines()


def test_without_servers_their_tests_skip_and_the_last_line_counts_them(tmp_path):
    code, lines = tallied(tmp_path, "")
    assert code == 0
    assert lines[-2:] == [
        "1 passed, 0 failed, 4 skipped",
        "SERVERS MISSING: 4 skipped for want of one: MariaDB 2, pouchdb-server 1, OpenSearch 1",
    ]


def test_under_ci_only_opensearch_may_be_missing(tmp_path):
    code, lines = tallied(tmp_path, "true")
    assert code == 1
    assert lines[-2:] == [
        "1 passed, 3 failed, 1 skipped",
        "SERVERS MISSING: 1 skipped for want of one: OpenSearch 1",
    ]
