"""S2, at emit: whatever is given, what comes out is the same, or it is marked."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import math
import os
import pathlib
import types
import uuid

import pytest

from ave import spool as spools
from ave.record import joined, segment_of
from ave.testing import read_spool

GUID = "guid-of-hazards"


class Loud(Exception):
    pass


def loud(*_, **__):
    raise Loud


class Hostile:
    __str__ = __repr__ = __len__ = __iter__ = __bool__ = __eq__ = loud
    __hash__ = object.__hash__


class LoudDict(dict):
    items = keys = values = __iter__ = __len__ = __contains__ = __getitem__ = copy = loud


class LoudList(list):
    __iter__ = __len__ = copy = loud


class LoudError(Exception):
    __str__ = loud


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


def nested(depth, kind):
    value = kind()
    for _ in range(depth):
        value = {"a": value} if kind is dict else [value]
    return value


def cycle():
    value: dict = {"list": []}
    value["list"].append(value)
    return value


DOCUMENTS = {
    "empty": dict,
    "depth 64": lambda: {"a": nested(62, list)},
    "depth 65": lambda: {"a": nested(63, list)},
    "depth 66 of dicts": lambda: nested(66, dict),
    "depth 100,000 of lists": lambda: {"a": nested(100_000, list)},
    "depth 100,000 of dicts": lambda: {"a": nested(100_000, dict)},
    "nan": lambda: {"a": math.nan, "b": [-math.nan]},
    "infinite": lambda: {"a": math.inf, "b": -math.inf},
    "1e999": lambda: {"a": float("1e999")},
    "small and large floats": lambda: {"a": 5e-324, "b": 1.7976931348623157e308, "c": -0.0, "d": 0.1 + 0.2},
    "lone surrogate": lambda: {"a": "\ud800", "b": "\udfff\\x"},
    "surrogate in a key": lambda: {"\ud83d": 1},
    "file name that is no text": lambda: {"a": os.fsdecode(b"/tmp/\xff")},
    "a pair of surrogates": lambda: {"a": "\ud83d\ude00"},
    "nul": lambda: {"a": "\x00", "\x00": "b\x00c"},
    "control characters": lambda: {"a": "".join(map(chr, range(160)))},
    "line separators": lambda: {"a": "\r\n\u2028\u2029\x85\x0b\x0c"},
    "no character": lambda: {"a": "\ufffe\uffff\U0010ffff\ufdd0"},
    "bidi": lambda: {"a": "\u202eabc\u2066"},
    "4,300 digits": lambda: {"a": 10**4299},
    "5,000 digits": lambda: {"a": 10**5000, "b": [-(10**5000)]},
    "above 2^53": lambda: {"a": 2**53 + 1, "b": -(2**53) - 1},
    "2^63": lambda: {"a": 2**63, "b": -(2**63), "c": 2**64 - 1},
    "above 2^64": lambda: {"a": 2**64, "b": -(2**63) - 1},
    "equal keys after str()": lambda: {1: "a", "1": "b", 1.0 + 1e-9: "c", None: "d", "None": "e", False: "f"},
    "keys of many types": lambda: {(1, 2): 1, b"k": 2, 1.5: 3, frozenset(): 4, Colour.RED: 5},
    "keys of ours": lambda: {"_marks": 1, "_continues": 2, "_marks'": 3},
    "fields of ours": lambda: {"id": "x", "kind": 1, "guid": "other", "time": 0, "body": {}, "v": 2, "footer": 1},
    "json in a string": lambda: {"a": '","guid":"forged","x":"', "b": '\n00000000 00000002 {}\n'},
    "cycle": cycle,
    "shared value": lambda: {"a": [shared := [1]], "b": shared},
    "hostile object": lambda: {"a": Hostile(), "b": [Hostile()], Hostile(): 1},
    "hostile dict": lambda: LoudDict(a=LoudDict(b=1)),
    "hostile list": lambda: {"a": LoudList([1, LoudList()])},
    "hostile exception": lambda: {"a": LoudError("x"), "exception": KeyError("y")},
    "dict subclasses": lambda: collections.OrderedDict(a=collections.defaultdict(int, b=1), c=collections.Counter("x")),
    "no dict but a mapping": lambda: {"a": types.MappingProxyType({"b": 1}), "c": collections.ChainMap({"d": 1})},
    "bytes": lambda: {"a": b"\xff\x00", "b": bytearray(b"x"), "c": memoryview(b"y")},
    "times": lambda: {"a": dt.datetime.now(dt.UTC), "b": dt.date.today(), "c": dt.timedelta(1), "d": dt.time(1)},
    "paths": lambda: {"a": pathlib.Path("/x"), "b": pathlib.PureWindowsPath("c:\\x")},
    "numbers of other kinds": lambda: {"a": decimal.Decimal("0.1"), "b": fractions.Fraction(1, 3), "c": 1j},
    "other values": lambda: {"a": {1}, "b": uuid.UUID(int=1), "c": ipaddress.ip_address("::1"), "d": Colour.RED},
    "functions": lambda: {"a": loud, "b": len, "c": Hostile, "d": types, "e": (x for x in []), "f": ...},
    "tuples": lambda: {"a": (1, (2,)), "b": Point(1, 2)},
    "257 fields": lambda: {f"f{n}": n for n in range(257)},
    "5,000 fields": lambda: {f"f{n}": [n] for n in range(5_000)},
    "5,000 marks": lambda: {"a": [dt.date.min] * 5_000},
    "3,000 marks in as many fields": lambda: {f"f{n}": {1} for n in range(3_000)},
    "long text": lambda: {"a": "7 " * 100_000, "b": 1},
    "long text of many bytes": lambda: {"a": "\U0001f600" * 70_000},
    "long text whose first line is short": lambda: {"a": "\n" + "7" * 2_000_000},
    "text that json makes long": lambda: {"a": '"' * 40_000, "b": "\x00" * 65_000},
    "long text with a surrogate": lambda: {"a": "7 " * 100_000 + "\ud800"},
    "long list": lambda: {"a": list(range(20_000))},
    "many long values": lambda: {f"f{n}": "7 " * 40_000 for n in range(20)},
    "long key": lambda: {"k" * 2_000_000: 1, "k" * 3_000_000: 2},
    "many long keys": lambda: {f"{n}" + "k" * 1000: n for n in range(300)},
}  # fmt: skip


def unmarked(sent, got, path, marked):
    """Yield every place at which the two differ and no mark says so."""
    if path in marked:
        return
    if isinstance(sent, dict):
        pairs = list(dict.items(sent))
        assert isinstance(got, dict)
        assert len(got) == len(pairs)
        for (key, value), (name, copied) in zip(pairs, got.items(), strict=True):
            here = f"{path}.{name}" if path else name
            if not (type(key) is str and key == name) and here not in marked:
                yield here
            yield from unmarked(value, copied, here, marked)
    elif isinstance(sent, (list, tuple)):
        values = list(list.__iter__(sent) if isinstance(sent, list) else sent)
        assert len(got) == len(values)
        for index, (value, copied) in enumerate(zip(values, got, strict=True)):
            yield from unmarked(value, copied, f"{path}.{index}", marked)
    elif type(sent) is not type(got) or sent != got or repr(sent) != repr(got):
        yield path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_s2_what_comes_back_is_equal_or_marked(name, spool):
    sent = DOCUMENTS[name]()
    assert spools.append("shout", GUID, sent, source="test") == spools.QUEUED
    assert spools.append("shout", GUID, {"behind": 1}, source="test") == spools.QUEUED
    found = read_spool(spool)
    assert found.damage == {}
    whole, behind = joined(found.records)
    assert behind.body == {"behind": 1}
    assert (whole.kind, whole.guid, whole.source) == ("shout", GUID, "test")
    marks = whole.body.pop("_marks", [])
    assert not [mark for mark in marks if mark["was"] in {"long", "long json"}], "a piece is missing"
    assert list(unmarked(sent, whole.body, "", {mark["path"] for mark in marks})) == []


def test_s2_there_are_forty_hazards_and_more():
    assert len(DOCUMENTS) >= 40


def test_s2_what_is_json_carries_no_mark(spool):
    plain = [
        *("empty", "depth 64", "nul", "above 2^53", "2^63", "json in a string", "fields of ours", "long text"),
        *("long list", "text that json makes long", "long text whose first line is short", "many long keys"),
    ]
    for name in plain:
        spools.append("shout", GUID, DOCUMENTS[name](), source="test")
    found = list(joined(read_spool(spool).records))
    assert [record.body == DOCUMENTS[name]() for name, record in zip(plain, found, strict=True)] == [True] * len(plain)


@pytest.mark.parametrize("text", ["guid\n1234567890", 'guid"1234567890', "guid\ud8001234567890", "ü" * 4096])
def test_s2_a_guid_and_a_source_may_be_any_text(text, spool):
    spools.append("log", text, {}, source=text)
    [record] = read_spool(spool).records
    assert record.guid == record.source == text.encode("utf-8", "backslashreplace").decode()
    assert segment_of(record.id)
