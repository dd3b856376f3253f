"""What few jobs need is loaded late, and then undisturbed by signals: their handlers may log, too.

One that came amid an import would find half a module. One that came amid the compiling of a pattern would begin it
anew, as would the next one amid that: with a timer that is faster, none of them would ever come to an end.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")
else:
    import _signal  # the part of `signal` that costs a job nothing

__all__ = ["undisturbed"]


def undisturbed(load: Callable[[], T]) -> T:
    """Return what `load` returns; signals that come to this thread meanwhile wait until it is done, a few ms.

    In a process with threads another one may take a signal, whose handler runs in the main thread all the same.
    """
    # asked first: a handler that raises just when signals are blocked must not leave them so
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        return load()
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
