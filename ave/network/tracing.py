"""Spans, which join both sides of one call, and the choice of the calls that are traced.

Whether calls are traced says `trace` in panotti.json: true, or {"sample": 0.1} for a tenth of them. The span decides
which: it is random, and both sides reach the same answer.
"""

from __future__ import annotations

from binascii import crc32

from ave import home as homes
from ave.context import new_span, new_trace, parse_traceparent
from ave.exceptions import ConfigError

__all__ = ["new_span", "new_trace", "parse_traceparent", "rate", "sampled"]


def rate(home: str | None) -> float:
    """Return which share of the calls is traced in this home: 0.0 where nothing is, 1.0 for all."""
    try:
        settings = homes.load("panotti", homes.find(home))
    except (ConfigError, FileNotFoundError):
        return 0.0
    trace = settings["trace"] if settings["enabled"] else False
    return float(trace["sample"]) if isinstance(trace, dict) else float(trace)


def sampled(span: str, share: float) -> bool:
    """Tell whether the call of this span is traced; the same on both sides if they trace the same share."""
    return share >= 1.0 or crc32(span.encode()) < share * 2**32
