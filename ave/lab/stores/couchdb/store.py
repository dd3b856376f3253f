"""Panotti on CouchDB: one document per record, one database per month behind one name.

What makes a repeat harmless is the document's id, which is the record's: a conflict is what was stored before, if the
digests say so.
"""

from __future__ import annotations

import heapq
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import servers
from ave.lab.stores.base import DIFFERENT, UNSTORABLE, Rejected, Store, matches, order
from ave.lab.stores.couchdb.client import Couch, Missing, Refused, TooLarge
from ave.lab.stores.couchdb.documents import TIME_MAX, TIME_MIN, document, month, record_of
from ave.lab.stores.couchdb.views import DESIGN, LAST, design
from ave.lab.stores.instants import instant
from ave.lab.stores.seen import Seen, begun
from ave.record import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ave.record import Query, Record

    # by id
    Documents = dict[str, "_Document"]

__all__ = ["NAME", "PORT", "CouchStore"]

#: Where CouchDB listens, and what Panotti's databases are called, unless the URL says it.
PORT = 5984
NAME = "panotti"

#: Documents that are read at once; none is much larger than 64 KiB.
PAGE = 200

#: What CouchDB allows as the name of a database, with room for the month.
_NAMES = re.compile(r"[a-z][a-z0-9_$()+-]{0,200}")


class _Document(NamedTuple):
    """The digest and the JSON of a document."""

    digest: str
    text: msgspec.Raw


class _Prepared(list["Record"]):
    """Records with their documents by id, the databases those belong into, and the records that can have none."""

    def __init__(self, batch: Sequence[Record]) -> None:
        super().__init__(batch)
        self.documents: Documents = {}
        self.months: dict[str, dict[str, Record]] = {}
        self.rejected: list[Rejected] = []


