"""How a body is cut: no line too long, nothing lost at a border, no secret in a piece."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ave.record import Record, joined, plain
from ave.spool import bodies, frames

SECRET = "hunter2-and-more"


def records(body):
    """Return the records that a body becomes."""
    parts = list(bodies.parts(body))
    whole = [{"_continues": "s-1", **part} if number else part for number, part in enumerate(parts)]
    return [Record(f"s-{n}", "log", "g", 0, "h", 1, "t", part) for n, part in enumerate(whole, 1)]


def together(body):
    [record] = joined(records(body))
    return record.body


@pytest.mark.parametrize(
    "body",
    [
        {"a": 1, "b": "text", "c": None, "d": True, "e": 1.5},
        {"text": "x" * (bodies.VALUE_MAX - 20)},
        {"ö": "ü"},
        {"args": [[1, {"a": []}], {}], "result": {"deep": [None, True, 1.5, "x"]}},
        {"many": [{} for _ in range(bodies.CONTAINERS_MAX - 2)]},
    ],
    ids=lambda body: str(body)[:30],
)
def test_an_ordinary_body_takes_the_short_way(body):
    assert bodies.short(body) == bodies.encode(body)
    assert list(bodies.parts(body)) == [body]


@pytest.mark.parametrize(
    "body",
    [
        {"many": [{} for _ in range(bodies.CONTAINERS_MAX - 1)]},
        {"long": list(range(1000))},
        {"a": [(1,)]},
        {"a": [{1: 1}]},
        {"a": [{"password": SECRET}]},
        {"a": {"env": {"A": SECRET}}},
        {"a": [{"name": "password", "value": SECRET}]},
        {"a": ["\ud800"]},
        {"a": [2**64]},
        {1: 1},
        {"a": float("nan")},
        {"a": "\ud800"},
        {"\ud800": "a"},
        {"a": 2**64},
        {"a": b""},
        {"_marks": 1},
        {"password": SECRET},
        {"text": "x" * (bodies.VALUE_MAX + 1)},
        {"x" * (bodies.VALUE_MAX + 1): ""},
        {"a": '"' * (bodies.VALUE_MAX - 100)},
        {f"f{n}": n for n in range(257)},
        type("Mine", (dict,), {})(a=1),
    ],
    ids=lambda body: str(body)[:30],
)
def test_everything_else_does_not(body):
    assert bodies.short(body) is None
    assert together(body) is not None


WORDS = st.sampled_from(
    ["password", "env", "name", "value", "a", "http://u:p@h/x", "AKIAIOSFODNN7EXAMPLE", "--password", "A=b", SECRET]
)
VALUES = st.recursive(
    WORDS | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(WORDS, values, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_the_short_way_never_ends_elsewhere_than_the_long_one(body):
    text = bodies.short(body)
    assert text is None or [bodies.encode(part) for part in bodies.parts(body)] == [text]


@pytest.mark.parametrize("above", [-30, -9, -8, -1, 0, 1, bodies.WINDOW - bodies.VALUE_MAX + 1])
@pytest.mark.parametrize("pattern", ["x", "\n", "7 ", "ab\n", "é", '"'])
def test_a_text_of_any_length_comes_back(pattern, above):
    length = bodies.VALUE_MAX + above
    body = {"before": [1], "text": (pattern * length)[:length], "behind": {"a": 2}}
    assert together(body) == body


@pytest.mark.parametrize("begin", [0, 1, 5, 1023, 1024, 1025, 5000])
def test_a_first_window_of_any_length_loses_nothing(begin):
    body = {"text": "a" * begin + "\n" + "b" * (bodies.WINDOW + 5000)}
    assert together(body) == body


def test_no_line_is_longer_than_readers_take():
    hostile = {
        "text": "\x00" * 200_000,
        "quoted": '"\\' * 40_000,
        "wide": "\U0001f600" * 200_000,
        "k" * 100_000: 1,
        "marks": [b"\xff"] * 20_000,
        "deep": {"\x01" * 1000: {"\x02" * 1000: {"\x03" * 1000: [b""] * 100}}},
        **{f"{n}" + "\x00" * 1000: b"" for n in range(500)},
    }
    found = records(hostile)
    assert len(found) > 20
    assert max(len(bodies.encode(record.body).encode()) for record in found) < frames.LINE_MAX - 20_000
    whole = together(hostile)
    expected, marks = plain(hostile)
    assert [mark for mark in whole.pop("_marks") if mark["was"] != "long"] == marks
    assert whole == expected


def test_the_pieces_carry_length_and_digest_of_the_whole():
    text = "7 ö\n" * 100_000
    last = records({"text": text})[-1].body
    assert last["length"] == len(text)
    assert last["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_record_itself_holds_the_begin_and_says_that_it_is_one():
    head = records({"text": "7 " * 100_000, "list": list(range(50_000))})[0].body
    assert head["text"] == "7 " * 512
    assert head["list"].startswith("[0,1,2,")
    assert head["_marks"] == [{"path": "text", "was": "long"}, {"path": "list", "was": "long json"}]


def test_a_long_secret_is_masked_like_a_short_one():
    for body in ({"password": SECRET * 10_000}, {"a": {"password": SECRET * 10_000}}, {"password": [SECRET] * 10_000}):
        assert SECRET not in "".join(bodies.encode(record.body) for record in records(body))


@pytest.mark.parametrize("at", [bodies.WINDOW - 500, bodies.WINDOW - 10, bodies.VALUE_MAX - 10, bodies.WINDOW + 5])
@pytest.mark.parametrize(
    "secret",
    [
        f"postgres://user:{SECRET}@db/x",
        f"password={SECRET}",
        "-----BEGIN RSA PRIVATE KEY-----\n" + f"{SECRET}\n" * 40 + "-----END RSA PRIVATE KEY-----",
    ],
    ids=["url", "assignment", "key"],
)
def test_a_secret_at_a_border_of_a_long_text_is_masked(secret, at):
    line = "nothing to see here, go on\n"
    before = line * (at // len(line))
    body = {"text": f"{before}{secret}\n" + line * (bodies.VALUE_MAX // len(line))}
    assert SECRET not in "".join(bodies.encode(record.body) for record in records(body))


def test_text_that_changes_under_our_hands_is_no_error():
    class Changing:
        def __str__(self):
            body["more"] = body.get("more", 0) + 1
            return "changed"

    body = {"a": Changing(), **{f"f{n}": n for n in range(300)}}
    assert together(body)["a"] == "changed"
