"""S2: what JSON can be abused for ends the same way wherever it comes from: equal at the other end, or refused."""

from __future__ import annotations

import json
import math
import threading

import pytest
from wires import HANG_S, KEY, KEYS, Target, false_service, greet, shaken, soon

from ave import home as homes
from ave import spool
from ave.exceptions import AveException, ProtocolError, UsageError
from ave.lab.config import bootstrap
from ave.network import Control, RemoteControl
from ave.record import joined
from ave.testing import read_spool, wait_until

#: The text of a value that is no JSON, or no JSON to us.
REFUSED = {
    "65 levels": "[" * 65 + "]" * 65,
    "65 levels of objects": '{"a":' * 65 + "1" + "}" * 65,
    "100,000 levels": "[" * 100_000 + "]" * 100_000,
    "100,000 levels of objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "100,000 levels that are never closed": "[" * 100_000,
    "NaN": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "1e999": "1e999",
    "-1e999": "[-1e999]",
    "a long number that is too large": "1" * 400 + ".0",
    "an integer of 5,000 digits": "9" * 5_000,
    "an integer of a million digits": "9" * 1_000_000,
    "a negative one": "-" + "9" * 5_000,
    "a key twice": '{"guid":"a","guid":"b"}',
    "a key twice, once escaped": '{"guid":"a","\\u0067uid":"b"}',
    "a key twice, deep below": '[[{"x":{"a":1,"b":2,"a":1}}]]',
    "the empty key twice": '{"":1,"":1}',
    "a key twice among 100,000": "{" + ",".join(f'"{n}":0' for n in [*range(100_000), 99_999]) + "}",
    "a raw line feed in a string": '"a\nb"',
    "a raw NUL in a string": '"a\0b"',
    "a NUL": "\0",
    "a cut escape": '"\\u12"',
    "a leading zero": "01",
    "a plus": "+1",
    "a hexadecimal number": "0x10",
    "single quotes": "'a'",
    "a trailing comma": "[1,]",
    "a comment": "/* */ 1",
    "nothing": "[,]",
    "two values": "1 2",
    "a word": "undefined",
}

#: The text of a value that is JSON, however odd.
PASSED = {
    "60 levels": "[" * 60 + "]" * 60,
    "a thousand lists beside one another": json.dumps([[]] * 1000),
    "an integer over 2^53": "9007199254740993",
    "an integer of 4,300 digits": "9" * 4_300,
    "a float that becomes 0": "1e-999",
    "minus zero": "-0.0",
    "the largest float": "1.7976931348623157e308",
    "a float of 100,000 digits": "0." + "3" * 100_000,
    "a lone high surrogate": '"\\ud800"',
    "a lone low surrogate": '"\\udcff"',
    "two surrogates the wrong way round": '"\\udc00\\ud800"',
    "a pair": '"\\ud83d\\ude00"',
    "an escaped NUL": '"a\\u0000b"',
    "a NUL in a key": '{"\\u0000":1}',
    "a lone surrogate as key": '{"\\udcff":1}',
    "the empty key": '{"":1}',
    "a key that is __proto__": '{"__proto__":{"x":1}}',
    "separators of lines and of pages": '"\\u2028\\u2029\\u000c"',
    "no characters": '["\\ufffe","\\uffff","\\ufeff"]',
    "a value among blanks": b' \\t\\n["a"]'.decode("unicode_escape"),
    "100,000 keys": json.dumps({str(number): 0 for number in range(100_000)}),
}


def asked(connection, text):
    """Call echo with a value of this very text and return the reply."""
    connection.put(b'{"method":"echo","params":{"vargs":[%s],"kwargs":{}},"id":1}' % text.encode(), soon())
    return json.loads(bytes(connection.get(soon())))


def records(home, kind):
    """Return what the spool has of a kind."""
    return [record for record in joined(read_spool(homes.ave(str(home), "spool")).records) if record.kind == kind]


@pytest.fixture
def target(serve):
    return serve(Target, **KEYS)


# To the service


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_s2_a_request_with_what_is_no_json_is_malformed_and_the_connection_lasts(text, target):
    connection = shaken(target)
    [error] = asked(connection, text).values()
    assert error.startswith("malformed JSON: ")
    assert len(error) < 1100
    assert asked(connection, "[1]") == {"result": [1], "id": 1}
    connection.close()


@pytest.mark.parametrize("text", PASSED.values(), ids=PASSED.keys())
def test_s2_a_value_that_is_json_comes_back_equal(text, target):
    connection = shaken(target)
    expected = json.loads(text)
    result = asked(connection, text)["result"]
    assert result == expected
    assert repr(result) == repr(expected)  # -0.0, and the order of keys
    connection.close()


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_s2_what_is_no_utf_8_is_malformed(bad, target):
    connection = shaken(target)
    for text in (b'"' + bad + b'"', bad):
        connection.put(b'{"method":"echo","params":{"vargs":[%s],"kwargs":{}}}' % text, soon())
        assert b"malformed JSON" in bytes(connection.get(soon()))
    connection.close()


def test_s2_an_envelope_with_a_key_twice_is_malformed_whatever_the_key(target, call):
    connection = shaken(target)
    for key, value in (("method", '"seen"'), ("params", '{"vargs":[],"kwargs":{}}'), ("guid", '"another-guid"')):
        blob = '{"method":"do","guid":"guid-of-json","params":{"vargs":["it"],"kwargs":{}}'
        connection.put(f'{blob},"{key}":{value}}}'.encode(), soon())
        assert b"malformed JSON" in bytes(connection.get(soon()))
    assert call(target, KEY).seen() == []
    connection.close()


ODD = ["\udcff", "\0", "\ud800\udc00", "x" * 100_000, "", "\u202e", "9" * 5000, 10**4000, -0.0, [], {}, None, True]


@pytest.mark.parametrize("value", ODD, ids=[*map(str, range(len(ODD)))])
def test_s2_no_value_in_any_place_of_the_envelope_ends_more_than_the_call(value, target):
    connection = shaken(target)
    for key in ("method", "params", "id", "guid", "traceparent", "async", "resource", "more"):
        blob = {"method": "echo", "params": {"vargs": [1], "kwargs": {}}, "id": 1, key: value}
        if blob.get("async") is True:
            continue
        connection.put(json.dumps(blob).encode(), soon())
        reply = json.loads(bytes(connection.get(soon())))
        assert ("result" in reply) != ("exception" in reply)
    for text in ('"' + "x" * 10 + '"', "1", "[]", "null", '{"vargs":1,"kwargs":{}}', '{"kwargs":{},"vargs":[]}'):
        connection.put(b'{"method":"echo","params":%s}' % text.encode(), soon())
        assert "exception" in json.loads(bytes(connection.get(soon())))
    for name in ("self", "value", "", "\udcff", "__class__"):
        connection.put(
            json.dumps({"method": "echo", "params": {"vargs": [1], "kwargs": {name: value}}}).encode(), soon()
        )
        assert json.loads(bytes(connection.get(soon())))["exception"]["type"] == "TypeError"
    connection.close()


# To a client


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_s2_a_reply_with_what_is_no_json_is_an_error_and_the_next_call_works(text):
    texts = [text, "[1]"]

    def answer(connection):
        greet(connection)
        connection.get(soon())
        connection.put(b'{"result":%s}' % texts.pop(0).encode(), soon())

    with false_service(answer) as port, RemoteControl(("", port), KEY, HANG_S) as remote:
        with pytest.raises(ProtocolError, match="the reply is not JSON"):
            remote.echo()
        assert remote.echo() == [1]


def test_s2_a_reply_that_is_json_is_the_result():
    texts = [*PASSED.values()]

    def answer(connection):
        greet(connection)
        for number, text in enumerate(texts):
            connection.get(soon())
            connection.put(b'{"result":%s,"id":%d}' % (text.encode(), number), soon())

    with false_service(answer) as port, RemoteControl(("", port), KEY, HANG_S) as remote:
        for text in texts:
            assert remote.echo() == json.loads(text)


# From a client, from a service


class Hostile(dict):
    """A dict whose own methods fail."""

    def items(self):
        raise RuntimeError("no items")


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


def cycle():
    value = []
    value.append(value)
    return value


NO_JSON = {
    "NaN": lambda: math.nan,
    "infinity": lambda: [math.inf],
    "65 levels": lambda: nested(65),
    "100,000 levels": lambda: nested(100_000),
    "a cycle": cycle,
    "an integer of 5,000 digits": lambda: 10**5_000,
    "an object": object,
    "an object in a dict": lambda: {"a": object()},
    "a set": lambda: {1},
    "a generator": lambda: (number for number in ()),
    "a function": lambda: print,
    "a class": lambda: Control,
    "a lock": threading.Lock,
    "a dict whose items fail": lambda: Hostile(a=1),
    "what cannot be printed": Unprintable,
    "a key that is an object": lambda: {object(): 1},
    "a key that is NaN": lambda: {math.nan: 1},
}


@pytest.mark.parametrize("make", NO_JSON.values(), ids=NO_JSON.keys())
def test_s2_an_argument_that_is_no_json_is_never_sent(make, target, call):
    remote = call(target, KEY)
    with pytest.raises(UsageError, match="the arguments of do: OBJECT IS NOT JSON COMPATIBLE"):
        remote.do(make())
    assert remote.seen() == []


class Maker(Control):
    """Returns, and raises, what it is asked for."""

    @Control.rpc
    def alive(self):
        return True

    @Control.rpc
    def give(self, name):
        return NO_JSON[name]()

    @Control.rpc
    def fail(self, name):
        raise AveException({"message": "odd", "more": NO_JSON[name]()})

    @Control.rpc
    def fail_without_text(self, name):
        raise ValueError(NO_JSON[name]())


@pytest.mark.parametrize("is_traced", [False, True], ids=["untraced", "traced"])
def test_s2_a_result_that_is_no_json_is_an_exception_and_the_service_lives(is_traced, home, serve, call):
    bootstrap(str(home))
    with open(homes.ave(str(home), "config", "panotti.json"), "w") as file:
        json.dump({"enabled": True, "trace": is_traced}, file)
    homes.forget()
    remote = call(serve(Maker, home=str(home)))
    for name in NO_JSON:
        with pytest.raises(AveException, match="INTERNAL ERROR: OBJECT IS NOT JSON COMPATIBLE"):
            remote.give(name)
        with pytest.raises(AveException, match="INTERNAL ERROR: OBJECT IS NOT JSON COMPATIBLE"):
            remote.fail(name)
        with pytest.raises(AveException) as raised:
            remote.fail_without_text(name)
        assert raised.value.details["type"] == "ValueError"
        assert remote.give(name, __async__=True) is None
    assert remote.alive()
    if is_traced:
        wait_until(lambda: len(traces(home)) == 4 * len(NO_JSON) + 1)
    for body in traces(home):
        assert body["method"] == "alive" or (body["outcome"] == "exception") == (body["sent"] > 0)
        assert body["method"] == "alive" or "result" not in body


def traces(home):
    return [record.body for record in records(home, "trace") if record.body["side"] == "server"]


# What is kept of it


def test_s2_an_exception_of_odd_values_is_kept_equal_or_marked(home, target, call, monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", "guid-of-json")
    bootstrap(str(home))
    remote = call(target, KEY)
    details = [
        {"message": "\udcff\0\u202e", "type": "\ud800"},
        {"message": "m", "number": 10**4000, "small": 5e-324},
        {"message": "m", "deep": nested(50)},
        {"message": "m" * 100_000},
        {"message": "", "": "", "exception": {"guid": "another-guid"}},
        {"message": "m", "_marks": [], "_continues": "x"},
    ]
    for one in details:
        with pytest.raises(AveException) as raised:
            remote.fail(one)
        assert raised.value.details.items() >= one.items()
    spool.close()
    found = records(home, "exception")
    assert {record.guid for record in found} == {"guid-of-json"}
    assert len(found) == len(details)
    for one, record in zip(details, found, strict=True):
        marked = {mark["path"] for mark in record.body.get("_marks", ())}
        for key, value in one.items():
            assert record.body["exception"][key] == value or any(key in path for path in marked), (key, marked)


# Work that grows faster than the message

LONG = {
    "a key twice at the end": "{" + ",".join(f'"k{n}":0' for n in [*range(100_000), 99_999]) + "}",
    "a key twice at the begin": "{" + ",".join(f'"k{n}":0' for n in [0, *range(100_000)]) + "}",
    "lists": "[" + ",".join(["[]"] * 300_000) + "]",
    "lists in lists": "[" + ",".join(["[" * 50 + "]" * 50] * 5_000) + "]",
    "digits": "0." + "1" * 2_000_000,
    "escapes": '"' + "\\u0041" * 500_000 + '"',
    "brackets": "[" + "{" * 1_000_000,
    "signs": "-" * 1_000_000,
    "blanks": " " * 3_000_000 + "1",
    "quotes": '"' * 999_999,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_s2_no_long_message_occupies_the_service(text, target):
    connection = shaken(target)
    connection.put(b'{"method":"do","params":{"vargs":[%s],"kwargs":{}}}' % text.encode(), soon())
    assert bytes(connection.get(soon()))
    connection.close()
