"""A record as a document of Panotti's: the body's fields, `guid`, `time_stamp`, and all else under `ave`.

    {"_id": record id, <the body's fields>, "guid": ..., "time_stamp": local time as the original wrote it,
     "ave": {"kind", "time": ISO 8601 in UTC with nanoseconds, "host", "pid", "source", "digest",
             "covered"?: fields of the body whose names the document needs itself, "body"?: the whole body as JSON}}

`ave.body` is there only if a server that knows no numbers but JavaScript's would change the body. Pure: no server here.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from ave.lab.stores.instants import instant
from ave.record import INT_MAX, INT_MIN, Record

__all__ = ["TIME_MAX", "TIME_MIN", "document", "month", "nanoseconds", "record_of"]

#: Nanoseconds since the epoch that a document can have: all of 1678 to 2261, where years have four digits.
TIME_MIN, TIME_MAX = -(2**63), 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = frozenset(("guid", "time_stamp", "ave"))
_BESIDE = ("kind", "time", "host", "pid", "source")

#: Where JSON text may have a number that JavaScript writes differently: of many digits, none behind
#: the point, or an exponent. It begins with a digit, which makes the search a fast one.
_SUSPECT = re.compile(rb"[0-9](?:[0-9]{15}|\.0[,}\]e]|e)")

#: The key that JavaScript loses.
_LOST = b'"__proto__"'

#: Whole numbers up to here are the same in JavaScript.
_SAFE = 2**53 - 1


def document(record: Record) -> dict[str, Any]:
    """Return the document of a record; raises one of UNSTORABLE if there can be none."""
    if not record.id or record.id.startswith("_"):
        raise ValueError(f"no id may be like {record.id!r}")
    encoded = msgspec.json.encode(record.body, order="sorted")
    beside: dict[str, Any] = {
        "kind": record.kind,
        "time": instant(record.time),
        "host": record.host,
        "pid": record.pid,
        "source": record.source,
        "digest": _digest(record, encoded),
    }
    covered = {name: value for name, value in record.body.items() if _is_covered(name)}
    if covered:
        beside["covered"] = covered
    if (_SUSPECT.search(encoded) or _LOST in encoded) and not _is_safe(record.body):
        beside["body"] = msgspec.json.encode(record.body).decode()
    seconds, rest = divmod(record.time, 10**9)
    time_stamp = _local(seconds) + (f".{rest // 1000:06}" if rest >= 1000 else "")
    shown = {name: value for name, value in record.body.items() if name not in covered} if covered else record.body
    return {"_id": record.id, **shown, "guid": record.guid, "time_stamp": time_stamp, "ave": beside}


@lru_cache(4096)
def _local(seconds: int) -> str:
    """Return local time, which is the original's form."""
    return str(datetime.fromtimestamp(seconds))


def record_of(kept: Any) -> Record | None:
    """Return the record that a document was made of; None if it was made of none."""
    beside = kept.get("ave") if isinstance(kept, dict) else None
    if not isinstance(beside, dict) or any(name not in beside for name in _BESIDE):
        return None
    if "body" in beside:
        body = msgspec.json.decode(beside["body"])
    else:
        body = {name: value for name, value in kept.items() if not _is_covered(name)} | beside.get("covered", {})
    fields = {name: beside[name] for name in _BESIDE} | {"time": nanoseconds(beside["time"])}
    return Record(id=kept["_id"], guid=kept["guid"], body=body, **fields)


def nanoseconds(text: str) -> int:
    """Read what `instant` wrote."""
    whole = datetime.fromisoformat(f"{text[:19]}+00:00") - _EPOCH
    return (whole.days * 86400 + whole.seconds) * 10**9 + int(text[20:29])


def month(time: int) -> str:
    """Return the month of nanoseconds since the epoch, in UTC: `2026-11`."""
    return instant(time)[:7]


def _digest(record: Record, body: bytes) -> str:
    fields = (record.kind, record.guid, record.time, record.host, record.pid, record.source)
    return hashlib.sha256(msgspec.json.encode(fields) + body).hexdigest()[:32]


def _is_covered(name: str) -> bool:
    return name in _OWN or name.startswith("_")


def _is_safe(value: Any) -> bool:
    """Tell whether a value comes back the same from JavaScript."""
    if isinstance(value, dict):
        return "__proto__" not in value and all(map(_is_safe, value.values()))
    if isinstance(value, list):
        return all(map(_is_safe, value))
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise OverflowError(f"the number {value:#x} is too large")
        return -_SAFE <= value <= _SAFE
    return not (isinstance(value, float) and value.is_integer())