class CouchStore(Store):
    """Records as documents, see `ave.lab.stores.couchdb.documents`.

    Args:
        url: `couchdb://[user:password@]host[:port][/name]` and options, see `ave.lab.stores.servers`. The user is a
            server administrator, for databases are made as months come.
        kinds: what is kept there.
        readonly: for asking only.

    Raises:
        ConfigError: the URL is not of this form.
    """

    #: A request ends with a sync of the server's disk, which costs the same for many documents as for few.
    batch_bytes = 512 * 1024

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self._readonly = readonly
        server = servers.parse(url, PORT, quiet=readonly)
        self._name = server.path or NAME
        if not _NAMES.fullmatch(self._name):
            raise ConfigError(
                f'{server.place}: "{self._name}" cannot be the name of a database: small letters, digits and _$()+-'
            )
        self._couch = Couch(server)
        self._ready: set[str] = set()
        self._seen = Seen()

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store a batch, one request for each month in it, see `Store.put`."""
        if self._readonly:
            raise UsageError(f"{self._couch.place} was opened for reading only")
        made = batch if isinstance(batch, _Prepared) else self.prepare(batch)
        rejected = list(made.rejected)
        months = {database: dict(records) for database, records in made.months.items()}
        self._leave_out_strays(months, rejected)
        for database, records in months.items():
            self._prepare(database)
            rejected += self._put_month(database, records, made.documents)
        self._seen.add(batch)
        return rejected

    def prepare(self, batch: Sequence[Record]) -> _Prepared:
        """Make the documents, see `Store.prepare`."""
        made = _Prepared(batch)
        for record in batch:
            try:
                shown = document(record)
                new = _Document(shown["ave"]["digest"], msgspec.Raw(msgspec.json.encode(shown)))
            except UNSTORABLE as error:
                made.rejected.append(Rejected(record, f"no document can hold it: {error}"))
                continue
            first = made.documents.setdefault(record.id, new)
            if first is new:
                made.months.setdefault(f"{self._name}-{shown['ave']['time'][:7]}", {})[record.id] = record
            elif first.digest != new.digest:
                made.rejected.append(Rejected(record, DIFFERENT))
        return made

    def find(self, query: Query) -> Iterator[Record]:
        """Give what matches, see `Store.find`; one month after the other, page by page."""
        if query.since is not None and query.until is not None and query.since >= query.until:
            return  # CouchDB refuses a range that ends before it begins
        guids = [query.guid]
        if query.job is not None:
            guids = [guid for guid in self._runs(query.job) if query.guid in {None, guid}]
        yield from islice(self._all(query, guids), query.limit)

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count by kind, see `Store.count`."""
        counts: dict[str, int] = {}
        for database in self._databases():
            for row in self._view(database, "kinds", [guid], [guid, LAST], group_level=3 if hosts else 2):
                kind, *host = row["key"][1:]
                if not hosts or host[0] in hosts:
                    counts[kind] = counts.get(kind, 0) + row["value"]
        return counts

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        self._couch.close()
        self._ready.clear()
        self._seen = Seen()

    # Databases

    def _database(self, time: int) -> str:
        return f"{self._name}-{month(time)}"

    def _databases(self, since: int | None = None, until: int | None = None) -> list[str]:
        """Return the names of the databases there are for these times, oldest month first."""
        first, last = self._database(_clamped(since, TIME_MIN)), self._database(_clamped(until, TIME_MAX))
        # not every server heeds that: pouchdb-server names all that it has
        keys = {"startkey": f'"{first}"', "endkey": f'"{last}"'}
        names = self._couch.rows(self._couch.ask("GET", "_all_dbs", kind=list, **keys), str)
        ours = re.compile(rf"{re.escape(self._name)}-\d\d\d\d-\d\d")
        return sorted(name for name in names if ours.fullmatch(name) and first <= name <= last)

    def _prepare(self, database: str) -> None:
        """Make database and design document where they are missing."""
        if database in self._ready:
            return
        if self._couch.ask("GET", database, missing=None) is None:
            self._couch.ask("PUT", database, there={})
        wanted = design()
        found = self._couch.ask("GET", database, wanted["_id"], missing={})
        if any(found.get(key) != value for key, value in wanted.items()):
            replaced = {"_rev": found["_rev"]} if found else {}
            self._couch.ask("PUT", database, wanted["_id"], body=wanted | replaced, there={})
        self._ready.add(database)

    # Writing

    def _leave_out_strays(self, months: dict[str, dict[str, Record]], rejected: list[Rejected]) -> None:
        """Reject records whose id is stored with a time of another month already, since their segment was begun."""
        doubtful = self._seen.doubtful(record for records in months.values() for record in records.values())
        places = [(record.id, self._database(begun(record.id)), self._database(record.time)) for record in doubtful]
        for database in self._databases() if places else ():
            keys = [name for name, first, own in places if first <= database != own]
            for row in self._lookup(database, keys, docs=False) if keys else ():
                record = next((records.pop(row["id"]) for records in months.values() if row["id"] in records), None)
                if record is not None:
                    rejected.append(Rejected(record, DIFFERENT))

    def _put_month(self, database: str, records: dict[str, Record], documents: Documents) -> list[Rejected]:
        """Put documents into one database; a request that is refused as a whole is halved until the guilty is found."""
        if not records:
            return []
        body = {"docs": [documents[name].text for name in records]}
        try:
            rows = self._couch.ask("POST", database, "_bulk_docs", body=body, kind=list)
        except Missing:
            self._ready.discard(database)
            raise StoreUnavailable(f"{self._couch.place}: {database} is gone; it is made anew") from None
        except Refused as error:
            if len(records) == 1:
                if isinstance(error, TooLarge):
                    raise
                self._check_way(database)
                return [Rejected(record, str(error)) for record in records.values()]
            items, middle = list(records.items()), len(records) // 2
            halves = dict(items[:middle]), dict(items[middle:])
            return [rejected for half in halves for rejected in self._put_month(database, half, documents)]
        return self._judge(database, self._couch.rows(rows, dict), records, documents)

    def _check_way(self, database: str) -> None:
        """Return if a request without documents is taken; who refuses that, too, does not refuse it for a document."""
        try:
            self._couch.ask("POST", database, "_bulk_docs", body={"docs": []}, kind=list)
        except Refused as error:
            why = "it refuses a request without any document, too: see what stands before it"
            raise ConfigError(f"{error}; {why}") from error

    def _judge(self, database: str, rows: Any, records: dict[str, Record], documents: Documents) -> list[Rejected]:
        """Look at what became of each document."""
        errors = {row.get("id"): row for row in rows if row.get("error")}
        if len(rows) != len(records) or {row.get("id") for row in rows} != records.keys():
            raise StoreUnavailable(f"{self._couch.place}: {database} did not answer for each document")
        reasons = {}
        conflicts = [name for name, row in errors.items() if row["error"] == "conflict"]
        for name, row in errors.items():
            if row["error"] == "unauthorized":
                raise ConfigError(f"{self._couch.place}: {database} refuses us: {row.get('reason')}")
            if row["error"] == "forbidden":
                reasons[name] = f"forbidden by {database}: {row.get('reason')}"
            elif row["error"] != "conflict":
                raise StoreUnavailable(f"{self._couch.place}: {database}: {row['error']}: {row.get('reason')}")
        rows = self._lookup(database, conflicts) if conflicts else []
        # of one that is deleted meanwhile, the row may still be there
        stored = {row["id"]: row["doc"] for row in rows if row.get("doc")}
        for name in conflicts:
            if name not in stored:
                raise StoreUnavailable(f"{self._couch.place}: {database} has and has not {name}")
            if _digest(stored[name]) != documents[name].digest:
                reasons[name] = DIFFERENT
        return [Rejected(records[name], why) for name, why in reasons.items()]

    def _lookup(self, database: str, names: list[str], *, docs: bool = True) -> list[dict[str, Any]]:
        """Return the rows of those documents that are there."""
        answer = self._couch.ask("POST", database, "_all_docs", body={"keys": names}, include_docs=docs)
        rows = self._couch.rows(answer.get("rows"), dict)
        return [row for row in rows if "id" in row and not (row.get("value") or {}).get("deleted")]

    # Reading

    def _all(self, query: Query, guids: list[str | None]) -> Iterator[Record]:
        databases = self._databases(query.since, query.until)
        for database in reversed(databases) if query.newest else databases:
            streams = [self._stream(database, query, guid) for guid in guids]
            yield from heapq.merge(*streams, key=order, reverse=query.newest)

    def _stream(self, database: str, query: Query, guid: str | None) -> Iterator[Record]:
        """Give the matching records of one run, or of all, in one month."""
        view, prefix = _narrowest(query, guid)
        is_open = query.until is None or query.until > TIME_MAX
        ends = [
            [*prefix, instant(_clamped(query.since, TIME_MIN))],
            [*prefix, LAST if is_open else instant(_clamped(query.until, TIME_MAX))],
        ]
        if query.newest:
            ends.reverse()
        skip, size = 0, PAGE if query.limit is None else min(PAGE, query.limit)
        while True:
            options = {"descending": query.newest, "limit": size, "skip": skip, "include_docs": True}
            rows = self._view(database, view, ends[0], ends[1], **options)
            for row in rows:
                record = record_of(row.get("doc"))
                if record is not None and matches(query, record) and (guid is None or record.guid == guid):
                    yield record
            if len(rows) < size:
                return
            ends[0], skip = rows[-1]["key"], 1

    def _runs(self, job: str) -> list[str]:
        rows = (row for database in self._databases() for row in self._view(database, "jobs"))
        return list(dict.fromkeys(row["value"] for row in rows if job in row["key"][0]))

    def _view(
        self, database: str, view: str, start: list[str] | None = None, end: list[str] | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Ask a view for all rows, or those from one key to another; a database that is just being made has none."""
        keys = {"startkey": start, "endkey": end}
        try:
            options |= {name: msgspec.json.encode(key).decode() for name, key in keys.items() if key is not None}
        except UnicodeEncodeError as error:
            raise UsageError(f"no record can have such a value: {error}") from error
        path = (database, "_design", DESIGN, "_view", view)
        answer = self._couch.ask("GET", *path, missing=None, **options)
        if answer is None and (self._couch.ask("GET", database, missing=None) or {}).get("doc_count"):
            raise StoreUnavailable(
                f"{self._couch.place}: {database} has no design document {DESIGN}; ave-logd puts it there at the next "
                "record, if it may"
            )
        return [] if answer is None else self._couch.rows(answer.get("rows"), dict)


def _narrowest(query: Query, guid: str | None) -> tuple[str, list[str]]:
    if guid is not None:
        return "by_guid", [guid]
    if len(query.kinds) == 1:
        return "by_kind", [*query.kinds]
    return "by_time", []


def _clamped(time: int | None, default: int) -> int:
    return default if time is None else min(max(time, TIME_MIN), TIME_MAX)


def _digest(kept: dict[str, Any]) -> Any:
    beside = kept.get("ave")
    return beside.get("digest") if isinstance(beside, dict) else None
