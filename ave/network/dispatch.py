"""From a request to its reply: validation, the call itself, and how its result or exception is written down."""

from __future__ import annotations

from ave import context
from ave.exceptions import AveException, Exit, FormatError, described
from ave.network.codec import decode, encode
from ave.record import GUID_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ave.network.methods import Method

__all__ = ["Refusal", "Request", "perform", "read_request", "write_reply"]

#: Characters of a bad request that its error repeats.
ECHO_MAX = 1000

#: Characters a GUID may have.
GUID_MAX = 4096


class Refusal(Exception):  # noqa: N818 - it is a reply
    """The request is not carried out; the text is the whole reply."""


class Request:
    """A request whose form is right.

    Attributes:
        call: what is called, with `vargs` and `kwargs`.
        wants_reply: false for an asynchronous request.
        context: the run and the span it is made for; None if it names none.
    """

    __slots__ = ("call", "context", "kwargs", "method", "vargs", "wants_reply")

    def __init__(self, method: str, call: Callable[..., Any], vargs: list[Any], kwargs: dict[str, Any]) -> None:
        self.method = method
        self.call = call
        self.vargs = vargs
        self.kwargs = kwargs
        self.wants_reply = True
        self.context: context.Call | None = None


def read_request(
    blob: Any,
    control: object,
    table: Mapping[str, Method | None],
    why_not: Callable[[Method, bytes | None], str],
    key: bytes | None,
) -> Request:
    """Make a request of what came.

    Args:
        why_not: asked why a caller with this key may not call a method; no text if it may.
        key: what the caller has proved to know.

    Raises:
        Refusal: with the contract's text.
    """
    if not isinstance(blob, dict) or "method" not in blob:
        raise Refusal('the "method" attribute is missing')
    if "params" not in blob:
        raise Refusal('the "params" attribute is missing')
    is_async = blob.get("async", False)
    if not isinstance(is_async, bool):
        raise Refusal(f"RPC async flag is not a boolean: {_echo(blob)}")
    name, params = blob["method"], blob["params"]
    if not isinstance(name, str) or name not in table:
        raise Refusal(f"no such RPC: {_echo(name)}")
    method = table[name]
    if method is None:
        raise Refusal(f"not an RPC: {_echo(name)}")
    if why := why_not(method, key):
        raise Refusal(why)
    vargs, kwargs = (params.get("vargs"), params.get("kwargs")) if isinstance(params, dict) else (None, None)
    if not isinstance(vargs, list) or not isinstance(kwargs, dict):
        raise Refusal(f"malformed arguments: {_echo(params)}")
    request = Request(name, method.bind(control), vargs, kwargs)
    request.wants_reply = not is_async
    if "guid" in blob or "traceparent" in blob:
        request.context = _context_of(blob)
    return request


def perform(request: Request) -> dict[str, Any]:
    """Carry a request out and return its reply, `{"result": ...}` or `{"exception": ...}`.

    Exit: the method wants the server to end.
    """
    # also if it names none: the service may have been started in the middle of work for some run
    token = context.enter(request.context)
    try:
        return {"result": request.call(*request.vargs, **request.kwargs)}
    except Exception as error:
        # the end of a service that the method called is not ours
        if isinstance(error, Exit) and not error.is_remote:
            raise
        return {"exception": described(error, skip=1)}
    finally:
        context.leave(token)


def write_reply(reply: dict[str, Any], limit: int) -> bytes:
    """Return the JSON of a reply; one that is no JSON, or too long, becomes an exception that says so."""
    try:
        message = encode(reply)
    except FormatError as error:
        return _write_again(reply, AveException({"type": "Exception", "message": f"INTERNAL ERROR: {error}"}))
    if len(message) > limit:
        text = f"the reply of {len(message)} bytes is over the limit of {limit}"
        return _write_again(reply, AveException({"type": "OverflowError", "message": text}))
    return message


def _write_again(reply: dict[str, Any], error: AveException) -> bytes:
    # in place, so that a trace tells what was sent
    reply.pop("result", None)
    reply["exception"] = {**error.details, "trace": []}
    return encode(reply)


def _echo(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= ECHO_MAX else f"{text[:ECHO_MAX]}..."


def _context_of(blob: dict[str, Any]) -> context.Call:
    guid = blob.get("guid")
    if not isinstance(guid, str) or not GUID_MIN <= len(guid) <= GUID_MAX:
        guid = ""
    trace, span = context.parse_traceparent(blob.get("traceparent"))
    return context.Call(guid, trace, span)


def read_blob(message: memoryview) -> Any:
    """Return the JSON of a request; Refusal if it is none."""
    try:
        return decode(message)
    except FormatError:
        text = str(message[:ECHO_MAX], "utf-8", "replace")
        raise Refusal(f"malformed JSON: {_echo(text)}") from None
