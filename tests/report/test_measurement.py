"""Rows of figures become records: what is declared, what is inferred, what is refused, and that nothing is rounded."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest

from ave import home as homes
from ave import spool
from ave.exceptions import UsageError
from ave.report import measurement
from ave.report.measurement import Table, measure
from ave.testing import read_spool
from ave.workspace import Workspace

GUID = "guid-of-the-run"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    monkeypatch.setattr(measurement, "_told", set())
    return tmp_path


@pytest.fixture
def workspace(tmp_path):
    return Workspace(config={"root": str(tmp_path / "workspaces")})


def kept(home):
    spool.close()
    found = read_spool(homes.ave(str(home), "spool")).records
    assert {(record.kind, record.guid) for record in found} <= {("measurement", GUID)}
    return [record.body for record in found]


def test_each_row_is_a_record_and_the_first_brings_the_declared_columns(home):
    table = Table("boots", {"seconds": {"type": "float", "unit": "s", "better": "lower"}, "device": "text"})
    assert measure(table, [{"seconds": 31.5, "device": "yuga"}, {"seconds": 30}], GUID) == 2
    columns = {"seconds": {"type": "float", "unit": "s", "better": "lower"}, "device": {"type": "text"}}
    assert kept(home) == [
        {"table": "boots", "row": {"seconds": 31.5, "device": "yuga"}, "columns": columns},
        {"table": "boots", "row": {"seconds": 30.0}},
    ]


def test_columns_are_inferred_from_the_first_rows_and_that_is_told_once(home, capfd):
    rows = [{"a": 1, "b": "x"}, {"a": 2.5, "c": True}, {"d": None, "e": [1]}]
    assert measure("boots", rows, GUID) == 3
    measure("boots", rows, GUID)
    types = {"a": "float", "b": "text", "c": "bool", "e": "json"}
    inferred = {name: {"type": kind, "inferred": True} for name, kind in types.items()}
    assert kept(home)[0]["columns"] == inferred
    assert capfd.readouterr().err == (
        "ave.report: the columns of boots are inferred: a float, b text, c bool, e json; declare them to be sure\n"
    )


def test_rows_behind_the_first_ones_are_taken_as_they_come(home):
    assert measure("t", ({"n": n} for n in range(1000)), GUID) == 1000
    bodies = kept(home)
    assert [body["row"]["n"] for body in bodies] == list(range(1000))
    assert [number for number, body in enumerate(bodies) if "columns" in body] == [0]


def test_no_rows_are_no_records_and_one_row_needs_no_list(home):
    assert measure("t", [], GUID) == 0
    assert measure("t", {"n": 1}, GUID) == 1
    assert len(kept(home)) == 1


def test_numbers_by_other_names_are_numbers_and_none_is_rounded(home):
    class Count:
        def __index__(self):
            return 7

    class Strange:
        def __float__(self):
            raise TypeError

        def __str__(self):
            return "strange"

    row = {"a": Decimal("0.5"), "b": Fraction(1, 4), "c": Count(), "d": 2**53 + 1, "e": Strange(), "f": "漢 🐍"}
    measure("t", [row], GUID)
    body = kept(home)[0]
    assert body["row"] == {"a": 0.5, "b": 0.25, "c": 7, "d": 2**53 + 1, "e": "strange", "f": "漢 🐍"}
    assert body["_marks"] == [{"path": "row.e", "was": "Strange"}]


def test_what_is_no_number_of_json_keeps_its_name_and_is_marked(home):
    table = Table("t", {"a": "float", "b": "float", "c": "int"})
    measure(table, [{"a": math.nan, "b": -math.inf, "c": 2**64}], GUID)
    [body] = kept(home)
    assert body["row"] == {"a": "nan", "b": "-inf", "c": "0x10000000000000000"}
    assert {mark["was"] for mark in body["_marks"]} == {"float", "int"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"seconds": "31"}, "boots, row 2, column \"seconds\": is declared float, found '31' (str)"),
        ({"seconds": 2**53 + 1}, 'boots, row 2, column "seconds": is declared float, found 9007199254740993 (int)'),
        ({"seconds": True}, 'boots, row 2, column "seconds": is declared float, found True (bool)'),
        ({"ok": 1}, 'boots, row 2, column "ok": is declared bool, found 1 (int)'),
        ({"": 1}, "boots, row 2: a name is a text of 1 to 200 characters, found ''"),
        ({7: 1}, "boots, row 2: a name is a text of 1 to 200 characters, found 7"),
        ({"text": "x" * 60_001}, "boots, row 2: is longer than 60000 characters; keep what is long as an artifact"),
        ([1], "boots, row 2: a row is a dict, column -> value, found list"),
    ],
    ids=str,
)
def test_a_row_that_is_wrong_is_told_and_those_before_it_are_kept(home, row, message):
    table = Table("boots", {"seconds": "float", "ok": "bool"})
    with pytest.raises(UsageError) as caught:
        measure(table, [{"seconds": 1.0}, row, {"seconds": 3.0}], GUID)
    assert str(caught.value) == message
    assert [body["row"] for body in kept(home)] == [{"seconds": 1.0}]


def test_rows_that_are_wrong_without_a_declaration_are_told_too(home):
    with pytest.raises(UsageError, match="boots, row 2: a row is a dict, column -> value, found int"):
        measure("boots", [{"a": 1}, 2], GUID)
    assert [body["row"] for body in kept(home)] == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("", {}, "a table: a name is a text of 1 to 200 characters, found ''"),
        ("t", {"a": "double"}, "t, column \"a\": its type must be one of bool, int, float, text, json, found 'double'"),
        ("t", {"a": 7}, 't, column "a": its type must be one of bool, int, float, text, json, found None'),
        (
            "t",
            {"a": {"type": "int", "better": "up"}},
            "t, column \"a\": better must be one of higher, lower, found 'up'",
        ),
        (
            "t",
            {"a": {"type": "int", "uint": "s"}},
            "t, column \"a\": has type, unit (a text) and better, found ['uint']",
        ),
    ],
)
def test_a_declaration_that_is_wrong_is_told(name, columns, message):
    with pytest.raises(UsageError) as caught:
        Table(name, columns)
    assert str(caught.value) == message


def test_a_table_can_be_declared_in_a_file(tmp_path):
    path = tmp_path / "boots.json"
    path.write_text(json.dumps({"table": "boots", "columns": {"seconds": {"type": "float", "unit": "s"}}}))
    assert Table.load(path).columns == {"seconds": {"type": "float", "unit": "s"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read: Expecting"),
        ("[]", 'must be {"table": name, "columns": {name: type}}'),
        ('{"table": "t", "columns": {"a": "double"}}', 't, column "a": its type must be one of'),
        (None, "cannot be read: "),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, content, message):
    path = tmp_path / "boots.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as caught:
        Table.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_workspace_measures_for_the_run_it_is_in(home, workspace):
    assert workspace.measure("boots", [{"seconds": 1.5}]) == 1
    assert kept(home)[0]["row"] == {"seconds": 1.5}


def test_a_workspace_takes_a_single_figure_with_unit_and_dimensions(home, workspace):
    assert workspace.measure(boot_time=31, unit="s", better="lower", device="yuga", cold=True) == 1
    assert kept(home) == [
        {
            "table": "boot_time",
            "row": {"boot_time": 31.0, "device": "yuga", "cold": True},
            "columns": {
                "boot_time": {"type": "float", "unit": "s", "better": "lower"},
                "device": {"type": "text", "inferred": True},
                "cold": {"type": "bool", "inferred": True},
            },
        }
    ]


@pytest.mark.parametrize(("number", "stored"), [(2**53 + 1, 2**53 + 1), (2**70, hex(2**70)), (-(2**60), -(2**60))])
def test_a_single_figure_that_no_float_holds_is_a_whole_number(home, workspace, number, stored):
    workspace.measure(nanoseconds=number, device="yuga")
    [body] = kept(home)
    assert body["row"] == {"nanoseconds": stored, "device": "yuga"}
    assert body["columns"]["nanoseconds"] == {"type": "int"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "nothing to measure: give a table and rows, or a figure as name=value"),
        ({"device": "yuga", "boot": 1}, "device: the first of the names must be that of a figure, found 'yuga'"),
        ({"boot": True}, "boot: the first of the names must be that of a figure, found True"),
        ({"table": "t", "unit": "s"}, "measure takes a table and rows, or one figure as name=value"),
        ({"table": "t", "guid": "short"}, "a GUID is a text of at least 10 characters, found 'short'"),
    ],
    ids=str,
)
def test_a_workspace_says_how_to_measure(workspace, call, message):
    with pytest.raises(UsageError) as caught:
        workspace.measure(**call)
    assert str(caught.value).startswith(message)
