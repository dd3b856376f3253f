"""The SQL of a query: one statement per page of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ave.lab.stores.base import order, results
from ave.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ave.record import Query

__all__ = ["COLUMNS", "RUNS", "marks", "select"]

#: The columns of the table `records`, in the order of a record's fields.
COLUMNS = ", ".join(Record.FIELDS)

#: The runs of a job, given a part of its executable's path.
RUNS = """SELECT DISTINCT guid FROM records WHERE kind = 'event'
    AND json_extract(body, '$.name') = 'job.start' AND instr(json_extract(body, '$.exe'), ?)"""

_RESULT = "+kind IN ('verdict', 'event') AND json_extract(body, '$.result') IN (?, ?)"


def select(query: Query, guid: str | None, last: Record | None, size: int) -> tuple[str, list[Any]]:
    """Make the statement, and its values, for the page behind `last`."""
    conditions = [*_range(query, last), *_conditions(query, guid)]
    where = " AND ".join(text for text, _ in conditions) or "TRUE"
    way = "DESC" if query.newest else "ASC"
    statement = (
        f"SELECT {COLUMNS} FROM records WHERE {where} "  # noqa: S608 - constants and marks
        f"ORDER BY time {way}, length(id) {way}, id {way} LIMIT ?"
    )
    return statement, [value for _, values in conditions for value in values] + [size]


def _range(query: Query, last: Record | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give the conditions for time; behind `last`, it stands for the end that the answer began at."""
    if last is not None:
        sign = "<" if query.newest else ">"
        yield f"(time, length(id), id) {sign} (?, ?, ?)", order(last)
    if query.since is not None and (last is None or query.newest):
        yield "time >= ?", (query.since,)
    if query.until is not None and (last is None or not query.newest):
        yield "time < ?", (query.until,)


def _conditions(query: Query, guid: str | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give the conditions but for time.

    A page must be read along one index in order of time; where SQLite sees another index that narrows the answer
    it would rather sort the whole of it, for every page. The unary plus keeps that index out of its sight.
    """
    if guid is not None:
        yield "guid = ?", (guid,)
    if query.kinds:
        column = "kind" if guid is None and len(query.kinds) == 1 else "+kind"
        yield f"{column} IN ({marks(query.kinds)})", (*query.kinds,)
    if query.host is not None:
        yield "host = ?", (query.host,)
    if query.source is not None:
        yield "source = ?", (query.source,)
    if query.result is not None:
        yield _RESULT, results(query.result)
    if query.text is not None:
        # as it would be written in JSON; keys and values alone are for `contains` to look into
        yield "instr(lower(body), ?)", (msgspec.json.encode(query.text).decode()[1:-1].lower(),)


def marks(values: Collection[Any]) -> str:
    """Return as many question marks as there are values."""
    return ", ".join("?" * len(values))
