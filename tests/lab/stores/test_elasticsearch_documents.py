"""What a record looks like in an index, and that nothing is lost on the way there and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ave.lab.stores.elasticsearch.documents import (
    UnstorableError,
    document,
    is_astray,
    month,
    plain_document,
    record_of,
)
from ave.lab.stores.elasticsearch.fields import FIELDS
from ave.record import KINDS
from tests.lab.stores.samples import GUID, SEGMENT, TIME, record

OWN = {"id": f"{SEGMENT}-1", "order": f"028{SEGMENT}-1", "time": TIME + 1, "host": "lab-1", "pid": 4711}


def shaped(*args, **fields):
    return json.loads(document(record(*args, **fields)))


def test_a_shout_has_its_keys_below_body():
    assert shaped(1, "shout", {"title": "flash", "steps": {"n": 1}}) == {
        "@timestamp": "2025-11-22T01:46:40.000000001Z",
        "guid": GUID,
        "ave": {**OWN, "kind": "shout", "source": "panotti"},
        "body": {"title": "flash", "steps": {"n": 1}},
    }


def test_the_fixed_fields_of_a_kind_are_below_its_name_and_others_below_body():
    body = {"name": "test_a", "result": "passed", "attempt": 1, "duration": 2.5, "properties": {"a": 1}, "mine": 3}
    made = shaped(1, "verdict", body)
    assert made["body"] == {"mine": 3}
    assert made["verdict"] == {name: value for name, value in body.items() if name != "mine"}


def test_a_request_has_the_shape_that_users_of_locust_know():
    body = {
        "type": "success",
        "payload": {"name": "/get", "response_time": 10.5, "mine": [1]},
        "source": "vm_1",
        "x": 1,
    }
    made = shaped(1, "request", body)
    assert {name: made[name] for name in ("type", "payload", "source")} == {
        "type": "success",
        "payload": {"name": "/get", "response_time": 10.5, "mine": [1]},
        "source": "vm_1",
    }
    assert made["ave"]["source"] == "panotti"
    assert made["body"] == {"x": 1}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("verdict", "duration", "fast"),
        ("verdict", "attempt", 1.5),
        ("verdict", "attempt", 2**64 - 1),
        ("verdict", "name", {"a": 1}),
        ("verdict", "properties", [1]),
        ("event", "status", True),
        ("log", "continued", 1),
        ("exception", "exception", "ValueError: no"),
        ("exception", "exception", {"type": 3}),
        ("request", "payload", {"name": ["/get"]}),
    ],
)
def test_a_value_that_a_field_cannot_take_is_among_the_others(kind, name, value):
    made = shaped(1, kind, {name: value})
    assert made["body"] == {name: value}
    assert kind not in made
    assert name not in made


def test_what_no_server_takes_as_users_keys_is_kept_aside():
    deep = {}
    for _ in range(30):
        deep = {"a": deep}
    made = shaped(1, "shout", {"long": "x" * 9000, "deep": deep, "short": 1})
    assert made["body"] == {"short": 1}
    assert made["raw"] == {"long": "x" * 9000, "deep": deep}


def test_a_long_text_stays_searchable_where_its_field_is_for_texts():
    assert shaped(1, "log", {"text": "x" * 60_000})["log"] == {"text": "x" * 60_000}


@pytest.mark.parametrize(
    ("time", "name"),
    [
        (0, "undated"),
        (946_684_799_999_999_999, "undated"),
        (946_684_800_000_000_000, "2000.01"),
        (1_795_305_600_000_000_000 - 1, "2026.11"),
        (1_796_083_199_999_999_999, "2026.11"),
        (1_796_083_200_000_000_000, "2026.12"),
        (4_102_444_800_000_000_000, "undated"),
        (-(2**63), "undated"),
    ],
)
def test_the_index_is_that_of_the_records_own_month(time, name):
    assert month(time) == name


@pytest.mark.parametrize(
    "bad", [record(1, time=2**63), record(1, body={"a": "\ud800"}), record(1, body={"a": object()})]
)
def test_what_no_index_can_hold_is_told(bad):
    with pytest.raises(UnstorableError, match=r"^no index can hold it: "):
        document(bad)


def test_a_time_that_has_nothing_to_do_with_the_id_is_noticed():
    begun = int(SEGMENT[:12], 16) * 1_000_000
    assert not is_astray(record(1, time=begun))
    assert not is_astray(record(1, time=begun + 300 * 86_400 * 10**9))
    assert is_astray(record(1, time=1))
    assert is_astray(record(1, time=begun + 500 * 86_400 * 10**9))


NAMES = st.one_of(st.sampled_from(sorted({name for forms in FIELDS.values() for name in forms})), st.text(max_size=8))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_body_comes_back_as_it_was(kind, body):
    sent = record(1, kind, body)
    for make in (document, plain_document):
        assert record_of(json.loads(make(sent))) == sent


def test_a_document_of_somebody_else_is_no_record():
    assert record_of({"title": "hello"}) is None
    assert record_of({"ave": {"kind": "shout"}}) is None
