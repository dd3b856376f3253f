"""Where arguments and result are in the texts of requests and replies: so a trace has them as they were sent.

They are found by what our own side writes around them. In a message of any other form they are not found.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted

from ave.network.codec import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["args_in", "result_in"]

#: Levels of a request above its arguments.
ABOVE = 2

#: What a request of ours may say besides `params`.
FIELDS = frozenset(("method", "id", "resource", "async", "guid", "traceparent"))


def args_in(message: str, blob: dict[str, Any], kwargs: str) -> str:
    """Return both kinds of arguments as they came in a request, [[...], {...}]; empty if it is not of the usual form.

    Args:
        blob: what the message says, without `params`, of which it has just the two fields.
        kwargs: the JSON text of its named arguments.
    """
    # with more fields than these, some could stand where the arguments are looked for
    if not FIELDS.issuperset(blob):
        return ""
    try:
        vargs = _between(message, *_around(blob, kwargs))
    except (KeyError, TypeError):  # a field is missing, or not text
        return ""
    return vargs and f"[{vargs},{kwargs}]"


def result_in(message: str, reply: dict[str, Any]) -> str:
    """Return the result as it came in a reply; empty if it is not where we would put it.

    Args:
        reply: what the message says, without `result`.
    """
    if not reply:
        return _between(message, '{"result":', "}")
    return _between(message, '{"result":', f',"id":{reply["id"]}}}') if len(reply) == 1 and "id" in reply else ""


def _around(blob: dict[str, Any], kwargs: str) -> tuple[str, str]:
    """Return what a request has before and behind its positional arguments."""
    behind = f',"kwargs":{kwargs}}},"id":{blob["id"]}'
    for field, text in _MORE:
        if field in blob:
            behind += f',"{field}":{text(blob[field])}'
    return f'{{"method":{quoted(blob["method"])},"params":{{"vargs":', behind + "}"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _profile(value: Any) -> str:
    return text_of(value, above=1)


#: What may follow, in this order, and how each is written.
_MORE = (("resource", _profile), ("async", _flag), ("guid", quoted), ("traceparent", quoted))


def _between(message: str, before: str, behind: str) -> str:
    if message.startswith(before) and message.endswith(behind):
        return message[len(before) : -len(behind)]
    return ""
