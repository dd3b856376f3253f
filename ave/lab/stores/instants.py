"""Nanoseconds since the epoch as the text that other programs read as a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = ["instant"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Times that fit into 64 bits: of the years 1677 to 2262.
_TIMES = range(-(2**63), 2**63)


def instant(time: int) -> str:
    """Return a time in nanoseconds in ISO 8601, UTC, with all its digits; ValueError if it is too large for any."""
    if time not in _TIMES:
        raise ValueError(f"{time} is no time in nanoseconds")
    seconds, rest = divmod(time, 1_000_000_000)
    return f"{_second(seconds)}.{rest:09}Z"


@lru_cache(maxsize=1024)  # records come in order of time, many in a second
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
