"""Decode the records of the spool fast; the lab's counterpart of `ave.record.decode`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ave.record import Record

__all__ = ["decode"]

_ID = re.compile(r"[0-9a-f]{26}-[1-9][0-9]{0,17}")


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    kind: str
    guid: str
    time: int
    host: str
    pid: int
    source: str
    body: dict[str, Any]


_decoder = msgspec.json.Decoder(_Wire)


def decode(payload: bytes) -> Record:
    """Make a record of its JSON text; ValueError says what is wrong with it."""
    try:
        wire = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a record: {error}") from error
    if not _ID.fullmatch(wire.id):
        raise ValueError(f"not a record: id {wire.id[:80]!r} is none")
    return Record(wire.id, wire.kind, wire.guid, wire.time, wire.host, wire.pid, wire.source, wire.body)
