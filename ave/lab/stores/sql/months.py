"""The months that tables of measurements are divided into, where the server has partitions."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import exc, text

from ave.lab.stores.sql.engine import RETRY_S, is_of_table
from ave.lab.stores.sql.schema import is_server, one_at_a_time

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

__all__ = ["Months"]

log = logging.getLogger(__name__)

_BY_MONTH = "PARTITION BY RANGE COLUMNS (ave_time)"

_PARTS = text(
    "SELECT MAX(NULLIF(PARTITION_NAME, 'pmax')), MAX(PARTITION_NAME = 'pmax') FROM information_schema.PARTITIONS "
    "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :name AND (PARTITION_NAME LIKE 'p2%' OR PARTITION_NAME = 'pmax')"
)


class Months:
    """The newest months of the tables that one connection has met; SQLite has none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_divided = is_server(connection)
        # tables -> their newest month, if they have one, and whether they take rows beyond it
        self._parts: dict[str, tuple[str, bool]] = {}
        # tables that cannot be changed now -> when to try again
        self._later: dict[str, float] = {}

    def divide(self, table: Table, month: str) -> None:
        """See that a month (`2026_11`) has a partition; future ones wait until they come.

        A table that somebody holds, or has changed so that it cannot be divided, stays as it is for a while: its last
        partition takes the rows.
        """
        month = min(month, f"{datetime.now(UTC):%Y_%m}")
        if not self._is_divided or self._has(table, month) or monotonic() < self._later.get(table.name, 0.0):
            return
        self._load(table)
        if self._has(table, month):
            return
        with one_at_a_time(self._connection):
            self._load(table)
            if not self._has(table, month):
                self._begin(table, month)

    def forget(self, table: Table) -> None:
        """Know nothing of a table any more: it was made anew, or others may have divided it."""
        self._parts.pop(table.name, None)
        self._later.pop(table.name, None)

    def _has(self, table: Table, month: str) -> bool:
        newest, is_endless = self._parts.get(table.name, ("", False))
        return month <= newest and is_endless

    def _begin(self, table: Table, month: str) -> None:
        newest, is_endless = self._parts.get(table.name, ("", False))
        parts = ["PARTITION pmax VALUES LESS THAN (MAXVALUE)"]
        if month > newest:
            parts.insert(0, f"PARTITION p{month} VALUES LESS THAN ('{_next(month)}-01')")
        how = "REORGANIZE PARTITION pmax INTO" if is_endless else "ADD PARTITION" if newest else _BY_MONTH
        quoted = self._connection.dialect.identifier_preparer.quote_identifier(table.name)
        try:
            self._connection.execute(text(f"ALTER TABLE {quoted} {how} ({', '.join(parts)})"))
        except exc.DBAPIError as error:
            if not is_of_table(error):
                raise
            self._later[table.name] = monotonic() + RETRY_S
            log.warning("%s gets its new month later: %s", table.name, error.orig, extra={"action": "month_later"})
        else:
            self._parts[table.name] = max(month, newest), True

    def _load(self, table: Table) -> None:
        """Read anew what a table is divided into."""
        newest, is_endless = self._connection.execute(_PARTS, {"name": table.name}).one()
        self._connection.commit()
        self._parts[table.name] = (newest or "")[1:], bool(is_endless)


def _next(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"
