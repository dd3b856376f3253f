"""Messages as JSON: what goes out comes back, or is refused by name."""

from __future__ import annotations

import json

import pytest

from ave.exceptions import FormatError
from ave.network.codec import decode, encode


def nested(levels, kind=list):
    value = kind()
    for _ in range(levels - 1):
        value = [value] if kind is list else {"k": value}
    return value


@pytest.mark.parametrize(
    "value",
    [None, True, 0, 1.5, "", "åäö ☃", "a\0b", "\ud800", 2**53 + 1, 2**64, -(2**70), [], {}, [1, [2]], {"a": {"b": []}}],
)
def test_what_json_can_say_comes_back_equal(value):
    assert decode(encode({"result": value})) == {"result": value}


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ((1, (2,)), [1, [2]]),
        (b"v\xff", "v�"),
        (bytearray(b"ok"), "ok"),
        ({b"k\xff": b"v\xff"}, {"k�": "v�"}),
        ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
    ],
)
def test_what_is_nearly_json_becomes_json(value, becomes):
    assert decode(encode({"result": value})) == {"result": becomes}


@pytest.mark.parametrize(
    "value",
    [object(), {1}, 1j, float("nan"), float("inf"), {"deep": [object()]}, {(1,): 2}, 10**5000],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_json_is_refused(value):
    with pytest.raises(FormatError, match="OBJECT IS NOT JSON COMPATIBLE: "):
        encode({"result": value})


def test_a_cycle_is_refused():
    value = []
    value.append(value)
    with pytest.raises(FormatError, match="nested deeper than 64 levels"):
        encode({"result": value})


@pytest.mark.parametrize("kind", [list, dict])
def test_sixty_four_levels_pass_and_one_more_does_not(kind):
    assert decode(encode(nested(64, dict))) == nested(64, dict)
    with pytest.raises(FormatError, match="nested deeper than 64 levels"):
        encode({"result": nested(64, kind)})
    with pytest.raises(FormatError, match="nested deeper than 64 levels"):
        decode(json.dumps(nested(65, kind)).encode())


def test_many_brackets_side_by_side_are_not_deep():
    value = {"result": [[{}] for _ in range(5000)]}
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"not json", "Expecting value"),
        (b"", "Expecting value"),
        (b'{"a":1} trailing', "Extra data"),
        (b'{"guid":"a","guid":"b"}', "the key 'guid' is there twice"),
        (b"NaN", "NaN is no number in JSON"),
        (b"[-Infinity]", "-Infinity is no number in JSON"),
        (b"1e999", "1e999 is too large a number"),
        (b"\xff", "invalid start byte"),
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b"1" * 5000, "4300 digits"),
    ],
)
def test_bad_text_is_refused_with_the_reason(text, why):
    with pytest.raises(FormatError, match=why):
        decode(text)


def test_a_message_is_ascii():
    assert encode({"result": "☃"}) == b'{"result":"\\u2603"}'
