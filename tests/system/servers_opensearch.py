"""OpenSearch nodes, each in a JVM of its own; Maven brings the program (`tests/system/opensearch/build`)."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from functools import cache

import pytest
import requests

from ave.testing import wait_until
from tests.system.serving import ROOT, Server

THERE = ROOT / "build/opensearch"

#: MiB of memory of a node.
HEAP = 512


class Node(Server):
    """A node of OpenSearch.

    Args:
        name: of the node.
        others: settings besides, as a dict.
    """

    def __init__(self, name, others):
        self._others = others
        super().__init__(name, self._java)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def health(self):
        """Return what the node says of its cluster; {} if it says nothing."""
        try:
            return requests.get(f"{self.url}/_cluster/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return {}

    def _java(self, port, directory):
        settings = {
            "path.home": directory,
            "node.name": self.name,
            "network.host": "127.0.0.1",
            "http.port": port,
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self._others,
        }
        memory = [f"-Xms{HEAP}m", f"-Xmx{HEAP}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        classes = f"{THERE}/classes:{THERE}/jars/*"
        words = [f"{name}={value}" for name, value in settings.items()]
        return ["java", *memory, "-cp", classes, "Launcher", *words]


def start():
    """Start one node of its own, for tests that kill it."""
    _demand()
    node = Node("opensearch", {"discovery.type": "single-node", "transport.port": "0"})
    wait_until(lambda: node.health().get("status") == "green", 60, "OpenSearch to be green")
    return node


@cache
def shared():
    """Return the node that tests share, started at the first call."""
    return start()


@contextmanager
def fresh():
    """Lend the URL of indices that nobody has used yet on the shared node, and remove them afterwards."""
    name = f"t{uuid.uuid4().hex[:8]}"
    node = shared()
    yield f"elasticsearch://127.0.0.1:{node.port}/{name}?locust={name}-requests"
    requests.delete(f"{node.url}/{name}-*", timeout=30)
    requests.delete(f"{node.url}/_index_template/{name}", timeout=30)


def _demand():
    if shutil.which("java") is None or not (THERE / ".ready").exists():
        pytest.skip("OpenSearch cannot be had: it needs Java and Maven; then `make test` fetches it")
