"""The one thing that travels: its fields, its kinds, and how a caller's values become a JSON body.

Facts only: nothing here opens a file or knows where a record comes from or goes to.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Any

__all__ = [
    "DEPTH_MAX",
    "GUID_MIN",
    "INT_MAX",
    "INT_MIN",
    "KINDS",
    "RESERVED",
    "RESULTS",
    "Query",
    "Record",
    "decode",
    "joined",
    "plain",
    "plain_items",
    "segment_of",
    "seq_of",
]

#: What a record can be; the body of each is described in doc/reference/record.
KINDS = frozenset(
    "shout exception trace stderr log event verdict measurement artifact request metric gap".split()  # noqa: SIM905
)

#: What a test case can end as. `flaky` and `missing` are derived from several records, never stored.
RESULTS = ("passed", "failure", "error", "skipped", "xfailed", "xpassed")

#: Characters a GUID has at least; the original's limit.
GUID_MIN = 10

#: Names at the top of a body that are ours; a caller's key of that name gets an apostrophe and is marked.
RESERVED = frozenset(("_continues", "_marks"))

#: Integers that every store can hold; larger ones become hexadecimal strings.
INT_MIN, INT_MAX = -(2**63), 2**64 - 1

#: Levels of nesting a body may have; what lies deeper is dropped and marked.
DEPTH_MAX = 64

#: Times the same dict or list may come in one body; thirty lists that hold the next one twice are a billion as JSON.
REPEATS_MAX = 1000

#: Characters a key may have; the rest of a longer one is dropped and marked.
NAME_MAX = 1024

_SURROGATE = re.compile("[\ud800-\udfff]")

#: A type's own name, past what a metaclass makes of it.
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__


class Record:
    """One fact about one run.

    Attributes:
        id: `<segment>-<seq>`; unique for ever, and the idempotency key in every store.
        kind: one of `KINDS`.
        guid: the run it belongs to; empty for records about the host.
        time: nanoseconds since the epoch, UTC.
        host, pid, source: who said it.
        body: a JSON object, its keys given by the kind; unknown keys are kept.
    """

    __slots__ = ("body", "guid", "host", "id", "kind", "pid", "source", "time")

    #: The fields in the order in which they are written everywhere.
    FIELDS = ("id", "kind", "guid", "time", "host", "pid", "source", "body")

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name
        kind: str,
        guid: str,
        time: int,
        host: str,
        pid: int,
        source: str,
        body: dict[str, Any],
    ) -> None:
        self.id = id
        self.kind = kind
        self.guid = guid
        self.time = time
        self.host = host
        self.pid = pid
        self.source = source
        self.body = body

    def as_dict(self) -> dict[str, Any]:
        """Return all eight fields, in order."""
        return {name: getattr(self, name) for name in self.FIELDS}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.as_dict().items())})"


class Query:
    """What to look for; every given condition must hold. Empty conditions hold for all records.

    Attributes:
        guid: exactly this run.
        kinds: any of these kinds.
        since, until: nanoseconds since the epoch, `since <= time < until`.
        host, source: exactly these.
        job: part of the path of the job's executable; selects the runs of such jobs.
        result: a verdict's result, or the name of a job's exit code (`FAILURES`).
        text: found in the body, upper and lower case alike.
        limit: at most so many records.
        newest: newest first; otherwise oldest first. Ties are in order of `id`.
    """

    __slots__ = ("guid", "host", "job", "kinds", "limit", "newest", "result", "since", "source", "text", "until")

    def __init__(
        self,
        guid: str | None = None,
        kinds: Iterable[str] = (),
        since: int | None = None,
        until: int | None = None,
        host: str | None = None,
        source: str | None = None,
        job: str | None = None,
        result: str | None = None,
        text: str | None = None,
        limit: int | None = None,
        newest: bool = False,
    ) -> None:
        self.guid = guid
        self.kinds = frozenset(kinds)
        self.since = since
        self.until = until
        self.host = host
        self.source = source
        self.job = job
        self.result = result
        self.text = text
        self.limit = limit
        self.newest = newest


def segment_of(record_id: str) -> str:
    """Return the segment part of an id."""
    return record_id.rpartition("-")[0]


def seq_of(record_id: str) -> int:
    """Return the counter part of an id."""
    return int(record_id.rpartition("-")[2])


def decode(payload: bytes | str) -> Record:
    """Make a record of its JSON text; ValueError says what is wrong with it.

    Light but not fast; the lab side has a faster one.
    """
    try:
        fields = json.loads(payload, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("not a record: nested too deeply") from error
    if not isinstance(fields, dict) or set(fields) != set(Record.FIELDS):
        raise ValueError("not a record: the eight fields are not all there, or others are besides")
    for name in Record.FIELDS:
        wanted = int if name in {"time", "pid"} else dict if name == "body" else str
        if type(fields[name]) is not wanted:
            raise ValueError(f"not a record: {name} is not {wanted.__name__}")
    return Record(**fields)


def _no_number(name: str) -> None:
    raise ValueError(f"not a record: {name} is no number in JSON")


# A caller's values become JSON


def plain(body: dict[Any, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Copy a dict so that it is JSON, and say which values had to become strings.

    Strings, finite numbers, booleans, None, dicts, lists and tuples are themselves. Everything else
    becomes a string: bytes as UTF-8 (bad bytes escaped), exceptions as `Type: message`, the rest by `str`.
    Never raises an `Exception`, whatever the values' own methods do.

    Returns:
        The copy, and marks `{"path": "a.b.0", "was": "datetime"}`, one per value that was changed.
    """
    marks: list[dict[str, str]] = []
    # here and below: a copy first, for another thread or a value's own method may change the original meanwhile
    return dict(_Plain(marks).items(list(dict.items(body)), "", frozenset((id(body),)))), marks


