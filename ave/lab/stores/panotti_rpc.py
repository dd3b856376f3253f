"""Panotti over AVE RPC: one call of `shout(db, document)` per record.

A document is the record's body, its `guid`, and `time_stamp` as local text; the rest of the record is under `_ave`. The
call acknowledges nothing but that it was carried out, so a record whose reply was lost is sent again: `ave.testing`'s
Panotti knows it by its id, the original's keeps it twice, and reading counts each id once.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from ave import urls
from ave.exceptions import (
    AveException,
    ConfigError,
    ConnectionFailed,
    Exit,
    Offline,
    Overflow,
    Restarting,
    StoreUnavailable,
    Terminated,
    Timeout,
    UsageError,
)
from ave.lab.stores.base import Rejected, Store, is_start_of, matches, order
from ave.network import RemoteControl, disconnect
from ave.record import KINDS, Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ave.record import Query

__all__ = ["PORT", "PanottiRpcStore", "document", "record_of"]

#: Where Panotti listens unless the URL says it.
PORT = 5984

#: Seconds that one record may take.
TIMEOUT_S = 30.0

#: The fields of a record that a document has under `_ave`, and the names that a document itself needs.
_BESIDE = ("id", "kind", "time", "host", "pid", "source")
_OWN = ("guid", "time_stamp", "_ave")

#: What a server raises that goes, or that waited for another in vain.
_PASSING = (ConnectionFailed, Exit, Offline, Restarting, Terminated, Timeout)

_OPTIONS = {"insecure", "legacy", "tls"}


class PanottiRpcStore(Store):
    """Records in a Panotti that speaks AVE RPC. Reading asks it for its whole log, so it is no store for years of them.

    Args:
        url: `ave://[user:key@]host[:port]/db`, and behind a `?` any of `tls=` (the path of the certificates to trust,
            or `system`), `insecure=true` and `legacy=true`; see `ave.network.RemoteControl`.
        kinds: what is kept there.
        readonly: for asking only.

    Raises:
        ConfigError: the URL is none of these, or leaves this machine without saying how.
    """

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.kinds = frozenset(kinds)
        self._readonly = readonly
        said = urls.read(url)
        host, port = said.hosts[0]
        self._place = f"ave://{f'[{host}]' if ':' in host else host}:{port or PORT}/{said.path}"
        self._db = said.path
        options = said.options
        if not self._db or not set(options) <= _OPTIONS or len(said.hosts) > 1:
            known = ", ".join(sorted(_OPTIONS))
            raise ConfigError(f"{self._place} must be ave://host:port/db, with none but the options {known}")
        if not {options.get("insecure", "false"), options.get("legacy", "false")} <= {"true", "false"}:
            raise ConfigError(f"{self._place}: insecure and legacy must be true or false")
        tls = options.get("tls")
        try:
            self._remote = RemoteControl(
                (host, port or PORT),
                said.password,
                TIMEOUT_S,
                optimist=False,
                legacy=options.get("legacy") == "true",
                tls=True if tls == "system" else tls,
                insecure=options.get("insecure") == "true",
                silent=True,
            )
        except (UsageError, ValueError) as error:
            raise ConfigError(f"{self._place}: {error}; add ?tls=system, ?tls=path or ?insecure=true") from error

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store a batch, record by record, see `Store.put`."""
        if self._readonly:
            raise UsageError(f"{self._place} was opened for reading only")
        return [Rejected(record, why) for record in batch if (why := self._put_one(record))]

    def find(self, query: Query) -> Iterator[Record]:
        """Give what matches, see `Store.find`; but the whole log is in memory meanwhile."""
        found = sorted(self._log().values(), key=order, reverse=query.newest)
        runs = {record.guid for record in found if query.job is not None and is_start_of(record, query.job)}
        wanted = (record for record in found if matches(query, record) and (query.job is None or record.guid in runs))
        yield from islice(wanted, query.limit)

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count by kind, see `Store.count`."""
        counts: dict[str, int] = {}
        for record in self._log().values():
            if record.guid == guid and (not hosts or record.host in hosts):
                counts[record.kind] = counts.get(record.kind, 0) + 1
        return counts

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        disconnect(self._remote)

    def _put_one(self, record: Record) -> str:
        """Store a record; return why it can never be stored, if it cannot."""
        try:
            self._call("shout", self._db, document(record))
        except Overflow as error:
            return str(error)
        except _Refused as error:
            return error.details["message"] if isinstance(error.details["message"], str) else str(error)
        return ""

    def _log(self) -> dict[str, Record]:
        """Return what is kept there, by id; documents that were not put by a store like this are left out."""
        try:
            documents = self._call("get_log", self._db)
        except _Refused as error:
            if "no such db" in str(error):
                return {}
            raise StoreUnavailable(f"{self._place}: {error}") from error
        log: dict[str, Record] = {}
        for kept in documents if isinstance(documents, list) else ():
            record = record_of(kept)
            if record is not None:
                log.setdefault(record.id, record)
        return log

    def _call(self, method: str, *vargs: Any) -> Any:
        try:
            return getattr(self._remote, method)(*vargs)
        except _PASSING as error:
            raise StoreUnavailable(f"{self._place}: {error}") from error
        except Overflow:
            raise
        except AveException as error:
            # a text is a refusal of the server itself: no such method, or not for us
            if error.details["type"] in {"AuthError", "ProtocolError"} or _is_refusal(error):
                raise ConfigError(f"{self._place} refuses {method}: {error}") from error
            raise _Refused(error.details) from error


class _Refused(AveException):
    """The method itself raised."""


def document(record: Record) -> dict[str, Any]:
    """Return the document of a record, as the original makes one of a shout, and `_ave` besides."""
    beside = {name: getattr(record, name) for name in _BESIDE}
    covered = {name: record.body[name] for name in _OWN if name in record.body}
    if covered:
        beside["covered"] = covered
    # the original's form is local time
    time_stamp = str(datetime.fromtimestamp(record.time / 1e9))
    return {**record.body, "guid": record.guid, "time_stamp": time_stamp, "_ave": beside}


def record_of(kept: Any) -> Record | None:
    """Return the record that a document was made of; None if it was made of none."""
    beside = kept.get("_ave") if isinstance(kept, dict) else None
    if not isinstance(beside, dict) or any(name not in beside for name in _BESIDE):
        return None
    body = {name: value for name, value in kept.items() if name not in _OWN} | beside.get("covered", {})
    return Record(guid=str(kept["guid"]), body=body, **{name: beside[name] for name in _BESIDE})


def _is_refusal(error: AveException) -> bool:
    return error.details["type"] == "Exception" and "trace" not in error.details
