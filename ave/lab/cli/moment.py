"""Moments on the command line: an ISO date or time, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import click

__all__ = ["moment"]

_AGO = re.compile(r"(\d{1,9}(?:\.\d+)?) ?(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(_ctx: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Return the value of an option as nanoseconds since the epoch; a time without a zone is local."""
    if value is None:
        return None
    ago = _AGO.fullmatch(value.strip())
    if ago:
        return time.time_ns() - int(float(ago[1]) * _SECONDS[ago[2]] * 1e9)
    try:
        return (datetime.fromisoformat(value.strip()).astimezone() - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{value!r} is neither a time, like 2026-11-22T14:30, nor an age, like 2h.") from error
