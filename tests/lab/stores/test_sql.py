"""Measurements in tables: what a table looks like, what columns hold, hostile names, months, and versions."""

from __future__ import annotations

import itertools
import math
import re
import sqlite3
import struct
from contextlib import closing
from random import Random

import pymysql
import pytest

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import open_store
from ave.lab.stores.sql import months as months_module
from ave.lab.stores.sql import schema as schema_module
from ave.lab.stores.sql.values import sql_name
from ave.record import KINDS, Query
from tests.lab.stores.samples import GUID, SEGMENT, TIME, record
from tests.system import servers_mariadb


class Lab:
    """A database, the stores on it, and a way to look into it past them."""

    def __init__(self, url, home, ask):
        self.url, self.home, self.ask = url, home, ask
        self.stores = []

    def open(self, *, readonly=False, url=None):
        self.stores.append(open_store(url or self.url, self.home, KINDS, readonly=readonly))
        return self.stores[-1]


def of_mariadb(tmp_path):
    url = servers_mariadb.fresh_url()
    database = url.rpartition("/")[2]

    def ask(statement):
        return [*servers_mariadb.execute(f"USE {database}", statement)]

    return Lab(url, str(tmp_path), ask)


def of_sqlite(tmp_path):
    def ask(statement):
        with closing(sqlite3.connect(tmp_path / "tables.db")) as db, db:
            return db.execute(statement.replace("`", '"')).fetchall()

    return Lab(f"sqlite+tables://{tmp_path}/tables.db", str(tmp_path), ask)


def opened(make, tmp_path):
    lab = make(tmp_path)
    yield lab
    for store in lab.stores:
        store.close()


@pytest.fixture(params=[of_mariadb, of_sqlite], ids=["mariadb", "sqlite"])
def lab(request, tmp_path):
    yield from opened(request.param, tmp_path)


@pytest.fixture
def mariadb(tmp_path):
    yield from opened(of_mariadb, tmp_path)


@pytest.fixture
def store(lab):
    return lab.open()


def row(seq, values, table="boots", columns=None, **fields):
    body = {"table": table, "row": values} | ({} if columns is None else {"columns": columns})
    return record(seq, "measurement", body, source="workspace", **fields)


def bodies(store, **conditions):
    return [record.body for record in store.find(Query(**conditions))]


# Tables


def test_a_row_is_one_of_its_table_with_run_time_host_and_record(lab, store):
    sent = row(1, {"seconds": 31.5, "device": "yuga", "cold": True, "count": 7}, time=TIME + 123_456_789)
    assert store.put([sent]) == []
    [found] = lab.ask("SELECT seconds, device, cold, count, ave_guid, ave_host, ave_id, ave_ns, ave_body FROM boots")
    assert found == (31.5, "yuga", 1, 7, GUID, "lab-1", f"{SEGMENT}-1", 789, None)
    [(when,)] = lab.ask("SELECT ave_time FROM boots")
    assert str(when) == "2025-11-22 01:46:40.123456", "UTC"
    assert list(store.find(Query())) == [sent]
    assert repr(bodies(store)) == repr([sent.body])


def test_a_declaration_makes_columns_with_types_units_and_what_is_better(lab, store):
    columns = {"seconds": {"type": "float", "unit": "s", "better": "lower"}, "never": {"type": "text"}}
    store.put([row(1, {"seconds": 31}, columns=columns), row(2, {"seconds": 30.5})])
    listed = lab.ask("SELECT name, type, unit, better, declared FROM ave_columns ORDER BY name")
    assert listed == [("never", "text", None, None, 1), ("seconds", "float", "s", "lower", 1)]
    assert lab.ask("SELECT seconds, never FROM boots ORDER BY ave_id") == [(31.0, None), (30.5, None)]
    assert repr(bodies(store)[0]["row"]) == "{'seconds': 31}", "as it was said"


def test_new_columns_are_added_and_old_rows_have_nothing_in_them(lab, store):
    store.put([row(1, {"a": 1})])
    store.put([row(2, {"b": "x"}), row(3, {"a": 3, "c": [1, {"d": None}]})])
    assert lab.ask("SELECT a, b, c FROM boots ORDER BY ave_id") == [
        (1, None, None),
        (None, "x", None),
        (3, None, '[1,{"d":null}]'),
    ]
    assert [body["row"] for body in bodies(store)] == [{"a": 1}, {"b": "x"}, {"a": 3, "c": [1, {"d": None}]}]


