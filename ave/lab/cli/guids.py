"""The runs whose GUIDs begin so: for the Tab key, and for who typed a part of one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from ave import home as homes
from ave.exceptions import ConfigError

if TYPE_CHECKING:
    import click

__all__ = ["beginning", "complete", "hint"]

#: Runs that are offered at most: the newest.
MOST = 20

#: Greater than any character.
_LAST = chr(0x10FFFF)

#: A segment's name begins with the time of its birth.
_NEWEST = """
    SELECT guid FROM counts WHERE guid >= ? AND guid < ? GROUP BY guid ORDER BY max(segment) DESC LIMIT ?
"""


def beginning(home: str, part: str) -> list[str]:
    """Return GUIDs that begin with `part`, the newest first, of those that this host's books have; MOST at most."""
    path = homes.ave(home, "spool", "ledger.db")
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as books:
            return [guid for (guid,) in books.execute(_NEWEST, (part, part + _LAST, MOST))]
    except sqlite3.Error:
        return []  # there may be no books, or none of ours


def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Give the shell what may stand for a GUID; nothing if there is no home."""
    try:
        return beginning(homes.find(ctx.find_root().params.get("home")), incomplete)
    except ConfigError:
        return []


def hint(home: str, guid: str) -> str:
    """Say which runs a GUID of which nothing is known may be the begin of; nothing if there are none."""
    others = [other for other in beginning(home, guid) if other != guid]
    return f"runs that begin so: {', '.join(others[:3])}{', ...' if others[3:] else ''}" if others else ""
