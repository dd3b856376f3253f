"""`ave measurements`: figures as tables, as records and as CSV that no spreadsheet obeys."""

from __future__ import annotations

import csv
import io
import json

import pytest
from calling import GUID, called

COLUMNS = {"seconds": {"type": "float", "unit": "s", "better": "lower"}, "device": {"type": "text"}}


@pytest.fixture
def measured(store, made):
    def body(row, table="boots", **more):
        return {"table": table, "row": row, **more}

    store.put(
        [
            made("measurement", body({"seconds": 31.5, "device": "yuga"}, columns=COLUMNS)),
            made("measurement", body({"seconds": 7, "device": "\x1b[31m=1+1"}), at=1.25),
            made("measurement", body({"n": 3}, "other"), at=2),
            made("shout", {"title": "no figure"}, at=3),
            made("measurement", body({"seconds": 1}), at=4, guid="another-run-1"),
        ]
    )


def test_each_table_is_shown_with_units_and_its_rows_in_order(measured, capsys):
    ran = called(capsys, "measurements", GUID)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "boots: 2 rows\n"
        "time                     host  seconds (s, lower is better)  device\n"
        "2026-11-22 12:00:00.000  lab1                          31.5  yuga\n"
        "2026-11-22 12:00:01.250  lab1                             7  \\x1b[31m=1+1\n"
        "\n"
        "other: 1 row\n"
        "time                     host  n\n"
        "2026-11-22 12:00:02.000  lab1  3\n"
    )


def test_json_is_one_record_per_line(measured, capsys):
    ran = called(capsys, "measurements", GUID, "--json", "--table", "boots")
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [record["body"]["row"]["seconds"] for record in records] == [31.5, 7]
    assert [*records[0]] == ["id", "kind", "guid", "time", "host", "pid", "source", "body"]


def test_csv_has_one_table_and_no_formula(measured, capsys):
    ran = called(capsys, "measurements", GUID, "--csv", "--table", "boots")
    rows = [*csv.reader(io.StringIO(ran.out))]
    assert rows[0] == ["guid", "time", "host", "id", "seconds", "device"]
    assert [row[4:] for row in rows[1:]] == [["31.5", "yuga"], ["7", "\x1b[31m=1+1"]]
    assert [row[0] for row in rows[1:]] == [GUID, GUID]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_text_that_a_spreadsheet_would_carry_out_is_made_text(store, made, capsys, text):
    store.put([made("measurement", {"table": "t", "row": {"a": text, text: -1}})])
    rows = [*csv.reader(io.StringIO(called(capsys, "measurements", GUID, "--csv").out))]
    assert rows[0][4:] == ["a", f"'{text}"]
    assert rows[1][4:] == [f"'{text}", "-1"]


def test_several_tables_are_too_many_for_csv(measured, capsys):
    ran = called(capsys, "measurements", GUID, "--csv")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "ave: CSV has room for one table: give --table with one of 'boots', 'other'\n"
    assert called(capsys, "measurements", GUID, "--csv", "--json").code == 2


def test_nothing_measured_is_a_no(store, capsys):
    ran = called(capsys, "measurements", GUID)
    assert ran.code == 1
    assert ran.err.startswith(f"ave: nothing was measured in {GUID}; ")
    ran = called(capsys, "measurements", GUID, "--table", "boots", "--table", "volts")
    assert ran.err.startswith(f"ave: nothing was measured in {GUID} in boots or volts; ")


def test_a_body_that_is_no_row_is_shown_all_the_same(store, made, capsys):
    store.put([made("measurement", {"n": 1}), made("measurement", {"table": "t", "row": "cut"})])
    ran = called(capsys, "measurements", GUID)
    assert ran.code == 0
    assert "cut" in ran.out
