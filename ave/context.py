"""What the code is working for at this moment: the call that is being served, and with it the run it belongs to.

Set by the server of a call for as long as its method runs, per thread and per task. Line 1 holds it because the emit
side asks for it while knowing nothing of networks.
"""

from __future__ import annotations

from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

__all__ = ["Call", "current", "current_guid", "enter", "leave", "observer"]


class Call:
    """A call that is being served.

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


def enter(call: Call) -> Token[Call | None]:
    """Begin to serve a call; what it returns goes to `leave`."""
    if observer is not None and call.guid:
        observer(call.guid, True)
    return _current.set(call)


def leave(token: Token[Call | None]) -> None:
    """End what `enter` began."""
    call = _current.get()
    _current.reset(token)
    if observer is not None and call is not None and call.guid:
        observer(call.guid, False)


#: Return the call that is being served, None outside any.
current = _current.get


def current_guid() -> str | None:
    """Return the run for which the current call was made; None outside a call, or if it named none."""
    call = _current.get()
    return (call.guid or None) if call else None
