"""Measurements: rows of figures for the tables of the lab's database, one record per row.

A table is declared in code or in a JSON file (columns, their types, units and which way is better), or inferred from
its first rows, which is told once on stderr. Nothing is rounded or cut on the way: what no column can hold exactly is
kept beside the row.
"""

from __future__ import annotations

import os

from ave import spool
from ave.exceptions import UsageError
from ave.record import GUID_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

__all__ = ["BETTER", "TYPES", "Table", "figure", "measure"]

#: The types of columns: Python's bool, int, float and str, and `json` for what has parts.
TYPES = ("bool", "int", "float", "text", "json")

#: Which way is better: how a change of a figure is judged.
BETTER = ("higher", "lower")

#: Rows from which a table's columns are inferred.
FIRST_ROWS = 20

#: Characters that the values of one row may have together, and characters of a name.
ROW_MAX = 60_000
NAME_MAX = 200

#: Above it, or below its negative, a float cannot hold every whole number.
_EXACT = 2**53

_TYPE_OF = {bool: "bool", int: "int", float: "float", str: "text", dict: "json", list: "json", tuple: "json"}

#: Tables whose columns were inferred, as told on stderr already.
_told: set[str] = set()


class Table:
    """A declared table.

    Args:
        name: of the table, up to 200 characters of any kind.
        columns: name -> its type, one of `TYPES`, or a dict of `type`, and perhaps `unit` (text) and `better` (one of
            `BETTER`).

    Raises:
        UsageError: names what is wrong with which column.

    Example:
        >>> boots = Table("boots", {"seconds": {"type": "float", "unit": "s", "better": "lower"}, "device": "text"})
    """

    __slots__ = ("columns", "name")

    def __init__(self, name: str, columns: Mapping[str, str | Mapping[str, str]]) -> None:
        self.name = _checked_name(name, "a table")
        self.columns = {_checked_name(key, name): _checked_column(name, key, what) for key, what in columns.items()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Table:
        """Read a table from a JSON file: {"table": name, "columns": {...}}; UsageError names file and fault."""
        import json  # noqa: PLC0415 - for those alone whose tables are in files

        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            return cls(content["table"], content["columns"])
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{os.fspath(path)}: cannot be read: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f'{os.fspath(path)}: must be {{"table": name, "columns": {{name: type}}}}') from error
        except UsageError as error:
            raise UsageError(f"{os.fspath(path)}: {error}") from error


def measure(
    table: str | Table,
    rows: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    guid: str,
    home: str | None = None,
    *,
    source: str = "report",
) -> int:
    """Emit a `measurement` record for each row.

    Args:
        table: a declared one, or the name of one whose columns are inferred from its first rows.
        rows: column -> value: a number, text, a boolean, None, or JSON of these. Rows need not have all columns; one
            that the table has not is a new column. They are taken as they come, a hundred at once.
        guid: the run, at least ten characters.
        home: as for `ave.home.find`.
        source: the `source` of the records.

    Returns:
        How many rows are kept.

    Raises:
        UsageError: a row or its table is wrong; names table, row, column and value. The rows before it are kept.
        SpoolError: the spool did not take all of them.
    """
    if not isinstance(guid, str) or len(guid) < GUID_MIN:
        raise UsageError(f"a GUID is a text of at least {GUID_MIN} characters, found {guid!r}")
    # one row, written without brackets
    given: Any = [rows] if hasattr(rows, "keys") else rows
    bodies = _Bodies(table if isinstance(table, Table) else Table(table, {}), given)
    spool.append_all("measurement", guid, bodies, source=source, home=home)
    if bodies.error:
        raise bodies.error
    return bodies.count


def figure(values: Mapping[str, Any], unit: str | None, better: str | None) -> Table:
    """Return the table of a single figure: `name=value` comes first, dimensions follow.

    Raises:
        UsageError: there is none, or it is no number.
    """
    if not values:
        raise UsageError("nothing to measure: give a table and rows, or a figure as name=value")
    name, value = next(iter(values.items()))
    number = _plain_number(value)
    if type(number) not in {int, float}:
        raise UsageError(f"{name}: the first of the names must be that of a figure, found {value!r:.100}")
    about = {"unit": unit, "better": better}
    # a figure that happens to be whole today is a float tomorrow, unless it is one that no float holds
    type_ = "float" if type(number) is float or abs(number) <= _EXACT else "int"
    columns = {name: {"type": type_, **{key: text for key, text in about.items() if text is not None}}}
    table = Table(name, columns)
    table.columns = {**_inferred([values]), **table.columns}
    return table


