"""Spans, which join both sides of one call, and the choice of the calls that are traced.

Whether calls are traced says `trace` in panotti.json: true, or {"sample": 0.1} for a tenth of them. The span decides
which: it is random, and both sides reach the same answer.
"""

from __future__ import annotations

import os
from binascii import crc32

from ave import home as homes
from ave.exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["new_span", "new_trace", "parse_traceparent", "rate", "sampled"]

_HEX = frozenset("0123456789abcdef")


def new_span() -> str:
    """Return the name of a new span: 16 random hexadecimal digits."""
    return os.urandom(8).hex()


def new_trace() -> str:
    """Return the trace this process belongs to, as $TRACEPARENT says, or a new one: 32 hexadecimal digits."""
    return parse_traceparent(os.environ.get("TRACEPARENT"))[0] or os.urandom(16).hex()


def parse_traceparent(text: Any) -> tuple[str, str]:
    """Return trace and span of a W3C `traceparent` (version 00); two empty strings if it is none."""
    parts = text.split("-") if isinstance(text, str) and len(text) == 55 else []
    if [len(part) for part in parts] != [2, 32, 16, 2] or not _HEX.issuperset("".join(parts)):
        return "", ""
    _, trace, span, _ = parts
    return (trace, span) if trace.strip("0") and span.strip("0") and parts[0] != "ff" else ("", "")


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
