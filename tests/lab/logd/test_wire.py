from __future__ import annotations

import json

import msgspec
import pytest

from ave import record as records
from ave.lab.logd import wire
from tests.lab.logd.segments import fields, name

DEEP = {"a": 1}
for _ in range(200):
    DEEP = {"a": DEEP}


def test_it_decodes_what_the_job_side_decodes():
    for body in ({}, {"ä": [1, 2.5, None, True, "\x00"]}, {"n": 2**64 - 1, "m": -(2**63)}, DEEP):
        payload = json.dumps(fields(7, body=body))
        record = wire.decode(payload.encode())
        assert record == records.decode(payload)
        head = wire.head(payload.encode())
        assert {**msgspec.structs.asdict(head), "body": json.loads(bytes(head.body))} == record.as_dict()


@pytest.mark.parametrize("decode", [wire.decode, wire.head])
@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps(fields(1))[:-1].encode(),
        json.dumps({**fields(1), "more": 1}).encode(),
        json.dumps({**fields(1), "time": "1"}).encode(),
        json.dumps({**fields(1), "time": 1.5}).encode(),
        json.dumps({**fields(1), "body": []}).encode(),
        json.dumps({**fields(1), "guid": None}).encode(),
        json.dumps({**fields(1), "guid": "\ud800"}).encode(),
        json.dumps({**fields(1), "body": {"x": float("nan")}}).encode(),
        json.dumps({**fields(1), "body": {"x": "y"}}).encode().replace(b"y", b"\xff"),
        json.dumps({**fields(1), "body": {"x": "y"}}).encode().replace(b'"y"', b'"\\ud800"'),
        json.dumps(fields(1)).replace('{"n": 1}', "[" * 100_000).encode(),
        *(
            json.dumps({**fields(1), "id": odd}).encode()
            for odd in ("", "1", f"{name()}", f"{name()}-", f"{name()}-01")
        ),
        *(json.dumps({**fields(1), "id": f"{name()}{odd}"}).encode() for odd in ("-0", "--1", "-1 ", "-" + "9" * 19)),
    ],
)
def test_what_is_no_record_is_a_value_error(odd, decode):
    with pytest.raises(ValueError, match="not a record"):
        decode(odd)
