"""Panotti on CouchDB."""

from __future__ import annotations

from ave.lab.stores.couchdb.store import CouchStore

__all__ = ["CouchStore"]
