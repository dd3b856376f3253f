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


def args_in(message: str, blob: dict[str, Any], kwargs: str) -> str:
    """Return both kinds of arguments as they came in a request, [[...], {...}]; empty if it is not of the usual form.

    Args:
        blob: what the message says, without `params`, of which it has just the two fields.
        kwargs: the JSON text of its named arguments.
    """
    # with more fields than these, some could stand where the arguments are looked for
    if len(blob) != 4 + ("guid" in blob) + ("traceparent" in blob):
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
    resource = blob["resource"]
    shown = "null" if resource is None else text_of(resource, above=1)
    behind = f',"kwargs":{kwargs}}},"async":{"true" if blob["async"] else "false"},"id":{blob["id"]}'
    if "guid" in blob:
        behind += f',"guid":{quoted(blob["guid"])}'
    if "traceparent" in blob:
        behind += f',"traceparent":{quoted(blob["traceparent"])}'
    return f'{{"method":{quoted(blob["method"])},"resource":{shown},"params":{{"vargs":', behind + "}"


def _between(message: str, before: str, behind: str) -> str:
    if message.startswith(before) and message.endswith(behind):
        return message[len(before) : -len(behind)]
    return ""
