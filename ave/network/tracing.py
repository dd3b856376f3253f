"""Calls as records: the span that joins both sides of one call, and the `trace` record that each side may keep.

Whether calls are traced says `trace` in panotti.json: true, or {"sample": 0.1} for a tenth of them. The span decides
which: it is random, and both sides reach the same answer.
"""

from __future__ import annotations

import time
from binascii import crc32

from ave import context
from ave import home as homes
from ave.context import new_span, new_trace, parse_traceparent
from ave.exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["bounded", "new_span", "new_trace", "parse_traceparent", "rate", "sampled", "trace_body"]

#: Characters of JSON that arguments, and a result, may have in a record.
VALUE_MAX = 1024

#: Items that are looked at, and characters kept of a string, in a value that is too long.
ITEMS_MAX = 16
TEXT_MAX = 128


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


def trace_body(
    *,
    method: str,
    peer: str,
    side: str,
    span: str,
    started: float,
    sent: int,
    received: int,
    outcome: str,
    args: Any,
    result: Any = None,
) -> dict[str, Any]:
    """Return the body of a `trace` record.

    Args:
        started: what `time.perf_counter()` was when the call began.
        sent, received: bytes of this side's messages.
        args: positional and named arguments, [[...], {...}]; empty ones are left out.
        result: what came of it, if `outcome` is "ok"; None is left out.
    """
    body = {
        "method": method,
        "peer": peer,
        "side": side,
        "span": span,
        "duration": round(time.perf_counter() - started, 6),
        "sent": sent,
        "received": received,
        "outcome": outcome,
    }
    call = context.current()
    if side == "client" and call and call.span:
        body["parent"] = call.span
    if args != [[], {}]:
        body["args"] = bounded(args, received if side == "server" else sent)
    if result is not None:
        body["result"] = bounded(result, sent if side == "server" else received)
    return body


def bounded(value: Any, size: int) -> Any:
    """Return a value if it cannot be over VALUE_MAX, and else what its first items and characters are.

    Args:
        size: bytes of a message that has the value in it.
    """
    return value if size <= VALUE_MAX else _cut(value, [ITEMS_MAX])


def _cut(value: Any, left: list[int]) -> Any:
    """Copy the begin of a value; `left` counts the items that may still be copied, on all levels together."""
    if isinstance(value, (str, bytes)):
        return value if len(value) <= TEXT_MAX else f"{value[:TEXT_MAX]!s}... ({len(value)} in all)"
    if not isinstance(value, (dict, list, tuple)):
        return value
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    kept: dict[Any, Any] = {}
    for key, item in pairs:
        if left[0] <= 0:
            kept["..."] = f"{len(value)} in all"
            break
        left[0] -= 1
        kept[key if isinstance(key, int) else str(key)[:TEXT_MAX]] = _cut(item, left)
    return kept if isinstance(value, dict) else [*kept.values()]
