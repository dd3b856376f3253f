"""Calls as records of kind `trace`, one on each side that wants it."""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted

from ave import panotti, spool
from ave.exceptions import FormatError, SpoolError
from ave.network import messages
from ave.network.codec import decode, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["VALUE_MAX", "Trace", "flush", "keep"]

#: Bytes of the longest messages whose arguments and result are kept whole.
VALUE_MAX = 1024

#: Items that are looked at, and characters kept of a string, in a value that is too long.
ITEMS_MAX = 16
TEXT_MAX = 128


class Trace:
    """What one side knows of one call; as a function, the body of its record as JSON text.

    Little is done, and held, while the caller waits: a short request and reply are kept as they were sent, and taken
    apart when the record is written. Of long ones the begin is copied at once.

    Args:
        side: client or server.
        span, parent: of the call, and of the one it was made in; empty if there is none.
        duration: seconds from the request to the reply.
        outcome: ok, exception or timeout.
        request, blob: the message, empty if there could be none, and what it says.
        answer, reply: the same of the reply; empty if there was none. `params` and `result` are taken out of them.
    """

    __slots__ = ("_answer", "_blob", "_cut", "_facts", "_has_args", "_has_result", "_kwargs", "_reply", "_request")

    def __init__(
        self,
        side: str,
        peer: str,
        span: str,
        parent: str,
        duration: float,
        outcome: str,
        request: bytes | memoryview,
        blob: dict[str, Any],
        answer: bytes | memoryview,
        reply: dict[str, Any],
    ) -> None:
        sizes = (len(request), len(answer)) if side == "client" else (len(answer), len(request))
        self._facts = (blob["method"], peer, side, span, parent, duration, outcome, *sizes)
        params, result = blob.pop("params"), reply.pop("result", None)
        self._has_args = bool(params["vargs"] or params["kwargs"])
        self._has_result = result is not None
        self._cut: tuple[Any, Any] | None = None
        if not request or max(sizes) > VALUE_MAX:
            self._cut = _begin_of([params["vargs"], params["kwargs"]]), _begin_of(result)
            return
        # views are copied: what they look into is far larger
        self._request, self._blob, self._answer, self._reply = bytes(request), blob, bytes(answer), reply
        self._kwargs = _named(params)

    def __call__(self) -> str:
        """Return the body as JSON text: of the texts in the messages, or else by the long way."""
        method, peer, side, span, parent, duration, outcome, sent, received = self._facts
        head = _head(method, peer, side)
        values = self._values() if head and self._cut is None else None
        if values is None:
            return self._whole()
        inside = f',"parent":"{parent}"' if parent else ""
        return (
            f'{{{head},"span":"{span}"{inside},"duration":{round(duration, 6)!r},"sent":{sent},"received":{received},'
            f'"outcome":"{outcome}"{values}}}'
        )

    def _values(self) -> str | None:
        """Return arguments and result as they stand in a body; None if they cannot stand there as they are."""
        values = ""
        if self._has_args:
            args = self._kwargs and messages.args_in(self._request.decode("ascii", "replace"), self._blob, self._kwargs)
            if not args:
                return None
            values = f',"args":{args}'
        if self._has_result:
            result = messages.result_in(self._answer.decode("ascii", "replace"), self._reply)
            if not result:
                return None
            values += f',"result":{result}'
        return values if spool.is_ready(values) else None

    def _whole(self) -> str:
        method, peer, side, span, parent, duration, outcome, sent, received = self._facts
        body = {"method": _begin_of(method), "peer": peer, "side": side, "span": span}
        if parent:
            body["parent"] = parent
        body.update(duration=round(duration, 6), sent=sent, received=received, outcome=outcome)
        args, result = self._cut or _said(self._request, self._answer)
        if self._has_args:
            body["args"] = args
        if self._has_result:
            body["result"] = result
        return spool.whole(body)


def keep(guid: str, home: str | None, *facts: Any) -> None:
    """Keep a record of a call in the story of a run, of what `Trace` takes; as harmless as `panotti.shout`."""
    try:
        trace = Trace(*facts)
    except Exception:  # noqa: BLE001 - what a caller gave may have methods that raise anything
        return
    panotti.keep_later("trace", guid, trace, source="rpc", home=home)


def flush(home: str | None) -> None:
    """Write the records that wait for company."""
    try:
        spool.flush(home)
    except SpoolError:
        pass  # told when the record came


def _named(params: dict[str, Any]) -> str:
    """Return the named arguments as JSON; empty if they cannot be found in the request by that."""
    if len(params) > 2:
        return ""
    try:
        return text_of(params["kwargs"], above=messages.ABOVE) if params["kwargs"] else "{}"
    except FormatError:  # the method has changed what it was given
        return ""


def _said(request: bytes, answer: bytes) -> tuple[Any, Any]:
    """Return arguments and result of two messages."""
    try:
        params = decode(request)["params"]
        return [params["vargs"], params["kwargs"]], decode(answer).get("result") if answer else None
    except FormatError as error:  # two keys of ours are equal as JSON, so its receiver refused it
        return str(error), None


@lru_cache(256)
def _head(method: str, peer: str, side: str) -> str:
    """Return the begin of a body as JSON text; empty if something in it cannot stay as it is."""
    text = f'"method":{quoted(method)},"peer":{quoted(peer)},"side":"{side}"'
    return text if spool.is_ready(text) else ""


def _begin_of(value: Any) -> Any:
    """Copy the begin of a value."""
    return _copied(value, [ITEMS_MAX])


def _copied(value: Any, left: list[int]) -> Any:
    """Copy as much of a value as `left` items, on all levels together, which it counts."""
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
        kept[key if isinstance(key, int) else str(key)[:TEXT_MAX]] = _copied(item, left)
    return kept if isinstance(value, dict) else [*kept.values()]
