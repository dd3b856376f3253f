"""OpenSearch nodes, each in a JVM of its own; Maven brings the program (`tests/system/opensearch/build`).

AVE_TEST_SEARCH names another program than OpenSearch 2: `opensearch-3` or `elasticsearch-8`.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from functools import cache

import requests

from ave.network import find_free_port
from etc.demo import servers
from etc.demo.servers import Node
from tests.system.serving import started

__all__ = ["FLAVOUR", "Node", "cluster", "fresh", "shared", "start"]

PROGRAM = servers.OPENSEARCH.with_name(os.environ.get("AVE_TEST_SEARCH", servers.OPENSEARCH.name))

#: Which of the two servers it is.
FLAVOUR = PROGRAM.name.partition("-")[0]

#: What each calls the node that manages a cluster.
MANAGER = {"opensearch": "cluster_manager", "elasticsearch": "master"}


def start(*, hasty=True):
    """Start one node of its own, for tests that kill it."""
    return started(servers.opensearch, hasty=hasty, program=PROGRAM)


@contextmanager
def cluster(count=3):
    """Lend a cluster of nodes in JVMs of their own."""
    ports = [find_free_port() for _ in range(count)]
    names = [f"node-{number}" for number in range(count)]
    common = {
        "cluster.name": f"ave-{uuid.uuid4().hex[:8]}",
        f"cluster.initial_{MANAGER[FLAVOUR]}_nodes": ",".join(names),
        "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in ports),
        "discovery.initial_state_timeout": "0s",
    }
    nodes = [
        started(Node, name, {**common, "transport.port": port}, program=PROGRAM)
        for name, port in zip(names, ports, strict=True)
    ]
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
