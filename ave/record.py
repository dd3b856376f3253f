"""The one thing that travels: its fields, its kinds, and how a caller's values become a JSON body.

Facts only: nothing here opens a file or knows where a record comes from or goes to.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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

#: Names at the top of a body that are ours; a caller's key of that name gets an apostrophe.
RESERVED = frozenset(("_continues", "_marks"))

#: Integers that every store can hold; larger ones become hexadecimal strings.
INT_MIN, INT_MAX = -(2**63), 2**64 - 1

#: Levels of nesting a body may have; what lies deeper is dropped and marked.
DEPTH_MAX = 64


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
    fields = json.loads(payload)
    if not isinstance(fields, dict) or set(fields) != set(Record.FIELDS):
        raise ValueError("not a record: the eight fields are not all there, or others are besides")
    for name in Record.FIELDS:
        wanted = int if name in {"time", "pid"} else dict if name == "body" else str
        if type(fields[name]) is not wanted:
            raise ValueError(f"not a record: {name} is not {wanted.__name__}")
    return Record(**fields)


# A caller's values become JSON


def plain(body: dict[Any, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Copy a dict so that it is JSON, and say which values had to become strings.

    Strings, finite numbers, booleans, None, dicts, lists and tuples are themselves. Everything else
    becomes a string: bytes as UTF-8 (bad bytes escaped), exceptions as `Type: message`, the rest by `str`.
    Never raises, whatever the values' own methods do.

    Returns:
        The copy, and marks `{"path": "a.b.0", "was": "datetime"}`, one per value that was changed.
    """
    marks: list[dict[str, str]] = []
    return dict(plain_items(body, marks)), marks


def plain_items(body: dict[Any, Any], marks: list[dict[str, str]]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of `plain(body)` one by one, adding to `marks`: for bodies too large to copy."""
    yield from _Plain(marks).items(body, "", frozenset((id(body),)))


class _Plain:
    """One walk over one body."""

    def __init__(self, marks: list[dict[str, str]]) -> None:
        self.marks = marks

    def value(self, value: Any, path: str, above: frozenset[int]) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, int):
            return self.number(int(value), path)
        if isinstance(value, float):
            return float(value) if value - value == 0 else self.string(repr(float(value)), path, "float")
        if isinstance(value, (dict, list, tuple)):
            return self.container(value, path, above)
        return self.other(value, path)

    def container(self, value: Any, path: str, above: frozenset[int]) -> Any:
        if id(value) in above:
            return self.string("[cycle]", path, "cycle")
        if len(above) >= DEPTH_MAX:
            return self.string(f"[dropped: deeper than {DEPTH_MAX} levels]", path, "depth")
        above |= {id(value)}
        if isinstance(value, dict):
            return dict(self.items(value, path, above))
        return [self.value(item, f"{path}.{index}", above) for index, item in enumerate(value)]

    def items(self, value: dict[Any, Any], path: str, above: frozenset[int]) -> Iterator[tuple[str, Any]]:
        made: set[str] = set()
        for key, item in dict.items(value):
            name = key
            if type(key) is not str or not key.isascii() or key in RESERVED:
                name = self.key(key, path, value, made)
            yield name, self.value(item, f"{path}.{name}" if path else name, above)

    def key(self, key: Any, path: str, body: dict[Any, Any], made: set[str]) -> str:
        here = f"{path}.{_printed(key)}" if path else _printed(key)
        name = self.text(key, here) if isinstance(key, str) else self.other(key, here)
        # {1: "a", "1": "b"} would become two equal keys, of which readers of JSON keep one
        while name in made or name in RESERVED or (name != key and name in body):
            name += "'"
        made.add(name)
        return name

    def text(self, value: str, path: str) -> str:
        value = str.__str__(value)
        try:
            value.encode()
        except UnicodeEncodeError:
            # reversible: a backslash that was there before is doubled
            escaped = value.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
            return self.string(escaped, path, "surrogates")
        return value

    def number(self, value: int, path: str) -> int | str:
        # decimal text of a huge int costs quadratic time, and Python refuses it over 4,300 digits
        return value if INT_MIN <= value <= INT_MAX else self.string(hex(value), path, "int")

    def other(self, value: Any, path: str) -> str:
        name = type(value).__name__
        if isinstance(value, (bytes, bytearray)):
            return self.string(bytes(value).decode("utf-8", "backslashreplace"), path, name)
        text = _printed(value)
        return self.string(f"{name}: {text}" if isinstance(value, BaseException) else text, path, name)

    def string(self, text: str, path: str, was: str) -> str:
        self.marks.append({"path": path, "was": was})
        return text


def _printed(value: Any) -> str:
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception as error:  # noqa: BLE001 - a caller's __str__ may raise anything; a log must not
        return f"[unprintable {type(value).__name__}: {type(error).__name__}]"


# A body too long for one record comes together again


def joined(records: Iterable[Record]) -> Iterator[Record]:
    """Put continuation records back into the bodies they continue; all other records pass unchanged.

    The order of `records` is kept. A continuation whose head is not among them passes as it is. A value of
    which a piece is missing keeps what is there, and its mark stays in `_marks`.
    """
    records = list(records)
    heads = {record.id for record in records if "_continues" not in record.body}
    pieces: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        head = record.body.get("_continues")
        if head in heads:
            pieces.setdefault(head, []).append(record.body)
        elif head is not None:
            yield record
    for record in records:
        if record.id in heads:
            own = pieces.get(record.id)
            yield _whole(record, own) if own else record


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
    if len(text) != parts[-1].get("length"):
        return
    mark = next(mark for mark in marks if mark["path"] == name and mark["was"] in {"long", "long json"})
    if mark["was"] == "long json":
        body[name] = json.loads(text)
    marks.remove(mark)
