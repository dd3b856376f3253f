"""The fixed fields of each kind, what type each has in an index, and which values fit that type.

An index has these fields and no others, so no body, however strange, can make it grow: what users name themselves
is one field with many keys inside, and what fits no field is kept without being searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DETAILS", "FIELDS", "PAYLOAD", "fits", "fits_keys", "is_small"]

#: Types: `name` is text, and as a whole below `.keyword`; `word` as a whole only; `keys` is an object of users' keys;
#: `details` an exception as an object; `kept` is there but not searched. `payload` is that of a request.
FIELDS: dict[str, dict[str, str]] = {
    "shout": {},
    "exception": {"exception": "details", "method": "name", "peer": "name", "span": "word"},
    "trace": {
        "method": "name",
        "peer": "name",
        "side": "word",
        "span": "word",
        "parent": "word",
        "duration": "real",
        "sent": "whole",
        "received": "whole",
        "outcome": "word",
    },
    "stderr": {"stream": "word", "text": "text", "file": "name", "offset": "whole", "continued": "flag"},
    "log": {"stream": "word", "text": "text", "file": "name", "offset": "whole", "continued": "flag"},
    "event": {
        "name": "name",
        "exe": "name",
        "log": "name",
        "work": "name",
        "result": "name",
        "outcome": "word",
        "other": "word",
        "relation": "word",
        "status": "whole",
        "duration": "real",
    },
    "verdict": {
        "suite": "name",
        "name": "name",
        "result": "name",
        "attempt": "whole",
        "duration": "real",
        "message": "text",
        "trace": "text",
        "start": "date",
        "properties": "keys",
        "file": "name",
        "line": "whole",
        "origin": "word",
    },
    "measurement": {"table": "name", "row": "keys", "columns": "keys"},
    "artifact": {
        "op": "word",
        "key": "name",
        "path": "name",
        "size": "whole",
        "sha256": "word",
        "type": "name",
        "staged": "word",
        "offset": "whole",
        "meta": "keys",
    },
    "request": {"type": "name", "payload": "payload", "source": "name"},
    "metric": {"source": "name", "interval": "real", "values": "keys"},
    "gap": {
        "segment": "word",
        "first": "whole",
        "last": "whole",
        "count": "whole",
        "kinds": "keys",
        "reason": "word",
    },
}

#: An exception that is an object.
DETAILS = {"type": "name", "message": "text", "trace": "kept"}

#: The payload of a request: one of Locust's messages, or one entry of its statistics. Others are kept, not searched.
PAYLOAD = {
    "request_type": "name",
    "name": "name",
    "method": "name",
    "result": "name",
    "response_time": "real",
    "response_length": "whole",
    "exception": "text",
    "other": "keys",
    "last_request_timestamp": "real",
    "start_time": "real",
    "num_requests": "whole",
    "num_none_requests": "whole",
    "num_failures": "whole",
    "total_response_time": "real",
    "max_response_time": "real",
    "min_response_time": "real",
    "total_content_length": "whole",
    "response_times": "kept",
    "num_reqs_per_sec": "kept",
    "num_fail_per_sec": "kept",
}

#: Bytes of JSON and levels of nesting with which an object of users' keys is surely taken: a server refuses a key with
#: its value from 32,766 bytes on, and Elasticsearch an object of more than 20 levels.
SMALL_BYTES = 8000
SMALL_LEVELS = 18

_LONG = range(-(2**63), 2**63)


def fits(form: str, value: Any) -> bool:
    """Tell whether an index takes `value` in a field of this type."""
    return value is None or _FITS[form](value)


def fits_keys(value: Any) -> bool:
    """Tell whether a value, with all that is in it, can be one of the users' keys."""
    return is_small(msgspec.json.encode(value))


def is_small(text: bytes) -> bool:
    """Tell of JSON, without looking into it, whether it surely has no long values and no deep nesting."""
    return len(text) <= SMALL_BYTES and text.count(b"{") + text.count(b"[") <= SMALL_LEVELS


def _all_fit(value: Any, forms: dict[str, str]) -> bool:
    return type(value) is dict and all(name not in forms or fits(forms[name], item) for name, item in value.items())


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_whole(value: Any) -> bool:
    return type(value) is int and value in _LONG


_FITS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "word": _is_text,
    "text": _is_text,
    "flag": lambda value: type(value) is bool,
    "whole": _is_whole,
    "real": lambda value: type(value) is float or _is_whole(value),
    "date": lambda value: type(value) is str or _is_whole(value),
    "keys": lambda value: type(value) is dict and fits_keys(value),
    "kept": lambda _value: True,
    "details": lambda value: _all_fit(value, DETAILS),
    "payload": lambda value: _all_fit(value, PAYLOAD),
}
