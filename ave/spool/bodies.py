"""From a caller's dict to the JSON texts of one record, or of several when it is long.

Every body that enters the spool passes here once: made plain, redacted, cut. A small body of plain values
whose keys were seen before, which is nearly every shout, takes the short way: one encoding and a few looks.
"""

from __future__ import annotations

from json import JSONEncoder
from json import encoder as json_encoder

from ave import redact
from ave.exceptions import UsageError
from ave.record import INT_MAX, INT_MIN, RESERVED, plain, plain_items
from ave.undisturbed import undisturbed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["VALUE_MAX", "encode", "is_ready", "parts", "short", "whole"]

#: Characters one value, and the values of one record together, may have before they are cut.
VALUE_MAX = 64 * 1024

#: Fields a body may have before it is handled one field at a time.
FIELDS_MAX = 256

#: Dicts and lists a body may have, itself among them, to take the short way: so few of them are not too deep.
CONTAINERS_MAX = 32

#: Characters of a long value that stay in the record itself.
KEPT = 1024

#: Characters of a long value that are redacted at once; a secret across such a border would be missed,
#: so borders are laid at line ends, or at blanks, where there are any.
WINDOW = 1024 * 1024


#: Makes every digit a zero, so that a long number is one text to look for.
_ZEROS = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))

#: Such a number, and the ends of keys that were no strings.
_SUSPECTS = ("0" * (len(str(INT_MIN)) - 1), '0":', 'true":', 'false":', 'null":')

#: Texts whose verdict is remembered, and the characters such a text may have.
READY_MAX = 512
READY_LENGTH_MAX = 2048


