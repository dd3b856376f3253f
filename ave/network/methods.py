"""Which methods of a `Control` may be called, by whom: a table made with the class, from what its author marked.

Nothing a peer sends ever reaches `getattr`.
"""

from __future__ import annotations

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Method", "auth", "method_table", "preauth", "rpc"]

_RPC, _AUTH, _PREAUTH = "ave.control.rpc", "ave.control.auth", "ave.control.preauth"


class Method:
    """One method that may be called.

    Attributes:
        bind: `bind(control)` gives what is called.
        auth: the caller must have a key.
        accounts: the caller must have the key of one of these; None if anybody may call.
    """

    __slots__ = ("accounts", "auth", "bind")

    def __init__(self, function: Any) -> None:
        marks = vars(function)
        self.bind: Callable[[object], Callable[..., Any]] = function.__get__
        self.auth: bool = _AUTH in marks
        self.accounts: tuple[str, ...] | None = marks.get(_PREAUTH)


def rpc(function: F) -> F:
    """Make a method callable from other processes."""
    vars(function)[_RPC] = True
    return function


def auth(function: F) -> F:
    """Allow an RPC only to callers that have proved to know one of the server's keys."""
    vars(function)[_AUTH] = True
    return function


def preauth(*accounts: str) -> Callable[[F], F]:
    """Allow an RPC only to callers that have proved to know the key of one of these accounts in `alt_keys`.

    An account without a key lets nobody in.
    """

    def mark(function: F) -> F:
        vars(function)[_PREAUTH] = accounts
        return function

    return mark


def method_table(kind: type) -> dict[str, Method | None]:
    """Return the methods of a class by name; None stands for an attribute that is no RPC.

    UsageError: a marked name begins with an underscore.
    """
    table: dict[str, Method | None] = {}
    for part in reversed(kind.__mro__):
        for name, value in vars(part).items():
            is_rpc = _RPC in getattr(value, "__dict__", ())
            if is_rpc and name.startswith("_"):
                raise UsageError(f"{kind.__name__}.{name}: the name of an RPC must not begin with an underscore")
            table[name] = Method(value) if is_rpc else None
    return table
