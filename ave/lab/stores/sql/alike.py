"""Rows of measurements that are alike, made column by column: most are, and it costs a fraction of one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ave.lab.stores.base import UNSTORABLE
from ave.lab.stores.sql.rows import base_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ave.lab.stores.sql.tables import Measured
    from ave.record import Record

__all__ = ["alike"]

_INT_MAX = 2**63 - 1
_EXACT_MAX = 2**53

#: What a body has if its row says everything.
_WHOLE = 2


def alike(records: Sequence[Record], measured: Measured) -> list[tuple[Any, ...]] | None:
    """Return what `measured_row` makes of each, if all have the same columns, which hold every value exactly.

    Args:
        records: measurements of that table, one or more.
        measured: it.

    Returns:
        None if one of them needs to be looked at by itself.
    """
    bodies = [record.body for record in records]
    rows = [body["row"] for body in bodies]
    names = (*rows[0],)
    if max(map(len, bodies)) > _WHOLE or any(map(names.__ne__, map(tuple, rows))):
        return None
    columns: dict[str, Sequence[Any]] = dict.fromkeys(measured.columns, (None,) * len(rows))
    for name, values in zip(names, zip(*map(dict.values, rows), strict=True), strict=True):
        column = measured.columns.get(name)
        if column is None or not _are_held(column.type, values):
            return None
        columns[name] = values
    try:
        bases = [base_row(record, None) for record in records]
    except UNSTORABLE:
        return None
    if not columns:
        return bases
    return [base + row for base, row in zip(bases, zip(*columns.values(), strict=True), strict=True)]


def _are_held(kind: str, values: Sequence[Any]) -> bool:
    """Tell whether a column of this type surely holds all of the values exactly."""
    type_, hold = _HOLDS.get(kind, (None, None))
    return hold is not None and set(map(type, values)) == {type_} and hold(values)


def _are_ints(values: Sequence[int]) -> bool:
    return min(values) >= -_INT_MAX - 1 and max(values) <= _INT_MAX


def _are_whole(values: Sequence[int]) -> bool:
    return min(values) >= -_EXACT_MAX and max(values) <= _EXACT_MAX


def _are_fractions(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values)) and not any(map(float.is_integer, values))


def _are_numbers(values: Sequence[float]) -> bool:
    # zero may have a sign
    return 0.0 not in values and all(map(math.isfinite, values))


_HOLDS: dict[str, tuple[type, Callable[[Sequence[Any]], bool]]] = {
    "bool": (bool, lambda _values: True),
    "int": (int, _are_ints),
    "whole": (int, _are_whole),
    "number": (float, _are_fractions),
    "float": (float, _are_numbers),
    "text": (str, lambda values: "".join(values).isascii()),
}
