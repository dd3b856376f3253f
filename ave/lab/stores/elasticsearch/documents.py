"""A record as a document of an index, and back, with nothing lost.

A document has at its top what people search by (`@timestamp`, `guid`), the record's other fields under `ave`, the
fixed fields of its kind under the kind's name, its other keys under `body`, and what an index cannot take, however
it is looked at, under `raw`. A request has its `type`, `payload` and `source` at the top, as Locust's users have them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ave.lab.stores.base import UNSTORABLE
from ave.lab.stores.elasticsearch.fields import FIELDS, fits, fits_keys, is_small
from ave.lab.stores.instants import instant
from ave.record import Record

__all__ = ["UnstorableError", "document", "is_astray", "month", "plain_document", "record_of"]

_HOUR_NS = 3600 * 1_000_000_000
_DAY_NS = 24 * _HOUR_NS

#: Those that indices are named after: from the years 2000 to 2099.
_HOURS = range(946_684_800 // 3600, 4_102_444_800 // 3600)


class UnstorableError(ValueError):
    """No index can hold this record; the text says why."""


def document(record: Record) -> bytes:
    """Return the JSON document of a record; UnstorableError if there can be none."""
    try:
        small = is_small(msgspec.json.encode(record.body))
        known, others, raw = _sorted_out(record, small=small)
        shaped = _envelope(record)
        if record.kind == "request":
            shaped.update(known)
        elif known:
            shaped[record.kind] = known
        if others:
            shaped["body"] = others
        if raw:
            shaped["raw"] = raw
        return msgspec.json.encode(shaped)
    except UNSTORABLE as error:
        raise UnstorableError(f"no index can hold it: {error}") from error


def plain_document(record: Record) -> bytes:
    """Return a document of which only the record's own fields are looked at: for a server that refused the other."""
    return msgspec.json.encode({**_envelope(record), "raw": record.body})


def record_of(source: dict[str, Any]) -> Record | None:
    """Return the record that a document was made of; None if it was made of none."""
    beside = source.get("ave")
    if not isinstance(beside, dict) or "id" not in beside:
        return None
    kind = beside["kind"]
    if kind == "request":
        known = {name: source[name] for name in FIELDS["request"] if name in source}
    else:
        known = source.get(kind, {})
    body = {**known, **source.get("body", {}), **source.get("raw", {})}
    fields = {name: beside[name] for name in ("id", "time", "host", "pid", "source")}
    return Record(kind=kind, guid=source["guid"], body=body, **fields)


def month(time: int) -> str:
    """Return what the index of a time in nanoseconds is named after: its month, or `undated` for one out of our age.

    So however strange times are, there are at most 1,201 indices.
    """
    return _month(time // _HOUR_NS)


@lru_cache(maxsize=64)  # a batch is of few hours
def _month(hour: int) -> str:
    if hour not in _HOURS:
        return "undated"
    year, month_of, _ = instant(hour * _HOUR_NS).split("-", 2)
    return f"{year}.{month_of}"


def is_astray(record: Record) -> bool:
    """Tell whether a record's time has nothing to do with its id, which has the time its segment was begun at."""
    begun_ns = int(record.id[:12], 16) * 1_000_000
    return not begun_ns - _DAY_NS < record.time < begun_ns + 400 * _DAY_NS


def _envelope(record: Record) -> dict[str, Any]:
    return {
        "@timestamp": instant(record.time),
        "guid": record.guid,
        "ave": {
            "id": record.id,
            # sorts as `ave.lab.stores.order`
            "order": f"{len(record.id):03}{record.id}",
            "kind": record.kind,
            "time": record.time,
            "host": record.host,
            "pid": record.pid,
            "source": record.source,
        },
    }


def _sorted_out(record: Record, *, small: bool) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Divide a body into the fixed fields of its kind, other keys, and what neither of them takes."""
    fixed = FIELDS.get(record.kind, {})
    known: dict[str, Any] = {}
    others: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    if not fixed and small:
        return known, record.body, raw
    for name, value in record.body.items():
        if name in fixed and fits(fixed[name], value):
            known[name] = value
        elif small or fits_keys({name: value}):
            others[name] = value
        else:
            raw[name] = value
    return known, others, raw
