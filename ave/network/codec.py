"""Messages as JSON, with one answer to everything that JSON can be abused for.

Never NaN or infinity, no key twice in an object, at most `DEPTH_MAX` levels, no number of more than 4,300 digits.
What is sent is ASCII.
"""

from __future__ import annotations

from json import JSONDecoder, JSONEncoder

from ave.exceptions import FormatError
from ave.record import DEPTH_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["decode", "encode"]


def encode(message: dict[str, Any]) -> bytes:
    """Return the JSON text of a message.

    Bytes become text, bad ones U+FFFD; tuples become lists; keys become strings.

    Raises:
        FormatError: some value is not JSON; names it.
    """
    try:
        text = _encode(message)
    except TypeError:
        text = _encode_slowly(message)
    except RecursionError:
        raise _not_json(f"nested deeper than {DEPTH_MAX} levels") from None
    except ValueError as error:
        raise _not_json(error) from error
    if _is_deep(text, message):
        raise _not_json(f"nested deeper than {DEPTH_MAX} levels")
    return text.encode("ascii")


def decode(message: bytes | memoryview) -> Any:
    """Return what the JSON text of a message says; FormatError says why it is none."""
    try:
        text = str(message, "utf-8")
        value = _decode(text)
    except RecursionError:
        raise FormatError(f"nested deeper than {DEPTH_MAX} levels") from None
    except ValueError as error:
        raise FormatError(str(error)) from error
    if _is_deep(text, value):
        raise FormatError(f"nested deeper than {DEPTH_MAX} levels")
    return value


def _not_json(what: object) -> FormatError:
    return FormatError(f"OBJECT IS NOT JSON COMPATIBLE: {what}")


def _text_of(value: Any) -> str:
    """Be asked by the encoder for what it does not know."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    raise TypeError


#: Messages are trees, so the encoder need not remember every container to find a cycle; it finds the depth instead.
_encode = JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_text_of).encode


def _encode_slowly(message: dict[str, Any]) -> str:
    try:
        return _encode(_plain(message))
    except RecursionError:
        raise _not_json(f"nested deeper than {DEPTH_MAX} levels") from None


def _plain(value: Any) -> Any:
    """Copy a value with its keys made text; FormatError names what cannot be JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    raise _not_json(repr(value)[:200])


def _key(key: Any) -> Any:
    key = _plain(key)
    if isinstance(key, list):
        raise _not_json(f"the key {key!r}")
    return key


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of an object's pairs; of two equal keys every reader would keep another."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _real(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text} is too large a number")
    return value


_decode = JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number, parse_float=_real).decode


def _is_deep(text: str, value: Any) -> bool:
    """Tell whether a value has more than DEPTH_MAX levels; most texts have too few brackets for that."""
    if not _has_many_brackets(text):
        return False
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list, tuple))
        ]
        if not level:
            return False
    return True


def _has_many_brackets(text: str) -> bool:
    if len(text) < 4096:
        return text.count("[") + text.count("{") > DEPTH_MAX
    # `find` passes over a long string 20 times as fast as `count`
    count = 0
    for bracket in "[{":
        at = text.find(bracket)
        while at >= 0:
            count += 1
            if count > DEPTH_MAX:
                return True
            at = text.find(bracket, at + 1)
    return False
