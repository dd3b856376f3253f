"""Records of calls: made of the texts in the messages, they say what the long way says."""

from __future__ import annotations

import json
import random

import pytest

from ave.network import messages
from ave.network.codec import decode, encode, text_of
from ave.network.records import Trace, _begin_of
from ave.record import plain
from ave.redact import redact
from ave.spool import is_ready
from ave.spool.bodies import encode as encode_body

SPAN, PARENT = "0123456789abcdef", "fedcba9876543210"


def request(vargs, kwargs, **more):
    """Return a request as a client of ours makes it: its text, and what it says."""
    blob = {"method": "echo", "params": {"vargs": vargs, "kwargs": kwargs}, "id": 7}
    blob |= more
    return encode(blob).decode(), blob


def trace(vargs, kwargs, result, side="client"):
    text, blob = request(vargs, kwargs, guid="a-run-of-the-tests", traceparent=f"00-{'1' * 32}-{SPAN}-01")
    answer = encode({"result": result, "id": 7})
    return Trace(side, "127.0.0.1:4", SPAN, PARENT, 0.00012345, "ok", text.encode(), blob, answer, decode(answer))


def test_arguments_are_found_in_every_request_of_ours():
    for more in ({}, {"guid": 'a "run" of ä\u2028'}, {"resource": {"a": [1]}}, {"async": True}, {"traceparent": "x"}):
        text, blob = request([1, {"a": "b"}], {"c": [None]}, **more)
        del blob["params"]
        assert messages.args_in(text, blob, '{"c":[null]}') == '[[1,{"a":"b"}],{"c":[null]}]'


VALUES = [
    *(None, True, 0, -1, 1.5, 2**63, 2**64, -(2**64), 10**18, "", "text", "a\nb", "\\", '"', "ä", "\ud800"),
    *("hunter2", "password=hunter2", "Bearer abcdefgh12345", "x" * 200, [], {}, [[]], {"a": {"b": [1, "x"]}}),
    *({"password": "hunter2"}, ["--token", "hunter2"], [["password", "hunter2"]], {"env": {"EDITOR": "vi"}}),
    *({"name": "token", "value": "hunter2"}, '],"kwargs":{}},"id":7', '","id":7}', {"kwargs": {}}),
    *({"result": 1, "id": 7}, {"params": {"vargs": [1], "kwargs": {}}, "async": False, "id": 7}, {"1": 2}, b"\xff"),
]


def test_the_short_way_says_what_the_long_way_says():
    rnd = random.Random(11)
    short = 0
    for _ in range(4000):
        vargs = rnd.sample(VALUES, rnd.randint(0, 2))
        kwargs = {f"k{n}": rnd.choice(VALUES) for n in range(rnd.choice((0, 0, 1, 2)))}
        side = rnd.choice(("client", "server"))
        record = trace(vargs, kwargs, rnd.choice(VALUES), side)
        short += record._values() is not None
        assert json.loads(record()) == json.loads(record._whole())
    assert short > 300


def test_no_secret_gets_through_the_short_way():
    for value in ("password=hunter2", {"password": "hunter2"}, ["--token", "hunter2"], [["password", "hunter2"]]):
        for record in (trace([value], {}, 1), trace([], {"a": value}, 1), trace([], {}, value)):
            assert "hunter2" not in record()


def test_a_text_that_is_ready_is_changed_by_nothing():
    rnd = random.Random(12)
    ready = 0
    for _ in range(4000):
        value = {"a": rnd.choice(VALUES), rnd.choice(("b", "token", "k1", "env")): rnd.choice(VALUES)}
        text = text_of(value)
        if is_ready(text):
            ready += 1
            content = json.loads(text)
            assert plain(content) == (content, [])
            assert redact(content) == content
            assert json.loads(encode_body(content)) == content
    assert ready > 100


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {None: 1, "null": 2}, {True: 1, "true": 2}, {1.5: 1, "1.5": 2}])
def test_keys_that_json_makes_equal_never_stand_in_a_record_twice(value):
    for record in (trace([value], {}, 1), trace([{"deep": [value]}], {}, None)):
        body = json.loads(record(), object_pairs_hook=lambda pairs: pairs)
        assert "there twice" in dict(body)["args"]


def test_arguments_are_not_taken_from_where_a_foreign_peer_put_something_else():
    text, blob = request([1], {})
    texts = [
        text.replace('"id":7}', '"id":7,"more":1}'),
        text.replace(',"id"', ',"more":{"x":1,"kwargs":{}},"id"'),
        text.replace('"vargs":[1]', '"vargs":[1],"more":[2]'),
        text.replace('{"method"', '{ "method"'),
        text.replace('{"method"', '{"resource":null,"method"'),
        text.replace('{"method"', '{"async":false,"method"'),
        '{"method":"echo","resource":null,"params":{"vargs":[{"x":{"kwargs":{}},"async":false}],"kwargs":{}},"id":7,"async":false}',
        '{"method":"echo","resource":null,"params":{"kwargs":{},"vargs":[{"x":{"kwargs":{}}}]},"async":false,"id":7}',
    ]
    for foreign in texts:
        said = decode(foreign.encode())
        record = Trace("server", "x:1", SPAN, "", 0.1, "ok", foreign.encode(), said, b'{"result":null}', {})
        assert record._values() is None
        assert json.loads(record())["args"][0] == decode(foreign.encode())["params"]["vargs"]
    assert messages.args_in(text, {key: value for key, value in blob.items() if key != "params"}, "{}") == "[[1],{}]"


@pytest.mark.parametrize(
    "answer",
    [
        b'{"result":1,"more":2,"id":7}',
        b'{"id":7,"result":1}',
        b'{"result": 1, "id": 7}',
        b'{"result":{"a":1} ,"id":7 }',
        b'{"result":"x\\",\\"id\\":7","id":8}',
    ],
)
def test_a_result_is_not_taken_from_where_a_foreign_peer_put_something_else(answer):
    text, blob = request([], {})
    reply = decode(answer)
    record = Trace("client", "x:1", SPAN, "", 0.1, "ok", text.encode(), blob, answer, dict(reply))
    assert json.loads(record())["result"] == reply["result"]
    assert "more" not in json.loads(record())


def test_the_begin_of_a_long_value_has_its_first_items_and_characters():
    value = {"a": "x" * 1000, "b": [1, 2, (3, {"c": b"y" * 1000})], **{f"k{n}": n for n in range(100)}}
    begin = _begin_of(value)
    assert begin["a"] == "x" * 128 + "... (1000 in all)"
    assert begin["..."] == "102 in all"
    assert begin["b"][:2] == [1, 2]
    assert len(json.dumps(begin)) < 1200


def test_of_a_long_message_nothing_is_held():
    text, blob = request(["x" * 2000], {})
    record = Trace("client", "x:1", SPAN, "", 0.1, "ok", text.encode(), blob, b'{"result":1,"id":7}', {"result": 1})
    assert json.loads(record())["args"] == [["x" * 128 + "... (2000 in all)"], {}]
    assert json.loads(record())["result"] == 1
    assert not hasattr(record, "_request")
