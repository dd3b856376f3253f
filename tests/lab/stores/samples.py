"""Records to store."""

from __future__ import annotations

from typing import Any

from ave.record import Record

SEGMENT = "0193f5a2b4c07d1e9a3b5c7f11"
GUID = "20261122-nightly-17"
TIME = 1_763_776_000_000_000_000


def record(seq: int = 1, /, kind: str = "shout", body: dict[str, Any] | None = None, **fields: Any) -> Record:
    """Make a record; its counter is also its place in time."""
    fields = {"id": f"{SEGMENT}-{seq}", "guid": GUID, "time": TIME + seq, "host": "lab-1", "pid": 4711, **fields}
    return Record(
        kind=kind, source=fields.pop("source", "panotti"), body={"n": seq} if body is None else body, **fields
    )
