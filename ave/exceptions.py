"""Every error of the system, in one tree. Branches follow what the caller does next.

AveException
  ConfigError            mend the named file and key
  UsageError             mend the call
  FormatError            mend the input (names file, place and reason)
  SpoolError             the record was not kept
    SpoolFull            shed or wait: no space is left for this kind
  StoreUnavailable       offer the same batch again later
  AuthError              use another key
  ProtocolError          the peer's bytes make no sense: the connection is gone
    Overflow             send less: a message is larger than the peer takes
  ConnectionFailed       see whether the service runs, call again
    ConnectionRefused    nobody listens there
    ConnectionClosed     the peer went away, perhaps in the middle of a call
    ConnectionTimeout    (a Timeout too) the peer did not answer in time
  Timeout                the time given was not enough
  RunError               read the output of the command that failed
  Exit                   the service ends
  Restarting             call again in a moment
  Terminated             somebody ended the service
  Offline                the equipment is away
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = [
    "AuthError",
    "AveException",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionRefused",
    "ConnectionTimeout",
    "Exit",
    "FormatError",
    "Offline",
    "Overflow",
    "ProtocolError",
    "Restarting",
    "RunError",
    "SpoolError",
    "SpoolFull",
    "StoreUnavailable",
    "Terminated",
    "Timeout",
    "UsageError",
    "described",
    "exception_factory",
    "install_excepthook",
]

#: Frames of a traceback that travel: the outermost and the innermost ones.
TRACE_ENDS = 50


class AveException(Exception):  # noqa: N818 - the name is the public contract
    """The root of the tree.

    `details` is a JSON object with at least `type` and `message`; it is what travels over RPC and
    into an `exception` record. Made from a message or from such an object. An exception that came from a
    server has that server's `trace`, [[file, line, function, source], ...], and `str()` shows it.
    """

    #: Whether it came from another process.
    is_remote = False

    def __init__(self, details: str | dict[str, Any]) -> None:
        if isinstance(details, str):
            details = {"message": details}
        _check(details)
        self.details: dict[str, Any] = {"type": _type_name(type(self)), **details}
        super().__init__(self.details["message"])

    def __str__(self) -> str:
        trace = formatted(self.details.get("trace"))
        message = str(self.details["message"])
        return f"{message}\nServer side traceback:\n{trace}" if trace else message

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.details)


class ConfigError(AveException):
    """A configuration file is missing or wrong. The message names file, key, expected and found."""


class UsageError(AveException):
    """The call itself is wrong."""


class FormatError(AveException):
    """A file is not in the format it should be in. The message names file, place and reason."""


class SpoolError(AveException):
    """The spool could not take the record: it is *not* kept."""


class SpoolFull(SpoolError):  # noqa: N818 - as above
    """The disk or the quota has no room for a record of this kind."""


class StoreUnavailable(AveException):
    """A store cannot be reached or refuses for now; the batch may be fine and must be offered again."""


class AuthError(AveException):
    """A peer did not prove that it knows the key."""


class ProtocolError(AveException):
    """What a peer sent cannot be understood, or was altered on the way."""


class Overflow(ProtocolError, OverflowError):  # noqa: N818 - as above
    """A message is larger than the peer takes. Its type in `details` is `OverflowError`."""


class ConnectionFailed(AveException):
    """There is no connection to the peer."""


class ConnectionRefused(ConnectionFailed):
    """Nobody listens at the address."""


class ConnectionClosed(ConnectionFailed):
    """The peer closed the connection. A call that was sent may have been carried out, or not."""


class Timeout(AveException):
    """Something did not happen in the time given."""


class ConnectionTimeout(ConnectionFailed, Timeout):
    """The peer did not take or answer a message in time; the connection is dropped."""


class RunError(AveException):
    """A command failed. `details` has `cmd`, and its output as `out`."""

    def __init__(self, cmd: Any, out: Any, message: str) -> None:
        super().__init__({"message": message, "cmd": cmd, "out": out, "ptyout": out})


class Exit(AveException):
    """The service ends. Raised in a method it ends the service; raised by a call, the peer is going."""


class Restarting(AveException):
    """The service ends and another takes over."""


class Terminated(AveException):
    """The service was ended."""


class Offline(AveException):
    """The equipment that the call is about is away."""


def exception_factory(details: Any) -> AveException:
    """Make the exception of the right class from what came over RPC: an object of details, or a text."""
    if not isinstance(details, dict):
        details = {"type": "Exception", "message": str(details)}
    details = {str(key): value for key, value in details.items()}
    details.setdefault("message", "")
    made = _made(_KNOWN.get(str(details.get("type")), AveException), details)
    made.is_remote = True
    return made


def described(error: BaseException, *, skip: int = 0) -> dict[str, Any]:
    """Return an exception as it travels, and stands in a record: type, message and trace.

    Args:
        skip: so many of the outermost frames are left out of the trace.
    """
    # a class of its own need not have called our constructor
    details = dict(getattr(error, "details", ())) if isinstance(error, AveException) else {}
    details.setdefault("type", type(error).__name__)
    details.setdefault("message", _message_of(error))
    # a trace that is there came from a server behind this one
    details.setdefault("trace", _trace_of(error, skip))
    return details


def install_excepthook() -> None:
    """Make uncaught exceptions of a server print under their own type, with the server's traceback."""
    import sys  # noqa: PLC0415 - for this alone

    earlier = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, AveException):
            import traceback  # noqa: PLC0415 - costs a job 5 ms, and few die

            lines = ["Traceback (most recent call last):\n", *traceback.format_tb(trace)]
            sys.stderr.write(f"{''.join(lines)}{error.details['type']}: {str(error).rstrip()}\n")
        else:
            earlier(kind, error, trace)

    sys.excepthook = hook


