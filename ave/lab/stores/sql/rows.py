"""Records as rows, and back."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ave.lab.stores.instants import instant
from ave.lab.stores.sql.schema import LIMITS
from ave.lab.stores.sql.values import back, held
from ave.record import Record

if TYPE_CHECKING:
    from ave.lab.stores.sql.tables import Measured

__all__ = ["base_row", "is_measured", "measured_row", "moment", "month", "record_of"]

#: Characters that the name of a table or column may have.
NAME_MAX = 200

_SURROGATES = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1)
_PIDS = range(-(2**63), 2**63)
_WHOLE = {"table", "row"}


def is_measured(record: Record) -> bool:
    """Tell whether a record is a row for a table of its own: other ones are kept as they are."""
    table, row = record.body.get("table"), record.body.get("row")
    return (
        record.kind == "measurement"
        and "_continues" not in record.body
        and _is_name(table)
        and isinstance(row, dict)
        and all(map(_is_name, row))
        and all(map(_is_name, record.body.get("columns") or ()))
    )


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= NAME_MAX and (name.isascii() or not _SURROGATES.search(name))


def moment(time: int) -> tuple[str, int]:
    """Return a time as what the columns `ave_time` and `ave_ns` hold; ValueError if it is too large."""
    return instant(time)[:26].replace("T", " "), time % 1000


def month(time: str) -> str:
    """Return the month of an `ave_time`: `2026_11`."""
    return f"{time[:4]}_{time[5:7]}"


def base_row(record: Record, body: dict[str, Any] | None) -> tuple[Any, ...]:
    """Return the values of the columns that every table has; raises one of UNSTORABLE if no column can hold one."""
    _check("id", record.id)
    _check_origin(record.guid, record.host, record.source, record.kind)
    if record.pid not in _PIDS:
        raise OverflowError(f"its pid {record.pid} is too large")
    time, rest = moment(record.time)
    content = None if body is None else msgspec.json.encode(body).decode()
    return record.id, time, rest, record.guid, record.host, record.pid, record.source, content


@lru_cache(1024)
def _check_origin(guid: str, host: str, source: str, kind: str) -> None:
    """Check what is the same for most records of a batch; what is wrong is not remembered."""
    for field, value in (("guid", guid), ("host", host), ("source", source), ("kind", kind)):
        _check(field, value)


def _check(field: str, value: str) -> None:
    if len(value) > LIMITS[field]:
        raise ValueError(f"its {field} is longer than {LIMITS[field]} characters")
    if not value.isascii():
        value.encode()  # raises for what is no text


def measured_row(record: Record, measured: Measured) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the row of a measurement, and the values of which their columns hold nothing, by name."""
    values: dict[str, Any] = {}
    misfits: dict[str, Any] = {}
    exact = record.body.keys() == _WHOLE
    for name, value in record.body["row"].items():
        column = measured.columns.get(name)
        if column is None:
            exact = False  # the value is None, and nobody has said what it might have been
            continue
        if type(value) is column.plain and value and (type(value) is not str or value.isascii()):
            values[name] = value  # most are like this
            continue
        kept, is_same = held(column.type, value)
        values[name] = kept
        if not is_same:
            exact = False
            if kept is None and value is not None:
                misfits[name] = value
    return (*base_row(record, None if exact else record.body), *map(values.get, measured.columns)), misfits


def record_of(row: Any, measured: Measured | None) -> Record:
    """Return the record that a row, by the names of its columns, was made of."""
    body = row["ave_body"]
    if body is not None:
        content = msgspec.json.decode(body)
    else:
        assert measured is not None
        columns = ((column, row[column.sql_name]) for column in measured.columns.values())
        kept = {column.name: back(column.type, value) for column, value in columns if value is not None}
        content = {"table": measured.name, "row": kept}
    return Record(
        id=row["ave_id"],
        kind="measurement" if measured else row["ave_kind"],
        guid=row["ave_guid"],
        time=_nanoseconds(row["ave_time"]) + row["ave_ns"],
        host=row["ave_host"],
        pid=row["ave_pid"],
        source=row["ave_source"],
        body=content,
    )


def _nanoseconds(time: datetime | str) -> int:
    since = (datetime.fromisoformat(time) if isinstance(time, str) else time) - _EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