class _Bodies:
    """The bodies of rows, counted. Where a row is wrong they end, and the error is kept, as are those before it."""

    def __init__(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        self.count = 0
        self.error: UsageError | None = None
        self._table = table
        self._rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        table, rows = self._table, iter(self._rows)
        try:
            if table.columns:
                yield from self._made(rows, table.columns, table.columns)
                return
            first = [row for _, row in zip(range(FIRST_ROWS), rows, strict=False)]
            inferred = _inferred(first)
            if first:
                _tell(table.name, inferred)
            yield from self._made(first, inferred, {})
            yield from self._made(rows, {}, {})
        except UsageError as error:
            self.error = error

    def _made(
        self, rows: Iterable[Mapping[str, Any]], columns: dict[str, dict[str, Any]], declared: dict[str, dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Yield bodies, the first one with the columns: it comes to the store before the others."""
        name = self._table.name
        for row in rows:
            body: dict[str, Any] = {"table": name, "row": _checked(name, self.count + 1, row, declared)}
            if columns:
                body["columns"], columns = columns, {}
            self.count += 1
            yield body


def _checked(table: str, number: int, row: Mapping[str, Any], declared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    where = f"{table}, row {number}"
    if not hasattr(row, "keys"):
        raise UsageError(f"{where}: a row is a dict, column -> value, found {type(row).__name__}")
    made = {_checked_name(key, where): _plain_number(value) for key, value in row.items()}
    for key, value in made.items():
        if key in declared and value is not None:
            made[key] = _fitting(f'{where}, column "{key}"', declared[key]["type"], value)
    size = sum(len(value) if isinstance(value, str) else 20 for value in made.values())
    if size > ROW_MAX:
        raise UsageError(f"{where}: is longer than {ROW_MAX} characters; keep what is long as an artifact")
    return made


def _plain_number(value: Any) -> Any:
    """Make a number of what is one by another name: of numpy's, Decimal's, Fraction's."""
    if value is None or type(value) in _TYPE_OF:
        return value
    for way, make in (("__index__", int), ("__float__", float)):
        if hasattr(type(value), way):
            try:
                return make(value)
            except (TypeError, ValueError, OverflowError):
                break  # it is none after all
    return value


def _fitting(where: str, wanted: str, value: Any) -> Any:
    """Return a value as its column's type; whole numbers are floats, too, as long as they are the same as such."""
    found = _TYPE_OF.get(type(value), "text")
    if wanted in {found, "json"}:
        return value
    if wanted == "float" and found == "int" and abs(value) <= _EXACT:
        return float(value)
    raise UsageError(f"{where}: is declared {wanted}, found {value!r:.100} ({type(value).__name__})")


def _inferred(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    types: dict[str, str] = {}
    for row in rows:
        for key, value in row.items() if hasattr(row, "keys") else ():
            number = _plain_number(value)
            if number is not None:
                found = _TYPE_OF.get(type(number), "text")
                known = types.setdefault(key, found)
                if {known, found} == {"int", "float"}:
                    types[key] = "float"
    return {key: {"type": found, "inferred": True} for key, found in types.items() if isinstance(key, str)}


def _tell(table: str, columns: dict[str, dict[str, Any]]) -> None:
    if table in _told:
        return
    _told.add(table)
    shown = ", ".join(f"{name} {what['type']}" for name, what in columns.items())
    message = " ".join(f"ave.report: the columns of {table} are inferred: {shown}; declare them to be sure".split())
    try:
        os.write(2, message.encode("utf-8", "backslashreplace")[:2000] + b"\n")
    except OSError:
        pass  # stderr is closed or full: there is nobody left to tell


def _checked_name(name: Any, where: str) -> str:
    if isinstance(name, str) and 0 < len(name) <= NAME_MAX:
        return name
    raise UsageError(f"{where}: a name is a text of 1 to {NAME_MAX} characters, found {name!r:.100}")


def _checked_column(table: str, name: str, what: Any) -> dict[str, Any]:
    column = {"type": what} if isinstance(what, str) else dict(what) if hasattr(what, "keys") else {}
    where = f'{table}, column "{name}"'
    if column.get("type") not in TYPES:
        raise UsageError(f"{where}: its type must be one of {', '.join(TYPES)}, found {column.get('type')!r}")
    if "better" in column and column["better"] not in BETTER:
        raise UsageError(f"{where}: better must be one of {', '.join(BETTER)}, found {column['better']!r}")
    unknown = sorted(column.keys() - {"type", "unit", "better"})
    if unknown or not isinstance(column.get("unit", ""), str):
        raise UsageError(f"{where}: has type, unit (a text) and better, found {unknown or column['unit']!r}")
    return column
