"""The store: records as documents of monthly indices in OpenSearch or Elasticsearch.

An id is created, never overwritten: what is already there with the same content counts as stored, and whatever the
moment of a crash, the same batch may come again. Nothing is stored before the server said so of that very record.
"""

from __future__ import annotations

import heapq
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from ave.exceptions import AveException, StoreUnavailable, UsageError
from ave.lab.stores.base import DIFFERENT, Rejected, Store, contains, order, unopened
from ave.lab.stores.elasticsearch import search
from ave.lab.stores.elasticsearch.bulk import Line, create
from ave.lab.stores.elasticsearch.documents import (
    UnstorableError,
    document,
    is_astray,
    month,
    plain_document,
    record_of,
)
from ave.lab.stores.elasticsearch.indices import check_all, check_template, ready
from ave.lab.stores.elasticsearch.installing import installed
from ave.lab.stores.elasticsearch.place import Place
from ave.lab.stores.elasticsearch.wire import Cluster, NotLetError, reason
from ave.record import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ave.record import Query, Record

__all__ = ["ElasticsearchStore"]

#: Runs of a job that one search asks for.
GUIDS = 1000


class _Prepared(list["Record"]):
    """Records with their documents, and those that can have none."""

    def __init__(self, batch: Sequence[Record]) -> None:
        super().__init__(batch)
        self.lines: list[Line] = []
        self.rejected: list[Rejected] = []


class ElasticsearchStore(Store):
    """Records in OpenSearch or Elasticsearch.

    Args:
        url: see `Place`, and `doc/howto/opensearch`.
        kinds: what is kept there.
        readonly: for asking only; nothing is made or changed.

    Raises:
        ConfigError: the URL cannot be one.
    """

    #: A request ends with a sync of the server's disk, which costs the same for many records as for few.
    batch_bytes = 1024 * 1024

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self.place = Place.of(url)
        self._readonly = readonly
        self._cluster = Cluster(self.place, quiet=readonly)
        self._is_installed = False
        #: The indices that are right.
        self._ready: set[str] = set()

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store a batch by one bulk request, see `Store.put`."""
        if self._readonly:
            raise UsageError(f"{self.place!r} was opened for reading only")
        made = batch if isinstance(batch, _Prepared) else self.prepare(batch)
        self._make_ready(made.lines)
        lines, strays = self._sorted_out(made)
        rejected = made.rejected + strays
        first = create(self._cluster, lines, again=True)
        # a document of which less is looked at may be taken where the first was not
        plain = [line._replace(text=plain_document(line.record)) for line, _ in first.refused]
        second = create(self._cluster, plain)
        rejected += [Rejected(line.record, why) for line, why in second.refused]
        return rejected + [Rejected(record, DIFFERENT) for record in first.different + second.different]

    def prepare(self, batch: Sequence[Record]) -> _Prepared:
        """Make the documents, see `Store.prepare`."""
        made = _Prepared(batch)
        for record in batch:
            try:
                made.lines.append(Line(record, f"{self.place.prefix}-{month(record.time)}", document(record)))
            except UnstorableError as error:
                made.rejected.append(Rejected(record, str(error)))
        return made

    def find(self, query: Query) -> Iterator[Record]:
        """Give what matches, see `Store.find`."""
        self._refresh()
        parts: list[Collection[str] | None]
        if query.job is not None:
            guids = list(self._runs(query))
            parts = [guids[begin : begin + GUIDS] for begin in range(0, len(guids), GUIDS)]
        else:
            parts = [None if query.guid is None else [query.guid]]
        streams = [self._stream(query, part) for part in parts]
        yield from islice(heapq.merge(*streams, key=order, reverse=query.newest), query.limit)

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count by kind, see `Store.count`."""
        self._refresh()
        answer = self._search(search.counting(guid, hosts))
        buckets = answer.get("aggregations", {}).get("kinds", {}).get("buckets", ())
        return {bucket["key"]: bucket["doc_count"] for bucket in buckets}

    def probe(self) -> None:
        """See that all indices are right, and the template that is somebody else's, see `Store.probe`."""
        check_all(self._cluster)
        if self.place.keeps_template:
            check_template(self._cluster, f"{self.place.prefix}-{month(time.time_ns())}")
        super().probe()

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        self._cluster.close()
        self._is_installed = False
        self._ready.clear()

    # Putting

    def _make_ready(self, lines: list[Line]) -> None:
        """See to the template and to the indices, each once."""
        try:
            if not self._is_installed:
                installed(self._cluster)
                self._is_installed = True
            for index in sorted({line.into for line in lines} - self._ready):
                ready(self._cluster, index)
                self._ready.add(index)
        except (AveException, OSError):
            raise
        except Exception as error:
            raise unopened(repr(self.place), error) from error

    def _sorted_out(self, made: _Prepared) -> tuple[list[Line], list[Rejected]]:
        """Divide documents into those to be sent and those that are in another index already."""
        others = self._indices([line.record.id for line in made.lines if is_astray(line.record)])
        if not others:
            return made.lines, []
        at_home = [line for line in made.lines if others.get(line.record.id, line.into) == line.into]
        strays = [line.record for line in made.lines if others.get(line.record.id, line.into) != line.into]
        return at_home, [Rejected(record, DIFFERENT) for record in strays]

    def _indices(self, ids: list[str]) -> dict[str, str]:
        """Return where records are already: a time that cannot be right may lead to another index the second time."""
        if not ids:
            return {}
        self._refresh()
        found = self._search({"query": {"ids": {"values": ids}}, "size": len(ids), "_source": False})
        return {hit["_id"]: hit["_index"] for hit in found.get("hits", {}).get("hits", ())}

    # Asking

    def _refresh(self) -> None:
        """Let searches see what was stored so far."""
        try:
            self._cluster.ask("POST", self._path("_refresh"))
        except NotLetError:
            pass  # who may only read sees what is a second old

    def _runs(self, query: Query) -> Iterator[str]:
        after = None
        while True:
            answer = self._search(search.runs(query, after))
            found = answer.get("aggregations", {}).get("runs", {})
            yield from (bucket["key"]["guid"] for bucket in found.get("buckets", ()))
            after = found.get("after_key")
            if after is None:
                return

    def _stream(self, query: Query, guids: Collection[str] | None) -> Iterator[Record]:
        behind = None
        while True:
            hits = self._search(search.page(query, guids, behind)).get("hits", {}).get("hits", ())
            for hit in hits:
                record = record_of(hit["_source"])
                if record and (query.text is None or contains(record.body, query.text)):
                    yield record
            if len(hits) < search.PAGE:
                return
            behind = hits[-1]["sort"]

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a search, whole or not at all."""
        try:
            answer = self._cluster.ask("POST", self._path("_search", "allow_partial_search_results=false"), body)
        except UnicodeEncodeError as error:
            raise UsageError(f"no record can have such a value: {error}") from error
        shards = answer.content.get("_shards", {})
        if answer.status != 200 or shards.get("failed") or answer.content.get("timed_out"):
            raise StoreUnavailable(f"{self.place!r} cannot be searched: {reason(answer.content.get('error'))}")
        return answer.content

    def _path(self, what: str, *options: str) -> str:
        """Return the path that means all our indices, none being right, too."""
        return f"/{self.place.indices}/{what}?{'&'.join(('ignore_unavailable=true', *options))}"
