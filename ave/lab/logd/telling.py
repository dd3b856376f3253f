"""What the lines of a segment tell the books besides records: headers, footers, and what an emitter refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from ave.lab.logd import wire
from ave.record import segment_of, seq_of
from ave.spool.frames import FOOTER, HEADER, kind_of

if TYPE_CHECKING:
    from ave.spool.frames import Line

__all__ = ["Footer", "Header", "Refusals", "numbers_of", "refusals", "said"]

_Said = TypeVar("_Said")

#: A number of a record, or how many there are.
_Number = Annotated[int, msgspec.Meta(ge=0, lt=10**18)]


class Header(msgspec.Struct):
    """The first line of a segment, as far as the books need it."""

    host: str


class Footer(msgspec.Struct):
    """The last line of a segment that its writer ended; `count`: the numbers that were used."""

    count: _Number


class Refusals(msgspec.Struct):
    """The numbers `first` to `last`, which an emitter refused for `reason`: how many of which kind."""

    reason: str
    first: _Number
    last: _Number
    kinds: dict[str, _Number]


def numbers_of(line: Line) -> tuple[str, list[tuple[int, int]]]:
    """Return which numbers of which segment a line stands for: its own, and those it tells were refused."""
    if kind_of(line.payload) not in {HEADER, FOOTER}:
        try:
            head = wire.head(line.payload)
        except ValueError:
            return "", []
        told = refusals(head) if head.kind == "gap" else None
        seq = seq_of(head.id)
        return segment_of(head.id), [(seq, seq), *([(told.first, told.last)] if told else [])]
    return "", []


def refusals(gap: wire.Head) -> Refusals | None:
    """Return what an emitter says it refused; None for any other gap."""
    told = said(bytes(gap.body), Refusals)
    if told is None or told.reason != "quota" or sum(told.kinds.values()) != told.last - told.first + 1:
        return None
    return told


def said(payload: bytes, kind: type[_Said]) -> _Said | None:
    """Decode a header or footer; None if it is neither, though it begins like one."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return None
