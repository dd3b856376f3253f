"""Messages as JSON, with one answer to everything that JSON can be abused for.

Never NaN or infinity, no key twice in an object, at most `DEPTH_MAX` levels, no number of more than 4,300 digits.
What is sent is ASCII.
"""

from __future__ import annotations

from json import JSONDecoder, JSONEncoder
from json import encoder as json_encoder

from ave.exceptions import FormatError
from ave.record import DEPTH_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["decode", "encode", "text_of"]


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as it is sent; everything else as of `text_of`."""
    return text_of(message).encode("ascii")


def text_of(value: Any, *, above: int = 0) -> str:
    """Return the JSON text of a value, ASCII alone.

    Bytes become text, bad ones U+FFFD; tuples become lists; keys become strings.

    Args:
        above: levels of the message above this value.

    Raises:
        FormatError: some value in it is not JSON; names it.
    """
    levels = DEPTH_MAX - above
    try:
        try:
            text = "".join(_chunks(value, 0))
        except TypeError:
            text = "".join(_chunks(_plain(value), 0))
        if _has_many_brackets(text, levels) and _is_deep(value, levels):
            raise RecursionError
        return text
    except FormatError:
        raise
    except RecursionError:
        raise _not_json(f"nested deeper than {DEPTH_MAX} levels") from None
    except Exception as error:
        # a value may be of a class whose own methods raise anything
        raise _not_json(error if type(error) is ValueError else type(error).__name__) from error


def decode(message: bytes | memoryview) -> Any:
    """Return what the JSON text of a message says; FormatError says why it is none."""
    try:
        text = str(message, "utf-8")
        # what a peer of ours writes is one value from the first character to the last
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):
            value = _decoder.decode(text)  # or says what is wrong, and where
    except RecursionError:
        raise FormatError(f"nested deeper than {DEPTH_MAX} levels") from None
    except ValueError as error:
        raise FormatError(str(error)) from error
    if _has_many_brackets(text, DEPTH_MAX) and _is_deep(value, DEPTH_MAX):
        raise FormatError(f"nested deeper than {DEPTH_MAX} levels")
    return value


def _not_json(what: object) -> FormatError:
    return FormatError(f"OBJECT IS NOT JSON COMPATIBLE: {what}")


def _text_of(value: Any) -> str:
    """Be asked by the encoder for what it does not know."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    raise TypeError


def _make_encoder() -> Callable[[Any, int], Iterable[str]]:
    """Return the function that makes JSON text, in pieces, in CPython without the costly set-up per call."""
    # no look-out for cycles: one shows by its depth
    encoder = JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_text_of)
    make: Any = getattr(json_encoder, "c_make_encoder", None)
    if make is None:
        return lambda value, _indent: encoder.iterencode(value)
    chunks: Callable[[Any, int], Iterable[str]]
    chunks = make(None, _text_of, json_encoder.encode_basestring_ascii, None, ":", ",", False, False, False)
    return chunks


_chunks = _make_encoder()


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
        raise ValueError(f"the key {_twice(pairs)!r} is there twice")
    return content


def _twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            break
        seen.add(name)
    return name


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _real(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text} is too large a number")
    return value


_decoder = JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number, parse_float=_real)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _is_deep(value: Any, levels: int) -> bool:
    """Tell whether a value has more than so many levels."""
    level = [value]
    for _ in range(levels):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list, tuple))
        ]
        if not level:
            return False
    return True


def _has_many_brackets(text: str, levels: int) -> bool:
    """Tell whether the text has so many brackets that it may be deep; most have not."""
    if len(text) < 4096:
        return text.count("[") + text.count("{") > levels
    # `find` passes over a long string 20 times as fast as `count`
    count = 0
    for bracket in "[{":
        at = text.find(bracket)
        while at >= 0:
            count += 1
            if count > levels:
                return True
            at = text.find(bracket, at + 1)
    return False
