"""`ave measurements`: the figures of a run, table by table."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from ave.exceptions import UsageError
from ave.lab.cli import guids
from ave.lab.cli.context import No, Run, as_json_option, pass_run, warn
from ave.lab.cli.output import Screen, clock, columns, day, many, one_line, safe, write_json
from ave.lab.query import story
from ave.record import Query, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["COMMANDS"]

#: Characters of a cell that are shown.
CELL = 40

#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command()
@click.argument("guid", shell_complete=guids.complete)
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Only this table; may be given again.")
@click.option("--csv", "as_csv", is_flag=True, help="Write one table as CSV.")
@as_json_option
@pass_run
def measurements(run: Run, guid: str, tables: tuple[str, ...], as_csv: bool, as_json: bool) -> None:
    """Show what was measured in a run, table by table.

    \b
    Examples:
      ave measurements 20261122-nightly-17
      ave measurements 20261122-nightly-17 --table boots --csv > boots.csv

    With --json, one record per line, as they were made. No measurements: exit code 1.
    """
    if as_csv and as_json:
        raise UsageError("either --csv or --json")
    with run.stores() as stores:
        found = story(stores.find(Query(guid=guid, kinds=("measurement",))))
        records = (record for record in found if not tables or record.body.get("table") in tables)
        if as_json:
            count = write_json(records)
        else:
            made = _tables(records)
            count = sum(len(table.rows) for table in made)
            _write_csv(made) if as_csv else _write_text(made)
        warn(stores)
    if not count:
        where = f"{guid} in {' or '.join(tables)}" if tables else guid
        raise No(f"nothing was measured in {where}; `ave audit {guid}` tells whether something of it waits")


class _Table:
    """The rows of one table, and what is known of its columns."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns: dict[str, dict[str, Any]] = {}
        self.rows: list[tuple[Record, dict[str, Any]]] = []

    def add(self, record: Record) -> None:
        declared = record.body.get("columns")
        row = record.body.get("row")
        content = row if isinstance(row, dict) else {"row": row}
        for column in content:
            self.columns.setdefault(column, {})
        for column, about in (declared if isinstance(declared, dict) else {}).items():
            self.columns[column] = about if isinstance(about, dict) else {}
        self.rows.append((record, content))

    def cells(self) -> Iterator[list[Any]]:
        for _, row in self.rows:
            yield [row.get(column) for column in self.columns]


def _tables(records: Iterable[Record]) -> list[_Table]:
    tables: dict[str, _Table] = {}
    for record in records:
        name = str(record.body.get("table", ""))
        tables.setdefault(name, _Table(name)).add(record)
    return list(tables.values())


def _write_text(tables: list[_Table]) -> None:
    screen = Screen()
    for number, table in enumerate(tables):
        screen.text(("\n" if number else "") + f"{one_line(table.name)}: {many(len(table.rows), 'row')}", "bold")
        heads = ["time", "host", *(_head(name, about) for name, about in table.columns.items())]
        lines: list[list[object]] = [list(heads)]
        for (record, _), cells in zip(table.rows, table.cells(), strict=True):
            when = f"{day(record.time)} {clock(record.time)}"
            lines.append([when, safe(record.host), *map(_shown, cells)])
        for line in columns(lines):
            screen.text(line)


def _head(name: str, about: dict[str, Any]) -> str:
    unit, better = about.get("unit"), about.get("better")
    notes = ", ".join(filter(None, [str(unit) if unit else "", f"{better} is better" if better else ""]))
    return safe(one_line(f"{name} ({notes})" if notes else name, CELL))


def _shown(value: Any) -> object:
    if value is None:
        return ""
    if type(value) is int:
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return safe(one_line(text, CELL))


def _write_csv(tables: list[_Table]) -> None:
    if len(tables) > 1:
        names = ", ".join(repr(table.name) for table in tables[:20])
        raise UsageError(f"CSV has room for one table: give --table with one of {names}")
    for table in tables:
        writer = csv.writer(sys.stdout)
        writer.writerow(map(_cell, ["guid", "time", "host", "id", *table.columns]))
        for (record, _), cells in zip(table.rows, table.cells(), strict=True):
            writer.writerow(map(_cell, [record.guid, record.time, record.host, record.id, *cells]))


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        # an apostrophe makes text of what a spreadsheet would carry out
        return f"'{value}" if value.startswith(_FORMULA) else value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) else value


COMMANDS = (measurements,)
