"""Measurements in tables of MariaDB, MySQL or SQLite; any other kind of record beside them."""

from __future__ import annotations

from ave.lab.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