def _make_encoder() -> Callable[[Any], str]:
    """Return the function that makes JSON text, in CPython without the costly set-up per call."""
    encoder = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    make = getattr(json_encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    # markers None: a body is plain before it comes here, so it has no cycle to look for
    chunks = make(None, encoder.default, json_encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


#: Make the JSON text of a plain body.
encode = _make_encoder()


def short(body: dict[Any, Any]) -> str | None:
    """Return the JSON text of a body that needs no change at all; None sends the caller to `parts`."""
    # a subclass may have methods of its own
    if type(body) is not dict or len(body) > FIELDS_MAX:
        return None
    try:
        found = _found(body)
        if found is not None and RESERVED.isdisjoint(body):
            texts, names, has_lists = found
            text = encode(body)
            is_text = (text.isascii() or text.encode()) and len(text) <= VALUE_MAX
            if is_text and redact.is_clean(body, "\n".join(texts), names, has_lists=has_lists):
                return text
    except (TypeError, ValueError, RuntimeError):  # NaN or a lone surrogate, or another thread changed it meanwhile
        pass
    return None


def whole(body: dict[Any, Any]) -> str:
    """Return the JSON text of a body that needs one record only; of a longer one, what its first record has."""
    return short(body) or encode(next(parts(body)))


def is_ready(text: str) -> bool:
    """Tell whether a piece of JSON text, of no more levels than a body may have, can stand in a body as it is.

    True is certain. It is one line without escapes, nothing in it is masked, no integer is too large for a store, and
    no key looks as if it had been a number: of 1 and "1" JSON makes two equal keys. The verdict is remembered, for all
    texts that differ in their digits only.
    """
    if len(text) > VALUE_MAX or not text.isascii():
        return False
    shape = text.encode("ascii").translate(_ZEROS)
    verdict = _ready.get(shape)
    if verdict is None:
        verdict = _is_ready(shape.decode("ascii"))
        if len(_ready) >= READY_MAX:
            _ready.clear()
        if len(shape) <= READY_LENGTH_MAX:
            _ready[shape] = verdict
    return verdict


_ready: dict[bytes, bool] = {}


def _is_ready(shape: str) -> bool:
    is_plain = "\n" not in shape and not any(part in shape for part in _SUSPECTS)
    return is_plain and redact.is_clean_json(shape)


def _found(body: dict[Any, Any]) -> tuple[list[str], tuple[str, ...], bool] | None:
    """Return the string values and the keys of a body, and whether it has lists.

    None: it has other than short ones and plain JSON.
    """
    texts: list[str] = []
    names: list[str] = []
    has_lists = False
    containers: list[Any] = [body]
    for container in containers:  # which grows meanwhile
        values = container
        if type(container) is dict:
            "".join(container)  # TypeError for a key that is no string: json would take 1 and "1" for the same
            names += container
            values = container.values()
        else:
            has_lists = True
        if len(containers) > CONTAINERS_MAX or len(texts) + len(names) + len(values) > FIELDS_MAX * 2:
            return None
        for value in values:
            kind = type(value)
            if kind is str:
                if len(value) > VALUE_MAX:
                    return None
                texts.append(value)
            elif kind is int:
                if not INT_MIN <= value <= INT_MAX:
                    return None
            elif kind is dict or kind is list:
                containers.append(value)
            elif kind is not float and kind is not bool and value is not None:
                return None
    return texts, tuple(names), has_lists


def parts(body: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """Yield the plain, redacted bodies that `body` becomes: the record itself, then what continues it.

    A continuation has either `fields`, more fields of the same body, or `path`, `offset` and `text`: more of
    the string `path` from that character on; the last one of a string has its `length` and `sha256` too.
    The continuations lack `_continues` yet, for the id of the first record is not known here.
    """
    if not issubclass(type(body), dict):
        raise UsageError(f"the body of a record must be a dict, found {type(body)}")
    if dict.__len__(body) <= FIELDS_MAX and not any(map(_is_long, list(dict.values(body)))):
        whole, marks = plain(body)
        whole = redact.redact(whole)
        if marks:
            whole["_marks"] = marks
        if len(encode(whole)) <= VALUE_MAX:
            yield whole
            return
    yield from _cut(body)


def _is_long(value: Any) -> bool:
    return issubclass(type(value), str) and str.__len__(value) > VALUE_MAX


def _cut(body: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """Spread a body over several records, never holding more than one record and one value of it at a time."""
    fields: dict[str, Any] = {}
    marks: list[dict[str, str]] = []
    long: list[tuple[str, str, str, bool]] = []
    size, is_head = 0, True
    for field, mark in _units(body, long):
        grown = len(encode(field)) + len(encode(mark))
        if size and size + grown > VALUE_MAX:
            yield _part(fields, marks, is_head)
            fields, marks, size, is_head = {}, [], 0, False
        fields.update(field)
        marks += mark
        size += grown
    yield _part(fields, marks, is_head)
    for one in long:
        yield from _pieces(*one)


def _units(
    body: dict[Any, Any], long: list[tuple[str, str, str, bool]]
) -> Iterator[tuple[dict[str, Any], list[dict[str, str]]]]:
    """Yield the fields and the marks of a body, each alone: (one field, no mark) or (no field, one mark).

    Of a long value its begin is yielded, and (name, begin, whole text, is_json) is added to `long`.
    """
    found: list[dict[str, str]] = []
    for name, plain_value in plain_items(body, found):
        value, text = _field(name, plain_value)
        yield {name: value}, []
        if text is not None:
            is_json = not isinstance(plain_value, str)
            long.append((name, value, text, is_json))
            found.append({"path": name, "was": "long json" if is_json else "long"})
        for mark in found:
            yield {}, [mark]
        found.clear()
    for mark in found:
        yield {}, [mark]


def _field(name: str, value: Any) -> tuple[Any, str | None]:
    """Redact one field; return it, or the begin of it and its whole text: still to be redacted if it is a string."""
    is_long = isinstance(value, str) and (len(value) > VALUE_MAX or len(encode(value)) > VALUE_MAX)
    if is_long and not redact.is_secret_name(name):
        return next(_windows(name, value))[:KEPT], value
    value = redact.redact({name: value})[name]
    text = encode(value)
    if len(text) > VALUE_MAX:
        return text[:KEPT], text
    return value, None


def _part(fields: dict[str, Any], marks: list[dict[str, str]], is_head: bool) -> dict[str, Any]:
    part: dict[str, Any] = fields if is_head else {"fields": fields}
    if marks:
        part["_marks"] = marks
    return part


def _pieces(name: str, begin: str, text: str, is_json: bool) -> Iterator[dict[str, Any]]:
    """Yield a long text behind its `begin`, in pieces."""
    digest, offset = undisturbed(_sha256)(), 0
    waiting: dict[str, Any] | None = None
    for window in (text,) if is_json else _windows(name, text):
        for at in range(0, len(window), VALUE_MAX):
            piece = window[at : at + VALUE_MAX]
            digest.update(piece.encode())
            if waiting:
                yield waiting
            skip = max(0, len(begin) - offset)
            waiting = {"path": name, "offset": offset + skip, "text": piece[skip:]}
            offset += len(piece)
    if waiting:
        yield waiting | {"length": offset, "sha256": digest.hexdigest()}


def _sha256() -> Callable[[], hashlib._Hash]:
    from hashlib import sha256  # noqa: PLC0415 - costs a job 2 ms, and long values are rare

    return sha256


def _windows(name: str, text: str) -> Iterator[str]:
    """Cut a long text where no secret is likely to cross, and redact each part."""
    begin = 0
    while begin < len(text):
        end = begin + WINDOW
        if end < len(text):
            end = max(text.rfind("\n", begin, end), text.rfind(" ", end - 4096, end)) + 1 or end
            key = text.rfind("-----BEGIN", begin + 1, end)
            if key > 0 and "-----END" not in text[key:end]:
                end = key
        ((_, window),) = redact.redact({name: text[begin:end]}).items()
        yield window
        begin = end
