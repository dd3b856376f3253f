"""What the code is working for at this moment: the call that is served or the work that is done, and its run.

Set by the server of a call for as long as its method runs, and by a scheduler for as long as it prepares something;
per thread and per task. Line 1 holds it because the emit side asks for it while knowing nothing of networks.
"""

from __future__ import annotations

import os
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import Any

__all__ = [
    "Call",
    "current",
    "current_guid",
    "enter",
    "leave",
    "new_span",
    "new_trace",
    "observer",
    "parse_traceparent",
]

_HEX = frozenset("0123456789abcdef")


class Call:
    """A call that is being served, or work that is being done.

    Attributes:
        guid: the run it is made for; empty if it named none.
        trace, span: of W3C trace context, 32 and 16 hexadecimal digits; empty if it has none.
    """

    __slots__ = ("guid", "span", "trace")

    def __init__(self, guid: str, trace: str, span: str) -> None:
        self.guid = guid
        self.trace = trace
        self.span = span


_current: ContextVar[Call | None] = ContextVar("ave.call", default=None)

#: Called as `observer(guid, begins)` when a call made for a run begins and when it ends; None: nobody wants to know.
observer: Callable[[str, bool], None] | None = None


def enter(call: Call | None) -> Token[Call | None]:
    """Begin to serve a call, or to work, for None outside any; what it returns goes to `leave`."""
    if observer is not None and call is not None and call.guid:
        observer(call.guid, True)
    return _current.set(call)


def leave(token: Token[Call | None]) -> None:
    """End what `enter` began."""
    call = _current.get()
    _current.reset(token)
    if observer is not None and call is not None and call.guid:
        observer(call.guid, False)


#: Return the call that is being served, or the work that is being done; None outside any.
current = _current.get


def current_guid() -> str | None:
    """Return the run for which the current call was made; None outside a call, or if it named none."""
    call = _current.get()
    return (call.guid or None) if call else None


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