def formatted(trace: Any) -> str:
    """Return a server's trace as Python prints one; what is no such trace gives nothing."""
    try:
        return "".join(
            f'  File "{file}", line {line}, in {function}\n' + (f"    {source}\n" if source else "")
            for file, line, function, source in trace
        )
    except (TypeError, ValueError):
        return ""


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the exception's own __str__ may raise anything
        return f"unprintable {type(error).__name__}"


def _trace_of(error: BaseException, skip: int) -> list[list[Any]]:
    trace = error.__traceback__
    while trace is not None and skip:
        trace, skip = trace.tb_next, skip - 1
    if trace is None:
        return []
    import traceback  # noqa: PLC0415 - 5 ms that only a failing call costs

    frames = traceback.extract_tb(trace)
    kept = [*frames] if len(frames) <= 2 * TRACE_ENDS else [*frames[:TRACE_ENDS], *frames[-TRACE_ENDS:]]
    return [[frame.filename, frame.lineno, frame.name, frame.line] for frame in kept]


def _check(details: Any) -> None:
    if not isinstance(details, dict):
        raise Exception("AveException details must be a dictionary")  # noqa: TRY002, TRY004 - the contract's type
    if "message" not in details:
        raise Exception("AveException details must have message field")  # noqa: TRY002 - as above
    if not all(isinstance(key, str) for key in details):
        raise Exception("all AveException detail keys must be strings")  # noqa: TRY002 - as above


def _type_name(kind: type[AveException]) -> str:
    return "OverflowError" if kind is Overflow else kind.__name__


def _made(kind: type[AveException], details: dict[str, Any]) -> AveException:
    """Make an exception without its own constructor, whose parameters need not be `details`."""
    made = kind.__new__(kind)
    AveException.__init__(made, details)
    return made


#: The types that a client raises as themselves; every other one is an AveException that tells its type.
_KNOWN: dict[str, type[AveException]] = {
    "AuthError": AuthError,
    "Exit": Exit,
    "Offline": Offline,
    "OverflowError": Overflow,
    "Restarting": Restarting,
    "RunError": RunError,
    "Terminated": Terminated,
    "Timeout": Timeout,
}
