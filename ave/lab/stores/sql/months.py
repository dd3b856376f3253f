"""The months that tables of measurements are divided into, where the server has partitions."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import exc, text

from ave.lab.stores.sql.engine import BUSY, FULL, RETRY_S, number_of
from ave.lab.stores.sql.schema import is_server, one_at_a_time

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

__all__ = ["Months"]

log = logging.getLogger(__name__)

_BY_MONTH = "PARTITION BY RANGE COLUMNS (ave_time)"

_NEWEST = text(
    "SELECT MAX(PARTITION_NAME) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() "
    "AND TABLE_NAME = :name AND PARTITION_NAME LIKE 'p2%'"
)


class Months:
    """The newest months of the tables that one connection has met; SQLite has none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_divided = is_server(connection)
        self._newest: dict[str, str] = {}
        # tables that somebody holds -> when to try again
        self._later: dict[str, float] = {}

    def divide(self, table: Table, month: str) -> None:
        """See that a month (`2026_11`) has a partition; future ones wait until they come.

        While somebody holds the table, or has made it too wide, it stays as it is: its last partition takes the rows.
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
        self._newest.pop(table.name, None)

    def _has(self, table: Table, month: str) -> bool:
        return month <= self._newest.get(table.name, "")

    def _begin(self, table: Table, month: str) -> None:
        rest = "PARTITION pmax VALUES LESS THAN (MAXVALUE)"
        new = f"(PARTITION p{month} VALUES LESS THAN ('{_next(month)}-01'), {rest})"
        how = "REORGANIZE PARTITION pmax INTO" if table.name in self._newest else _BY_MONTH
        quoted = self._connection.dialect.identifier_preparer.quote_identifier(table.name)
        try:
            self._connection.execute(text(f"ALTER TABLE {quoted} {how} {new}"))
        except exc.DBAPIError as error:
            if number_of(error) not in {BUSY, *FULL}:
                raise
            self._later[table.name] = monotonic() + RETRY_S
            log.warning("%s gets its new month later: %s", table.name, error.orig, extra={"action": "month_later"})
        else:
            self._newest[table.name] = month

    def _load(self, table: Table) -> None:
        """Read the newest month of a table anew."""
        newest = self._connection.execute(_NEWEST, {"name": table.name}).scalar_one()
        self._connection.commit()
        self.forget(table)
        if newest is not None:
            self._newest[table.name] = newest[1:]


def _next(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"
