"""Segments made by hand, line by line, as the writer makes them."""

from __future__ import annotations

import json
import os
from typing import Any

from ave.spool import frames, reader
from ave.spool.segment import VERSION

GUID = "20261122-nightly-17"
TIME = 1_763_776_000_000_000_000


def name(number: int = 1) -> str:
    """Return the name of a segment; a higher number is a later one."""
    return f"{0x0193F5A2B4C0 + number:012x}7d1e9a3b5c7f11"


def line(content: dict[str, Any]) -> bytes:
    return frames.frame(json.dumps(content, separators=(",", ":")).encode())


def header(*, v: int = VERSION, host: str = "lab-1") -> bytes:
    return line({"v": v, "pid": 4711, "start": 1, "boot": "", "uid": os.geteuid(), "host": host})


def footer(count: int) -> bytes:
    return line({"footer": 1, "count": count})


def fields(
    seq: int, kind: str = "shout", guid: str = GUID, body: Any = None, *, of: str | None = None, **others: Any
) -> dict[str, Any]:
    """Return the eight fields of a record."""
    return {
        "id": f"{of or name()}-{seq}",
        "kind": kind,
        "guid": guid,
        "time": TIME + seq,
        "host": "lab-1",
        "pid": 4711,
        "source": "test",
        "body": {"n": seq} if body is None else body,
        **others,
    }


def record(seq: int, *arguments: Any, **others: Any) -> bytes:
    """Return the line of a record, see `fields`."""
    return line(fields(seq, *arguments, **others))


def refusal(
    seq: int, first: int, last: int, kinds: dict[str, Any], *, guid: str = GUID, of: str | None = None
) -> bytes:
    """Return the line in which an emitter tells what it refused."""
    told = {"segment": of or name(), "first": first, "last": last, "count": last - first + 1, "kinds": kinds}
    return record(seq, "gap", guid, {**told, "reason": "quota"}, of=of)


def write(spool: Any, number: int, *lines: bytes) -> str:
    """Write a segment that nobody holds open, so it is final; return its name."""
    os.makedirs(spool, exist_ok=True)
    path = reader.path(str(spool), name(number))
    with open(f"{path}.new", "wb") as file:
        file.write(b"".join(lines))
    os.rename(f"{path}.new", path)  # whoever watches sees it whole, as the writer's
    return name(number)
