"""Whether a backlog of millions drains as fast as a small one, into the embedded store and each server.

`AVE_BENCH_STORES` names the stores, `AVE_BENCH_RECORDS` the large backlog; of CouchDB, which is a tenth as fast as the
others, it is a tenth.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from draining import drained, report
from table import finish, heading, row

from tests.system import servers_couchdb, servers_mariadb, servers_opensearch

LARGE = int(os.environ.get("AVE_BENCH_RECORDS", "3000000"))
SMALL = 50_000
SMALL_ROUNDS = 3
STORES = os.environ.get("AVE_BENCH_STORES", "embedded mariadb opensearch couchdb").split()
TEXT = "x" * 95


class Bodies(Sequence[dict[str, Any]]):
    """Bodies that are made when they are asked for: millions of them do not fit into memory."""

    def __init__(self, count: int, make: Callable[[int], dict[str, Any]]) -> None:
        self.count = count
        self.make = make

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, n: Any) -> Any:
        if n >= self.count:
            raise IndexError(n)
        return self.make(n)


class Place(NamedTuple):
    """Where records go: the configuration files that name it, its URL, and what part of `LARGE` it is given."""

    files: tuple[str, ...]
    url: str
    kind: str = "shout"
    share: float = 1.0


@contextmanager
def embedded() -> Iterator[Place]:
    """Give the embedded store."""
    yield Place((), "")


@contextmanager
def mariadb() -> Iterator[Place]:
    """Give a MariaDB."""
    server = servers_mariadb.start()
    yield Place(("mysql",), servers_mariadb.url(server), kind="measurement")
    server.remove()


@contextmanager
def opensearch() -> Iterator[Place]:
    """Give an OpenSearch."""
    node = servers_opensearch.start(hasty=False)
    yield Place(("panotti", "decibel", "mysql"), f"elasticsearch://127.0.0.1:{node.port}/ave")
    node.remove()


@contextmanager
def couchdb() -> Iterator[Place]:
    """Give a pouchdb-server."""
    server = servers_couchdb.start()
    yield Place(("panotti",), servers_couchdb.url(server, "bench"), share=0.1)
    server.remove()


def body(kind: str) -> Callable[[int], dict[str, Any]]:
    """Return what makes the n-th body of such records, of about 300 bytes with what is around it."""
    if kind == "measurement":
        return lambda n: {"table": "bench", "row": {"n": n, "seconds": 31.25, "volts": 3.3, "device": "yuga"}}
    return lambda n: {"title": "bench", "n": n, "text": TEXT}


def compare(name: str, place: Place, results: list[bool]) -> None:
    """Drain small backlogs, the first of them for nothing, then the large one."""
    made = body(place.kind)
    small = [drained(place.files, place.kind, place.url, Bodies(SMALL, made)) for _ in range(1 + SMALL_ROUNDS)]
    large = drained(place.files, place.kind, place.url, Bodies(int(LARGE * place.share), made))
    usual = statistics.median(one.rate for one in small[1:])
    heading(f"{name}: a backlog of {int(LARGE * place.share):,}")
    row(f"a backlog of {SMALL:,}, the median of {SMALL_ROUNDS}", f"{usual:,.0f}/s")
    row("the large one", f"{large.rate:,.0f}/s")
    share = large.rate / usual
    results.append(row("  the large one / the small one", f"{share:.2f}", ">= 0.85", share >= 0.85))
    report(results, [large])


def main() -> None:
    """Print the tables."""
    results: list[bool] = []
    for name in STORES:
        with {"embedded": embedded, "mariadb": mariadb, "opensearch": opensearch, "couchdb": couchdb}[name]() as place:
            compare(name, place, results)
    finish(results)


if __name__ == "__main__":
    main()
