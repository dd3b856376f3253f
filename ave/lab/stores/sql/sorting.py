"""A batch sorted by the tables its records go to, with what rows can be made without asking the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ave.lab.stores.base import DIFFERENT, Rejected
from ave.lab.stores.sql.alike import alike
from ave.lab.stores.sql.rows import is_measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ave.lab.stores.sql.tables import Measured
    from ave.record import Record

    # record and row by id
    Rows = dict[str, tuple[Record, tuple[Any, ...]]]

__all__ = ["SortedBatch"]


class SortedBatch(list["Record"]):
    """The records of a batch in their order, and:

    Attributes:
        groups: the records of each table, `ave_records` being None; each id once.
        rejected: records that have the id of another one in the batch.
        rows: those of a table, as they are right while it has the same columns: which table that was, and the rows.
    """

    def __init__(self, batch: Sequence[Record], tables: Mapping[str, Measured]) -> None:
        super().__init__(batch)
        self.groups: dict[str | None, list[Record]] = {}
        self.rejected: list[Rejected] = []
        self.rows: dict[str, tuple[Measured, Rows]] = {}
        firsts: dict[str, Record] = {}
        for record in batch:
            first = firsts.setdefault(record.id, record)
            if first is record:
                self.groups.setdefault(_table_of(record, tables), []).append(record)
            elif first != record:
                self.rejected.append(Rejected(record, DIFFERENT))
        for name, records in self.groups.items():
            # tables may be forgotten meanwhile
            known = None if name is None else tables.get(name)
            if known:
                self._make(records, known)

    def _make(self, records: list[Record], measured: Measured) -> None:
        rows = alike(records, measured)
        if rows is not None:
            made = {record.id: (record, row) for record, row in zip(records, rows, strict=True)}
            self.rows[measured.name] = measured, made


def _table_of(record: Record, tables: Mapping[str, Measured]) -> str | None:
    """Return the name of the table that a record is a row of, if it is."""
    if record.kind != "measurement":
        return None
    body = record.body
    name, row = body.get("table"), body.get("row")
    known = tables.get(name) if type(name) is str else None
    # what a table has already, it can have
    if known and len(body) == 2 and type(row) is dict and row.keys() <= known.columns.keys():
        return name
    return name if is_measured(record) else None
