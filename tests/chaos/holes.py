"""Which numbers of a spool are accounted for: by a record, or by a gap that tells of them."""

from __future__ import annotations

from ave.record import segment_of, seq_of
from ave.testing import read_spool


def numbers_of(record):
    """Return (segment, seq) of everything that one record accounts for."""
    numbers = {(segment_of(record.id), seq_of(record.id))}
    if record.kind == "gap":
        numbers |= {(record.body["segment"], seq) for seq in range(record.body["first"], record.body["last"] + 1)}
    return numbers


def missing(spool):
    """Return (segment, seq) of every number that was given away and is not accounted for."""
    found = read_spool(spool)
    seen = {number for record in found.records for number in numbers_of(record)}
    ends = dict(found.counts)
    for segment, seq in seen:
        if segment not in found.counts:
            ends[segment] = max(seq, ends.get(segment, 0))
    return {(segment, seq) for segment, end in ends.items() for seq in range(1, end + 1)} - seen
