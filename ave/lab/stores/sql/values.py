"""Values and columns: which type a value asks for, what of it a column holds, and how it comes back.

A column holds a value or nothing (NULL), never a part of it or something near it; what is not held exactly is told by
the second answer of `held`, and the row then keeps the whole body besides.

Beside the types that can be declared there are two for columns that nobody has declared. `whole` is open: it holds the
whole numbers that `int` and `number` both hold exactly. The first value that it cannot hold decides, once for all hosts
(`decided`): for `int`, or for `number`, which holds whole numbers as ints and others as floats. So a host that has not
heard of the decision can go on: whatever it puts into a column that is `whole` to it fits into what that has become.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import BigInteger, Double, SmallInteger
from sqlalchemy.dialects import mysql

from ave.lab.stores.sql.schema import text_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.types import TypeEngine

__all__ = ["NUMBERS", "TYPES", "WHOLE", "back", "decided", "held", "inferred", "sql_name", "type_of"]

#: The words that numbers became which JSON does not have, as `ave.record.plain` writes them.
NUMBERS = re.compile(r"nan|-?inf|-?0x[0-9a-f]+")

#: The type that is still open.
WHOLE = "whole"

_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,47}")
_INT = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)


def sql_name(name: str, *, reserved: str = "ave_") -> str:
    """Return the identifier for a name: itself if it is plain and small, else one made of it that no other has."""
    if _PLAIN.fullmatch(name) and not name.startswith(reserved):
        return name
    letters = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
    begin = f"x_{letters}" if not letters[:1].isalpha() or letters.startswith(reserved) else letters
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{begin}_{digest}"


def type_of(value: Any) -> str:
    """Return the type that a column for this value has."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return WHOLE
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"


def inferred(kind: str) -> str:
    """Return the type of a column for which a type was inferred from some values, not declared."""
    return WHOLE if kind == "int" else kind


def decided(value: Any) -> str | None:
    """Return the type that a `whole` column gets for a value which it does not hold; None if none would hold that."""
    if type(value) is float:
        return "number"
    return "int" if type(value) is int and value in _INT else None


def held(kind: str, value: Any) -> tuple[Any, bool]:
    """Return what a column of a type holds of a value, None for nothing, and whether that is the value exactly."""
    return _HELD[kind](value)


def back(kind: str, kept: Any) -> Any:
    """Return the value that a column held exactly."""
    return _BACK[kind](kept)


def _bool(value: Any) -> tuple[Any, bool]:
    return (int(value), True) if isinstance(value, bool) else (None, False)


def _int(value: Any) -> tuple[Any, bool]:
    return (value, True) if type(value) is int and value in _INT else (None, False)


def _whole(value: Any) -> tuple[Any, bool]:
    return (value, True) if type(value) is int and value in _EXACT else (None, False)


def _number(value: Any) -> tuple[Any, bool]:
    if type(value) is float:
        # one that is whole would come back as an int
        return value, not value.is_integer()
    return _whole(value)


def _float(value: Any) -> tuple[Any, bool]:
    if type(value) is float:
        # SQLite forgets the sign of zero
        return value, value != 0.0 or math.copysign(1.0, value) > 0
    return (float(value), False) if type(value) is int and value in _EXACT else (None, False)


def _text(value: Any) -> tuple[Any, bool]:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # raises for what is no text
        return value, True
    return (None if value is None else msgspec.json.encode(value).decode()), False


def _json(value: Any) -> tuple[Any, bool]:
    return (None, False) if value is None else (msgspec.json.encode(value).decode(), True)


def _back_number(kept: Any) -> Any:
    return int(kept) if type(kept) is float and kept.is_integer() else kept


_HELD: dict[str, Callable[[Any], tuple[Any, bool]]] = {
    "bool": _bool,
    "int": _int,
    WHOLE: _whole,
    "number": _number,
    "float": _float,
    "text": _text,
    "json": _json,
}

_BACK: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int": int,
    # another host may have decided since this one has asked
    WHOLE: _back_number,
    "number": _back_number,
    "float": float,
    "text": str,
    "json": msgspec.json.decode,
}

#: type -> of the column.
TYPES: dict[str, Callable[[], TypeEngine[Any]]] = {
    "bool": lambda: SmallInteger().with_variant(mysql.TINYINT(1), "mysql", "mariadb"),
    "int": BigInteger,
    WHOLE: BigInteger,
    "number": Double,
    "float": Double,
    "text": text_type,
    "json": text_type,
}