def test_whole_numbers_that_turn_out_to_have_fractions_make_their_column_wider(lab, store):
    store.put([row(1, {"a": 1})])
    assert store.put([row(2, {"a": 2.5})]) == []
    assert lab.ask("SELECT a FROM boots ORDER BY ave_id") == [(1.0,), (2.5,)]
    assert [body["row"]["a"] for body in bodies(store)] == [1, 2.5]
    assert store.put([row(1, {"a": 1})]) == [], "and what was there is the same still"


@pytest.mark.parametrize("values", [[2**53 + 1, 2.5], ["declared", 2.5]], ids=["too large to be a float", "declared"])
def test_a_column_that_cannot_become_wider_keeps_the_value_beside_the_row(lab, store, values, caplog):
    columns = {"a": {"type": "int"}} if values[0] == "declared" else None
    first = 5 if columns else values[0]
    store.put([row(1, {"a": first}, columns=columns)])
    assert store.put([row(2, {"a": 2.5})]) == []
    assert lab.ask("SELECT a FROM boots ORDER BY ave_id") == [(first,), (None,)]
    assert [body["row"]["a"] for body in bodies(store)] == [first, 2.5]


@pytest.mark.parametrize(
    ("first", "value", "column"),
    [
        (1.5, "nan", None),
        (1.5, "-inf", None),
        (1, "0x10000000000000000", None),
        (1, 2**64 - 1, None),
        (1.5, 2**63, None),
        (1.5, 7, 7.0),
        (1.5, -0.0, 0.0),
        (1.5, 5e-324, 5e-324),
        (1.5, 1.7976931348623157e308, 1.7976931348623157e308),
        (1.5, 0.1 + 0.2, 0.1 + 0.2),
        (1.5, True, None),
        (True, 1, None),
        (True, False, 0),
        (1, -(2**63), -(2**63)),
        (1, "text", None),
        ("x", 5, "5"),
        ("x", None, None),
        ("x", "", ""),
        ("x", "blanks  ", "blanks  "),
        ("x", "NUL \x00 🐍 漢字 ' \" \\ % %s `", "NUL \x00 🐍 漢字 ' \" \\ % %s `"),
        ("x", "é" * 30_000, "é" * 30_000),
        ("x", {"a": [1]}, '{"a":[1]}'),
        ([1], "text", '"text"'),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_column_holds_a_value_or_nothing_and_the_record_comes_back_as_it_was(lab, store, first, value, column):
    columns = {"a": {"type": {bool: "bool", int: "int", float: "float", str: "text", list: "json"}[type(first)]}}
    sent = [row(1, {"a": first}, columns=columns), row(2, {"a": value})]
    assert store.put(sent) == []
    assert lab.ask("SELECT a FROM boots ORDER BY ave_id")[1] == (column,)
    assert [repr(body) for body in bodies(store)] == [repr(record.body) for record in sent]
    assert store.put(sent) == [], "a repeat is harmless"


@pytest.mark.parametrize(
    "body",
    [
        {"n": 1},
        {"table": "t"},
        {"table": "t", "row": "cut, the rest comes"},
        {"table": "", "row": {"a": 1}},
        {"table": "t" * 201, "row": {"a": 1}},
        {"table": "t", "row": {"": 1}},
        {"table": "t", "row": {"a": 1}, "_continues": "x-1"},
        {"table": "t", "row": {f"c{n}": n for n in range(500)}},
    ],
    ids=lambda body: str(body)[:40],
)
def test_a_measurement_that_fits_into_no_table_is_kept_as_a_record(lab, store, body):
    sent = record(1, "measurement", body)
    assert store.put([sent]) == []
    assert lab.ask("SELECT ave_kind FROM ave_records") == [("measurement",)]
    assert list(store.find(Query(kinds=["measurement"]))) == [sent]
    assert store.count(GUID) == {"measurement": 1}
    assert store.put([sent]) == []


def test_a_row_with_other_things_beside_it_comes_back_whole(store):
    body = {"table": "t", "row": {"a": 1}, "note": "by hand", "_marks": [{"path": "row.a", "was": "X"}]}
    store.put([record(1, "measurement", body)])
    assert bodies(store) == [body]


def test_tables_and_records_are_asked_as_one(store):
    batch = [row(1, {"a": 1}), record(2), row(3, {"b": 2}, table="other"), row(4, {"a": 4}, guid="another-run")]
    store.put(batch)
    assert list(store.find(Query())) == batch
    assert list(store.find(Query(newest=True, limit=3))) == batch[:0:-1]
    assert list(store.find(Query(kinds=["measurement"], guid=GUID))) == [batch[0], batch[2]]
    assert store.count(GUID) == {"shout": 1, "measurement": 2}
    assert store.count("another-run", ["elsewhere"]) == {}


def test_different_content_under_the_same_id_is_rejected_in_a_table_too(store):
    store.put([row(1, {"a": 1})])
    for other in (row(1, {"a": 2}), row(1, {"a": 1}, time=TIME - 10**17), row(1, {"a": 1}, guid="another-run")):
        (rejected,) = store.put([other, row(2, {"a": 2})])
        assert (rejected.record, rejected.reason) == (other, "different content under the same id")
    assert [body["row"] for body in bodies(store)] == [{"a": 1}, {"a": 2}]


def test_a_second_store_knows_what_the_first_has_made_meanwhile(lab):
    first, second, reader = lab.open(), lab.open(), lab.open(readonly=True)
    first.put([row(1, {"a": 1})])
    second.put([row(2, {"b": 2})])
    first.put([row(3, {"c": 3, "b": 4})])
    second.put([row(4, {"a": 5, "c": 6}, table="boots"), row(5, {"x": 1}, table="other")])
    assert [body["row"] for body in bodies(reader)] == [
        {"a": 1},
        {"b": 2},
        {"c": 3, "b": 4},
        {"a": 5, "c": 6},
        {"x": 1},
    ]


def test_a_table_that_another_store_has_made_since_the_last_count_is_counted(lab, store):
    reader = lab.open(readonly=True)
    store.put([row(1, {"a": 1})])
    assert reader.count(GUID) == {"measurement": 1}
    store.put([row(2, {"a": 1}, table="other")])
    assert reader.count(GUID) == {"measurement": 2}


# S12


def hostile_names():
    reserved = ["select", "table", "order", "index", "key", "group", "primary", "json", "default", "partition"]
    ours = ["ave_id", "ave_guid", "ave_x"]
    odd = [
        "a`b",
        'a"b',
        "a'b",
        "a;DROP TABLE x",
        "a\\",
        "a\x00b",
        "a%sb",
        "a%(x)s",
        "a b",
        "a.b",
        "a/b",
        "é",
        "漢字",
        "🐍",
    ]
    twins = ["Twin", "twin", "TWIN", "twin ", " twin", "tw\u0131n", "twin\t", "twin.", "twin_", "_twin"]
    more = ["__proto__", "constructor", "1", "1e5", "true", "null", "-", "--", "/*", "#", "?", ":x", "@x", "\u202eabc"]
    long = ["x" * length for length in (48, 49, 63, 64, 65, 128, 200)] + ["é" * 200, "x" * 199 + "y"]
    return [*reserved, *ours, *odd, *twins, *more, *long, *(f"n{n} `{n}" for n in range(140))]


def test_s12_hostile_names_become_plain_identifiers_and_none_is_another(mariadb):
    names = hostile_names()
    assert len(set(names)) >= 200
    store = mariadb.open()
    first = [row(seq, {"v": seq}, table=name) for seq, name in enumerate(names[:40], 1)]
    wide = row(1000, {name: seq for seq, name in enumerate(names)}, table="wide")
    assert store.put([*first, wide]) == []
    expected = {sql_name(name) for name in names[:40]} | {"wide"}
    ours = {"ave_schema", "ave_tables", "ave_columns", "ave_records"}
    assert {name for (name,) in mariadb.ask("SHOW TABLES")} == expected | ours
    columns = {name for name, *_ in mariadb.ask("SHOW COLUMNS FROM wide")}
    assert {name for name in columns if not name.startswith("ave_")} == {sql_name(name) for name in names}
    assert len(expected) == 41
    assert {repr(body) for body in bodies(store)} == {repr(record.body) for record in [*first, wide]}
    [told] = mariadb.ask("SELECT COUNT(*) FROM ave_columns WHERE table_name = 'wide'")
    assert told == (len(names),)


def test_identifiers_are_short_plain_and_never_like_ours():
    for name in hostile_names():
        made = sql_name(name)
        assert made.isascii()
        assert made.replace("_", "").isalnum()
        assert made[0].isalpha()
        assert len(made) <= 58
        assert made == made.lower()
        assert not made.startswith("ave_")


# Months


def test_a_table_is_divided_into_months_which_can_be_dropped(mariadb, monkeypatch):
    class Clock(months_module.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 3, 5, tzinfo=tz)

    monkeypatch.setattr(months_module, "datetime", Clock)
    store = mariadb.open()
    day = 86_400 * 10**9
    january = 1_767_225_600 * 10**9
    when = [january - 40 * day, january, january + 31 * day, january + 60 * day, january + 400 * day]
    for seq, time in enumerate(when, 1):
        assert store.put([row(seq, {"a": seq}, time=time)]) == []
    months = mariadb.ask(
        "SELECT PARTITION_NAME, TABLE_ROWS FROM information_schema.PARTITIONS WHERE TABLE_NAME = 'boots' "
        "AND TABLE_SCHEMA = DATABASE() ORDER BY PARTITION_ORDINAL_POSITION"
    )
    assert [name for name, _ in months] == ["p2025_11", "p2026_01", "p2026_02", "p2026_03", "pmax"]
    mariadb.ask("ALTER TABLE boots DROP PARTITION p2025_11, p2026_01")
    assert [body["row"]["a"] for body in bodies(store)] == [3, 4, 5]
    again = mariadb.open()
    assert again.put([row(6, {"a": 6}, time=when[3] + 1)]) == []
    assert again.put([row(5, {"a": 5}, time=when[4])]) == [], "a repeat of the one that lies ahead"


# Places and versions


def test_a_database_is_made_and_a_reader_makes_none(mariadb):
    reader = mariadb.open(readonly=True)
    assert bodies(reader) == []
    assert reader.count(GUID) == {}
    with pytest.raises(pymysql.err.OperationalError, match="Unknown database"):
        mariadb.ask("SHOW TABLES")
    with pytest.raises(UsageError, match=r"^mysql://127\.0\.0\.1:\d+/ave_\w+ was opened for reading only$"):
        reader.put([record(1)])
    mariadb.open().put([record(1)])
    assert bodies(reader) == [{"n": 1}]
    made_with = mariadb.ask("SHOW CREATE TABLE ave_records")[0][1]
    assert "utf8mb4" in made_with
    assert "datetime(6)" in made_with


def test_a_newer_schema_is_refused_politely(lab, store):
    store.put([record(1)])
    lab.ask("INSERT INTO ave_schema (version) VALUES (7)")
    for other in (lab.open(), lab.open(readonly=True)):
        with pytest.raises(ConfigError, match=r"newer version of ave-logging \(schema 7, this one knows 1\)"):
            other.count(GUID)


def test_an_older_schema_is_brought_up_to_date(lab, store, monkeypatch):
    store.put([record(1)])
    steps = []
    newer = [*schema_module.MIGRATIONS, lambda _schema, _connection: steps.append("second")]
    monkeypatch.setattr(schema_module, "MIGRATIONS", newer)
    assert bodies(lab.open()) == [{"n": 1}]
    assert bodies(lab.open()) == [{"n": 1}]
    assert steps == ["second"], "and only once"
    assert lab.ask("SELECT MAX(version) FROM ave_schema") == [(2,)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "x" * 256}, "no table can hold it: its id is longer than 255 characters"),
        ({"guid": "x" * 501}, "no table can hold it: its guid is longer than 500 characters"),
        ({"time": 2**63}, "no table can hold it: 9223372036854775808 is no time in nanoseconds"),
        ({"pid": 2**63}, "no table can hold it: its pid 9223372036854775808 is too large"),
        ({"guid": "\ud800 and more"}, "surrogates not allowed"),
        ({"body": {"text": "\udcff"}}, "surrogates not allowed"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_a_record_that_no_table_can_hold_is_rejected_alone(store, change, message):
    batch = [record(seq) for seq in range(1, 30)]
    bad = record(99, **change)
    for place in (0, 15, 29):
        (rejected,) = store.put([*batch[:place], bad, *batch[place:]])
        assert message in rejected.reason
        assert rejected.record is bad
    assert len(bodies(store)) == 29


# MariaDB


def test_a_row_larger_than_a_packet_is_rejected_and_the_others_are_stored(mariadb):
    store = mariadb.open()
    store.put([record(1)])
    limit = store._open.packet
    bad = record(2, body={"text": "x" * limit})
    (rejected,) = store.put([record(3), bad, record(4)])
    assert "may be too many for max_allowed_packet" in rejected.reason
    assert len(bodies(store)) == 3


def test_a_wrong_password_takes_a_person(mariadb):
    bad = mariadb.open(url=re.sub(r":[^:]*@", ":wrong@", mariadb.url))
    for use in (lambda: bad.put([record(1)]), lambda: bodies(bad), lambda: bad.count(GUID)):
        with pytest.raises(ConfigError, match=r"refuses us: Access denied .*; mend user or password") as caught:
            use()
        assert "wrong" not in str(caught.value)


def test_a_database_that_may_not_be_made_takes_a_person(mariadb):
    server = servers_mariadb.shared()
    server.execute("CREATE USER IF NOT EXISTS guest@'127.0.0.1' IDENTIFIED BY 'g'")
    url = servers_mariadb.url(server, "forbidden_db", user="guest", password="g")
    with pytest.raises(ConfigError, match="refuses us: Access denied for user"):
        mariadb.open(url=url).put([record(1)])


def test_nobody_listening_is_an_outage(mariadb):
    with pytest.raises(StoreUnavailable, match=r"^mysql://127\.0\.0\.1:1/ave: Can't connect to MySQL server"):
        mariadb.open(url="mysql://127.0.0.1:1").put([record(1)])


def test_a_connection_that_is_killed_is_an_outage_and_the_next_try_works(mariadb):
    store = mariadb.open()
    store.put([record(1)])
    [(number,)] = mariadb.ask(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    )
    mariadb.ask(f"KILL {number}")
    with pytest.raises(StoreUnavailable):
        store.put([record(2)])
    assert store.put([record(2)]) == []
    assert len(bodies(store)) == 2


def test_s14_a_server_without_tls_hears_no_password_where_tls_is_wanted(mariadb):
    for options in ("?tls=system", "?tls=system&insecure=true"):
        with pytest.raises(ConfigError, match="let the server speak TLS, or give insecure=true"):
            mariadb.open(url=mariadb.url + options).put([record(1)])


def test_every_session_is_strict_in_utc_and_gives_no_file_away(mariadb):
    store = mariadb.open()
    store.put([record(1)])
    connection = store._open.connection
    [(mode, zone, charset)] = connection.exec_driver_sql(
        "SELECT @@sql_mode, @@time_zone, @@character_set_client"
    ).fetchall()
    assert "STRICT_ALL_TABLES" in mode
    assert (zone, charset) == ("+00:00", "utf8mb4")
    assert connection.connection.dbapi_connection._local_infile is False


def test_a_url_that_cannot_be_one_is_told(tmp_path):
    for url, message in [
        ("mysql://", "mysql:// must be mysql://host:port/name"),
        ("mysql://localhost/a%60b", "cannot be the name of a database"),
        ("mysql://localhost/a?verify=no", 'unknown option "verify"; known: insecure, tls'),
        ("mysql://localhost:port/a", "Port could not be cast"),
        ("mysql://localhost/a?tls=/no/such/file", "the certificates in /no/such/file cannot be used"),
    ]:
        with pytest.raises(ConfigError, match=message):
            open_store(url, str(tmp_path), KINDS)


# Many rows at once


def test_every_character_and_every_number_comes_back_from_rows_that_are_sent_together(mariadb):
    characters = [chr(number) for number in (*range(0xD800), *range(0xE000, 0x11000))]
    texts = ["".join(characters[at : at + 256]) for at in range(0, len(characters), 256)]
    texts += ["", "\\", '"', "'", "`", "%s", "\\u0000", "\\f", "],[", "]\n[", "a\\", "--", "\x1a", "\0"]
    dice = Random(7)
    numbers = [struct.unpack("d", dice.randbytes(8))[0] for _ in range(2000)]
    numbers = [number for number in numbers if math.isfinite(number)] + [5e-324, 1.7976931348623157e308, 0.1, 1e22]
    rows = [{"text": text, "number": number} for text, number in zip(itertools.cycle(texts), numbers, strict=False)]
    store = mariadb.open()
    store.put([row(1, {"text": "x", "number": 1.5})])
    sent = [row(seq, values) for seq, values in enumerate(rows, 2)]
    assert store.put(sent) == []
    assert mariadb.ask("SELECT COUNT(*) FROM boots WHERE ave_body IS NOT NULL") == [(0,)]
    assert bodies(store)[1:] == [record.body for record in sent]
    assert store.put(sent) == [], "and they are known again"


def test_rows_that_are_alike_but_for_one_are_all_stored_as_they_are(lab, store):
    usual = {"seconds": 1.5, "count": 3, "cold": True, "device": "yuga"}
    strange = [
        {"seconds": -0.0},
        {"seconds": 2},
        {"count": 2**63},
        {"count": True},
        {"cold": 1},
        {"device": "größer"},
        {"device": None},
    ]
    sent = [row(1, usual)]
    store.put(sent)
    for seq, change in enumerate(strange, 1):
        batch = [row(10 * seq + n, {**usual, "count": n}) for n in range(3)]
        batch.insert(1, row(10 * seq + 9, {**usual, **change}))
        assert store.put(batch) == []
        sent += batch
    assert sorted(map(repr, bodies(store))) == sorted(repr(record.body) for record in sent)