def plain_items(body: dict[Any, Any], marks: list[dict[str, str]]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of `plain(body)` one by one, adding to `marks`: for bodies too large to copy."""
    try:
        yield from _Plain(marks).items(dict.items(body), "", frozenset((id(body),)))
    except RuntimeError:  # keys came or went since the last field; the rest cannot be told apart any more
        marks.append({"path": "", "was": "changed meanwhile"})


class _Plain:
    """One walk over one body. It asks `type()` and calls the built-in types' own methods, for a subclass may lie."""

    def __init__(self, marks: list[dict[str, str]]) -> None:
        self.marks = marks
        self.seen: dict[int, int] = {}

    def value(self, value: Any, path: str, above: frozenset[int]) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if issubclass(kind, str):
            return self.text(value, path)
        if issubclass(kind, int):
            return self.number(int.__int__(value), path)
        if issubclass(kind, float):
            return self.real(float.__float__(value), path)
        if issubclass(kind, (dict, list, tuple)):
            return self.container(value, path, above)
        return self.other(value, path)

    def container(self, value: Any, path: str, above: frozenset[int]) -> Any:
        if id(value) in above:
            return self.string("[cycle]", path, "cycle")
        if len(above) >= DEPTH_MAX:
            return self.string(f"[dropped: deeper than {DEPTH_MAX} levels]", path, "depth")
        self.seen[id(value)] = seen = self.seen.get(id(value), 0) + 1
        if seen > REPEATS_MAX:
            return self.string(f"[dropped: the same more than {REPEATS_MAX} times]", path, "repeats")
        above |= {id(value)}
        if issubclass(type(value), dict):
            return dict(self.items(list(dict.items(value)), path, above))
        items = list.copy(value) if issubclass(type(value), list) else tuple.__iter__(value)
        return [self.value(item, f"{path}.{index}", above) for index, item in enumerate(items)]

    def items(self, pairs: Collection[tuple[Any, Any]], path: str, above: frozenset[int]) -> Iterator[tuple[str, Any]]:
        reserved = RESERVED if len(above) == 1 else frozenset()
        taken: dict[str, int] = {}
        for key, item in pairs:
            name = key
            if type(key) is not str or not key.isascii() or len(key) > NAME_MAX or key in reserved:
                # {1: "a", "1": "b"} would become two equal keys, of which readers of JSON keep one
                taken = taken or {key: 1 for key, _ in pairs if type(key) is str}
                name = self.key(key, path, taken, reserved)
            yield name, self.value(item, f"{path}.{name}" if path else name, above)

    def key(self, key: object, path: str, taken: dict[str, int], reserved: frozenset[str]) -> str:
        """Return what becomes of a key, and mark it if it changes. `taken`: name -> how often it was wanted."""
        before = len(self.marks)
        name = self.text(key, path) if issubclass(type(key), str) else self.other(key, path)
        if len(name) > NAME_MAX:
            name = self.string(name[:NAME_MAX], path, "long key")
        elif name in reserved:
            taken[self.string(name, path, "reserved")] = 1
        elif name is key:
            return name
        wanted = name
        while name in taken:
            count = taken[wanted]
            taken[wanted] = count + 1
            name = f"{wanted}'{count if count > 1 else ''}"
        taken[name] = 1
        for mark in self.marks[before:]:
            mark["path"] = f"{path}.{name}" if path else name
        return name

    def text(self, value: Any, path: str) -> str:
        text = str.__str__(value)
        if text.isascii() or not _SURROGATE.search(text):
            return text
        # reversible: a backslash that was there before is doubled
        escaped = text.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
        return self.string(escaped, path, "surrogates")

    def number(self, value: int, path: str) -> int | str:
        # decimal text of a huge int costs quadratic time, and Python refuses it over 4,300 digits
        return value if INT_MIN <= value <= INT_MAX else self.string(hex(value), path, "int")

    def real(self, value: float, path: str) -> float | str:
        return value if value - value == 0 else self.string(repr(value), path, "float")

    def other(self, value: Any, path: str) -> str:
        kind = type(value)
        name = _name_of(kind)
        for raw in (bytes, bytearray):
            if issubclass(kind, raw):
                return self.string(raw.decode(value, "utf-8", "backslashreplace"), path, name)
        text = _printed(value)
        return self.string(f"{name}: {text}" if issubclass(kind, BaseException) else text, path, name)

    def string(self, text: str, path: str, was: str) -> str:
        self.marks.append({"path": path, "was": was})
        return text


def _printed(value: Any) -> str:
    try:
        return str.encode(str(value), "utf-8", "backslashreplace").decode()
    except Exception as error:  # noqa: BLE001 - a caller's __str__ may raise anything; a log must not
        return f"[unprintable {_name_of(type(value))}: {_name_of(type(error))}]"


# A body too long for one record comes together again


def joined(records: Iterable[Record]) -> Iterator[Record]:
    """Put continuation records back into the bodies they continue; all other records pass unchanged.

    The order of `records` is kept, and one that comes twice counts once. A continuation whose head is not among
    them passes as it is. A value of which a piece is missing keeps what is there, and its mark stays in `_marks`.
    """
    by_id = {record.id: record for record in records}
    pieces: dict[str, list[dict[str, Any]]] = {}
    for record in by_id.values():
        head = record.body.get("_continues")
        if head is not None:
            pieces.setdefault(str(head), []).append(record.body)
    for record in by_id.values():
        if record.id in pieces:
            yield _whole(record, pieces[record.id])
        elif str(record.body.get("_continues")) not in by_id:
            yield record


def _whole(record: Record, pieces: list[dict[str, Any]]) -> Record:
    body = dict(record.body)
    marks = list(body.pop("_marks", ()))
    texts: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        if "fields" in piece:
            body.update(piece["fields"])
            marks += piece.get("_marks", ())
        else:
            texts.setdefault(piece["path"], []).append(piece)
    for name, parts in texts.items():
        _fill(body, marks, name, sorted(parts, key=lambda part: part["offset"]))
    if marks:
        body["_marks"] = marks
    return Record(**{**record.as_dict(), "body": body})


def _fill(body: dict[str, Any], marks: list[dict[str, str]], name: str, parts: list[dict[str, Any]]) -> None:
    text = body[name] = body.get(name, "") + "".join(part["text"] for part in parts)
    mark = next((mark for mark in marks if mark["path"] == name and mark["was"] in {"long", "long json"}), None)
    if mark is None or len(text) != parts[-1].get("length"):
        return
    if mark["was"] == "long json":
        body[name] = json.loads(text)
    marks.remove(mark)
