"""The record: its fields, its JSON, and what becomes of a caller's values."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import math
import pathlib
import unittest.mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ave.record import (
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    NAME_MAX,
    RESERVED,
    Query,
    Record,
    decode,
    joined,
    plain,
    plain_items,
    segment_of,
    seq_of,
)

FIELDS = {
    "id": "0123456789abcdef0123456789-12",
    "kind": "shout",
    "guid": "guid-1234567890",
    "time": 17,
    "host": "lab",
    "pid": 4,
    "source": "test",
    "body": {"a": 1},
}


def record(**fields):
    return Record(**{**FIELDS, **fields})


# The record itself


def test_a_record_equals_another_with_the_same_fields_and_nothing_else():
    assert record() == record()
    assert record() != record(body={"a": 2})
    assert record() != record().as_dict()


def test_a_record_shows_all_its_fields():
    assert eval(repr(record()), {"Record": Record}) == record()
    assert list(record().as_dict()) == list(Record.FIELDS) == list(FIELDS)


def test_a_record_takes_no_other_attribute():
    with pytest.raises(AttributeError):
        record().kidn = "log"


def test_an_id_is_a_segment_and_a_number():
    assert segment_of(FIELDS["id"]) == "0123456789abcdef0123456789"
    assert seq_of(FIELDS["id"]) == 12


def test_an_empty_query_has_no_condition():
    query = Query()
    assert {getattr(query, name) for name in Query.__slots__} == {None, False, frozenset()}


# Decoding


def test_a_decoded_record_is_the_one_that_was_written():
    assert decode(json.dumps(FIELDS)) == decode(json.dumps(FIELDS).encode()) == record()


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        json.dumps({**FIELDS, "more": 1}),
        json.dumps({name: value for name, value in FIELDS.items() if name != "pid"}),
        *(json.dumps({**FIELDS, name: None}) for name in FIELDS),
        json.dumps({**FIELDS, "time": 1.0}),
        json.dumps({**FIELDS, "time": True}),
        json.dumps({**FIELDS, "body": {"x": math.nan}}),
        json.dumps({**FIELDS, "body": {"x": -math.inf}}),
        json.dumps({**FIELDS, "time": 0}).replace('"time": 0', '"time": ' + "9" * 5000),
        json.dumps(FIELDS).replace('{"a": 1}', '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        b"\xff",
    ],
)
def test_what_is_no_record_is_refused_with_a_value_error(payload):
    with pytest.raises(ValueError, match=r"."):
        decode(payload)


# A caller's values


class Loud(Exception):
    pass


def loud(*_, **__):
    raise Loud("no")


class Hostile:
    """Raises whatever is asked of it."""

    __str__ = __repr__ = __len__ = __bool__ = __iter__ = __eq__ = __getattr__ = __format__ = loud
    __hash__ = object.__hash__
    __class__ = property(loud)


class Moody(type):
    __name__ = property(loud)


class Nameless(metaclass=Moody):
    __str__ = loud


class LyingDict(dict):
    items = keys = values = __len__ = __iter__ = __contains__ = __getitem__ = get = copy = loud


class LyingList(list):
    __iter__ = __len__ = __getitem__ = copy = loud


class LyingStr(str):
    __str__ = __len__ = encode = isascii = __eq__ = loud
    __hash__ = str.__hash__


class LyingInt(int):
    __int__ = __index__ = __str__ = __le__ = __ge__ = __lt__ = __gt__ = loud


class LyingFloat(float):
    __float__ = __sub__ = __repr__ = __str__ = loud


class LyingBytes(bytes):
    __bytes__ = decode = __len__ = loud


class LyingText:
    def __str__(self):
        return LyingStr("said")


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Name(enum.StrEnum):
    ANNA = "anna"


CYCLE: dict = {}
CYCLE["again"] = [CYCLE]


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (INT_MAX, INT_MAX),
        (INT_MIN, INT_MIN),
        (1.5, 1.5),
        ("", ""),
        ("å€\U0001f600\x00\u2028\n", "å€\U0001f600\x00\u2028\n"),
        ([1, [2]], [1, [2]]),
        ((1, (2,)), [1, [2]]),
        ({"a": {"b": {}}}, {"a": {"b": {}}}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (LyingDict(a=1), {"a": 1}),
        (LyingList([1, 2]), [1, 2]),
        (LyingStr("text"), "text"),
        (LyingInt(7), 7),
        (LyingFloat(1.5), 1.5),
        (Level.HIGH, 3),
        (Name.ANNA, "anna"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_is_itself(value, becomes):
    body, marks = plain({"value": value})
    assert body == {"value": becomes}
    assert json.loads(json.dumps(body, allow_nan=False)) == body
    assert type(body["value"]) is type(becomes)
    assert marks == []


@pytest.mark.parametrize(
    ("value", "becomes", "was"),
    [
        (math.nan, "nan", "float"),
        (math.inf, "inf", "float"),
        (-math.inf, "-inf", "float"),
        (LyingFloat("inf"), "inf", "float"),
        (INT_MAX + 1, "0x10000000000000000", "int"),
        (INT_MIN - 1, "-0x8000000000000001", "int"),
        (10**5000, hex(10**5000), "int"),
        ("\ud800", "\\ud800", "surrogates"),
        ("back\\slash \udcff", "back\\\\slash \\udcff", "surrogates"),
        (b"bytes \xff", "bytes \\xff", "bytes"),
        (bytearray(b"b"), "b", "bytearray"),
        (LyingBytes(b"raw"), "raw", "LyingBytes"),
        (dt.datetime(2026, 11, 22, 1, 2, 3), "2026-11-22 01:02:03", "datetime"),
        (pathlib.PurePosixPath("/a/b"), "/a/b", "PurePosixPath"),
        (pathlib.PurePosixPath("/\udcff"), "/\\udcff", "PurePosixPath"),
        (ValueError("bad", 1), "ValueError: ('bad', 1)", "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt: ", "KeyboardInterrupt"),
        ({1}, "{1}", "set"),
        (Colour.RED, "Colour.RED", "Colour"),
        (1j, "1j", "complex"),
        (LyingText(), "said", "LyingText"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_else_becomes_a_string_and_is_marked(value, becomes, was):
    assert plain({"value": [value]}) == ({"value": [becomes]}, [{"path": "value.0", "was": was}])


@pytest.mark.parametrize("kind", [Hostile, Nameless], ids=["Hostile", "Nameless"])
def test_an_object_that_raises_whatever_it_is_asked_is_named(kind):
    name = type.__dict__["__name__"].__get__(kind)
    text = f"[unprintable {name}: Loud]"
    assert plain({"value": [kind()]}) == ({"value": [text]}, [{"path": "value.0", "was": name}])


def test_an_object_that_only_looks_like_a_string_is_none():
    mock = unittest.mock.Mock(spec=str)
    assert isinstance(mock, str)
    body, marks = plain({"value": mock})
    assert body["value"].startswith("<Mock spec='str'")
    assert marks == [{"path": "value", "was": "Mock"}]


def test_a_cycle_ends_where_it_closes():
    body, marks = plain(CYCLE)
    assert body == {"again": ["[cycle]"]}
    assert marks == [{"path": "again.0", "was": "cycle"}]


def test_the_same_value_twice_is_no_cycle():
    shared = [1]
    assert plain({"a": shared, "b": shared}) == ({"a": [1], "b": [1]}, [])


@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 100_000])
def test_what_lies_too_deep_is_dropped_and_marked(depth):
    deep: list = []
    for _ in range(depth):
        deep = [deep]
    body, marks = plain({"deep": deep})
    assert json.dumps(body).count("[") == DEPTH_MAX
    assert marks == [{"path": "deep" + ".0" * (DEPTH_MAX - 1), "was": "depth"}]


def test_levels_up_to_the_limit_are_kept():
    deep: dict = {}
    for _ in range(DEPTH_MAX - 1):
        deep = {"a": deep}
    assert plain(deep) == (deep, [])


@pytest.mark.parametrize(
    ("body", "becomes", "marks"),
    [
        ({1: "a", "1": "b"}, {"1'": "a", "1": "b"}, ["int"]),
        ({1.5: "b", None: "c", "None": "d"}, {"1.5": "b", "None'": "c", "None": "d"}, ["float", "NoneType"]),
        ({"1'": "a", 1: "b", "1": "c"}, {"1'": "a", "1'2": "b", "1": "c"}, ["int"]),
        ({b"k": 1, "k": 2}, {"k'": 1, "k": 2}, ["bytes"]),
        ({"\ud800": 1, "\\ud800": 2}, {"\\ud800'": 1, "\\ud800": 2}, ["surrogates"]),
        ({(1, 2): 1}, {"(1, 2)": 1}, ["tuple"]),
        ({"_marks": 1, "_marks'": 2}, {"_marks'2": 1, "_marks'": 2}, ["reserved"]),
        ({"_continues": 1}, {"_continues'": 1}, ["reserved"]),
        ({"in": {"_marks": 1}, "": {"_marks": 2}}, {"in": {"_marks": 1}, "": {"_marks": 2}}, []),
        ({"kå": {"kö": 1}}, {"kå": {"kö": 1}}, []),
        ({LyingStr("key"): 1}, {"key": 1}, []),
        ({Name.ANNA: 1}, {"anna": 1}, []),
        ({"x" * (NAME_MAX + 1): 1}, {"x" * NAME_MAX: 1}, ["long key"]),
        ({"x" * 2000: 1, "x" * 3000: 2}, {"x" * NAME_MAX: 1, "x" * NAME_MAX + "'": 2}, ["long key", "long key"]),
    ],
)  # fmt: skip
def test_keys_become_strings_that_differ(body, becomes, marks):
    made, made_marks = plain(body)
    assert made == becomes
    assert [mark["was"] for mark in made_marks] == marks
    assert {mark["path"] for mark in made_marks} <= set(made)
    assert json.loads(json.dumps(made)) == made


def test_keys_that_raise_become_strings_too():
    body, marks = plain({Hostile(): 1, Hostile(): 2, Nameless(): 3})
    assert body == {
        "[unprintable Hostile: Loud]": 1,
        "[unprintable Hostile: Loud]'": 2,
        "[unprintable Nameless: Loud]": 3,
    }
    assert [mark["was"] for mark in marks] == ["Hostile", "Hostile", "Nameless"]


def test_very_many_equal_keys_take_no_quadratic_time():
    class Same:
        def __str__(self):
            return "same"

    body, _ = plain({Same(): n for n in range(20_000)})
    assert len(body) == 20_000
    assert body["same'19999"] == 19_999


def test_a_dict_that_changes_while_it_is_read_is_no_error():
    class Growing:
        def __str__(self):
            body[object()] = 1
            return "grew"

    body = {"a": Growing(), "b": Growing(), "c": 3}
    assert plain(body)[0] == {"a": "grew", "b": "grew", "c": 3}
    marks: list = []
    assert dict(plain_items(body, marks)) == {"a": "grew"}
    assert marks[-1] == {"path": "", "was": "changed meanwhile"}


def test_the_callers_body_stays_as_it_was():
    body = {"list": [{"a": (1, 2)}], 1: b"x", "_marks": {}}
    before = repr(body)
    plain(body)
    assert repr(body) == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
leaves = (
    st.floats() | st.integers() | st.binary() | st.text(st.characters()) | st.datetimes() | st.builds(Loud, st.text())
)
any_values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.binary() | st.floats() | st.none(), inner)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=50).filter(lambda key: key not in RESERVED), json_values))
def test_json_is_itself_whatever_it_is(body):
    assert plain(body) == (body, [])


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text() | st.integers(), any_values))
def test_whatever_comes_json_with_as_many_fields_goes(body):
    made, marks = plain(body)
    assert len(made) == len(body)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert json.dumps(made, ensure_ascii=False).encode()
    assert all(set(mark) == {"path", "was"} for mark in marks)


# Long bodies


def piece(number, **body):
    return record(id=f"{'0' * 26}-{number}", body=body)


def test_a_body_comes_together_from_its_pieces():
    head = piece(1, a=1, b="be", _marks=[{"path": "b", "was": "long"}, {"path": "x", "was": "int"}])
    more = [
        piece(2, _continues=head.id, fields={"c": "[1,"}, _marks=[{"path": "c", "was": "long json"}]),
        piece(3, _continues=head.id, path="b", offset=2, text="gin"),
        piece(4, _continues=head.id, path="b", offset=5, text="ning", length=9, sha256=""),
        piece(10, _continues=head.id, path="c", offset=3, text="2]", length=5, sha256=""),
    ]
    whole = piece(1, a=1, b="beginning", c=[1, 2], _marks=[{"path": "x", "was": "int"}])
    other = piece(99, d=4)
    assert list(joined([head, *more, other])) == [whole, other]
    assert list(joined([*reversed(more), other, head])) == [other, whole]
    assert list(joined([head, *more, *more, head, other])) == [whole, other]


def test_a_missing_piece_leaves_the_mark():
    head = piece(1, a="be", _marks=[{"path": "a", "was": "long"}])
    last = piece(4, _continues=head.id, path="a", offset=5, text="ning", length=9, sha256="")
    assert list(joined([head, last])) == [piece(1, a="bening", _marks=[{"path": "a", "was": "long"}])]
    assert list(joined([head])) == [head]


def test_pieces_without_their_head_pass_in_their_place():
    stray = piece(5, _continues="somewhere-1", path="a", offset=0, text="x")
    before, behind = piece(1, a=1), piece(7, a=2)
    assert list(joined([before, stray, behind])) == [before, stray, behind]


def test_lists_that_hold_the_next_one_twice_do_not_grow_without_bound():
    nested = ["end"]
    for _ in range(40):
        nested = [nested, nested]
    whole, marks = plain({"nested": nested})
    assert marks
    assert {mark["was"] for mark in marks} == {"repeats"}
    assert len(json.dumps(whole)) < 10_000_000
