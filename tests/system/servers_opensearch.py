"""OpenSearch nodes, each in a JVM of its own; Maven brings the program (`tests/system/opensearch/build`)."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from functools import cache

import pytest
import requests

from ave.network import find_free_port
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
        hasty: whether it is for a test, which is soon over.
    """

    def __init__(self, name, others, *, hasty=True):
        self._others = others
        self._hasty = hasty
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

    def answers(self):
        # `wait_until_well` is waited for where it matters; nodes of a cluster start side by side
        assert self._process.poll() is None, f"{self.name} ended: {self.log[-2000:]}"
        return True

    def wait_until_well(self, nodes=1):
        """Wait until it has so many nodes and all their copies."""
        wait_until(
            lambda: (said := self.health()).get("status") == "green" and said["number_of_nodes"] == nodes,
            120,
            f"{self.name} to be well",
        )

    def _java(self, port, directory):
        settings = {
            "path.home": directory,
            "node.name": self.name,
            "network.host": "127.0.0.1",
            "http.port": port,
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self._others,
        }
        # begins sooner, and would be slower in the long run
        haste = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] if self._hasty else []
        classes = f"{THERE}/classes:{THERE}/jars/*"
        words = [f"{name}={value}" for name, value in settings.items()]
        return ["java", f"-Xms{HEAP}m", f"-Xmx{HEAP}m", *haste, "-cp", classes, "Launcher", *words]


def start(*, hasty=True):
    """Start one node of its own, for tests that kill it."""
    _demand()
    node = Node("opensearch", {"discovery.type": "single-node", "transport.port": "0"}, hasty=hasty)
    node.wait_until_well()
    return node


@contextmanager
def cluster(count=3):
    """Lend a cluster of nodes in JVMs of their own."""
    _demand()
    ports = [find_free_port() for _ in range(count)]
    names = [f"node-{number}" for number in range(count)]
    common = {
        "cluster.name": f"ave-{uuid.uuid4().hex[:8]}",
        "cluster.initial_cluster_manager_nodes": ",".join(names),
        "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in ports),
        "discovery.initial_state_timeout": "0s",
    }
    nodes = [Node(name, {**common, "transport.port": port}) for name, port in zip(names, ports, strict=True)]
    try:
        nodes[0].wait_until_well(count)
        yield nodes
    finally:
        for node in nodes:
            node.remove()


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
