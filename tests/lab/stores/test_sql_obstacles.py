"""Tables that crashes, operators and other people's transactions have made other than a store expects them."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from urllib.parse import unquote, urlsplit

import pymysql
import pytest

from ave.exceptions import StoreUnavailable
from ave.lab.stores import open_store
from ave.lab.stores.base import put_all
from ave.lab.stores.sql import engine as engine_module
from ave.lab.stores.sql import months as months_module
from ave.lab.stores.sql import schema as schema_module
from ave.lab.stores.sql import tables as tables_module
from ave.record import KINDS, Query
from tests.lab.stores.samples import GUID, TIME, record
from tests.system import servers_mariadb

MONTH_NS = 31 * 86_400 * 10**9


class Lab:
    """A database, the stores on it, and its operator."""

    def __init__(self, url, ask):
        self.url, self.ask = url, ask
        self.stores = []

    def open(self, *, readonly=False):
        self.stores.append(open_store(self.url, "/nowhere", KINDS, readonly=readonly))
        return self.stores[-1]

    def rows(self):
        """Return the rows of measurements, as a store that knows nothing yet finds them."""
        return [found.body["row"] for found in self.open(readonly=True).find(Query(kinds=["measurement"]))]

    def kept_as_records(self):
        return self.ask("SELECT COUNT(*) FROM ave_records")[0][0]

    @contextmanager
    def somebody_reads(self, table):
        """Let a job read a table and forget to commit."""
        place = urlsplit(self.url)
        login = {"user": unquote(place.username), "password": unquote(place.password)}
        where = {"host": place.hostname, "port": place.port, "database": place.path[1:]}
        with pymysql.connect(**where, **login) as job, job.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            yield


def on_mariadb(_tmp_path):
    url = servers_mariadb.fresh_url()
    return Lab(url, lambda statement: [*servers_mariadb.execute(f"USE {url.rpartition('/')[2]}", statement)])


def on_sqlite(tmp_path):
    def ask(statement):
        with closing(sqlite3.connect(tmp_path / "tables.db")) as db, db:
            return db.execute(statement).fetchall()

    return Lab(f"sqlite+tables://{tmp_path}/tables.db", ask)


def made(make, tmp_path):
    lab = make(tmp_path)
    yield lab
    for store in lab.stores:
        store.close()


@pytest.fixture(params=[on_mariadb, on_sqlite], ids=["mariadb", "sqlite"])
def lab(request, tmp_path):
    yield from made(request.param, tmp_path)


@pytest.fixture
def mariadb(tmp_path):
    yield from made(on_mariadb, tmp_path)


@pytest.fixture
def haste(monkeypatch):
    monkeypatch.setattr(engine_module, "LOCK_WAIT_S", 1)
    for module in (tables_module, months_module):
        monkeypatch.setattr(module, "RETRY_S", 0)


def row(seq, values, table="boots", **fields):
    return record(seq, "measurement", {"table": table, "row": values}, source="workspace", **fields)


# Crashes


def crash_before(monkeypatch, step, store, batch):
    def crash(*_args, **_kwargs):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(tables_module.Catalogue, step, crash)
        with pytest.raises(StoreUnavailable, match="power cut"):
            store.put(batch)


def test_after_a_crash_between_table_and_catalogue_a_batch_with_more_columns_is_stored(lab, monkeypatch):
    crash_before(monkeypatch, "_note", lab.open(), [row(1, {"v": 1.5})])
    store = lab.open()
    assert store.put([row(1, {"v": 1.5}), row(2, {"v": 2.5, "w": 3.5}), row(3, {"x": 1}, table="other")]) == []
    assert lab.ask("SELECT v, w FROM boots ORDER BY ave_id") == [(1.5, None), (2.5, 3.5)]


def test_a_column_that_a_crash_has_left_gets_the_type_of_the_values_that_come(mariadb, monkeypatch):
    store = mariadb.open()
    store.put([row(1, {"v": 1.5})])
    crash_before(monkeypatch, "_note", store, [row(2, {"v": 1.5, "w": 7})])
    assert store.put([row(3, {"v": 1.5, "w": 2.5})]) == []
    assert mariadb.ask("SELECT w FROM boots ORDER BY ave_id") == [(None,), (2.5,)]
    assert mariadb.rows() == [{"v": 1.5}, {"v": 1.5, "w": 2.5}]


# Tables of somebody else's


def test_rows_for_a_table_that_is_somebody_elses_are_kept_as_records(lab, caplog):
    lab.open().put([record(9)])
    lab.ask("CREATE TABLE devices (id INTEGER PRIMARY KEY, name TEXT)")
    store = lab.open()
    for seq in (1, 3):
        assert store.put([row(seq, {"name": "yuga"}, table="devices"), row(seq + 1, {"x": 1}, table="other")]) == []
    assert lab.kept_as_records() == 3
    assert lab.rows() == [{"name": "yuga"}, {"x": 1}, {"name": "yuga"}, {"x": 1}]
    assert lab.ask("SELECT COUNT(*) FROM devices") == [(0,)]
    told = "the rows of 'devices' are kept in ave_records: there is a table devices already, which is not ave-logd's"
    assert caplog.text.count(told) == 1


def test_a_table_that_somebody_has_put_in_the_place_of_ours_is_left_to_them(lab):
    store = lab.open()
    store.put([row(1, {"a": 1})])
    lab.ask("DROP TABLE boots")
    lab.ask("CREATE TABLE boots (id INTEGER PRIMARY KEY)")
    for seq, writer in enumerate([store, lab.open()], 2):
        assert writer.put([row(seq, {"a": seq}), record(10 + seq)]) == []
    assert lab.rows() == [{"a": 2}, {"a": 3}]
    assert lab.ask("SELECT COUNT(*) FROM boots") == [(0,)]


# Operators


@pytest.mark.parametrize("is_new", [False, True], ids=["running", "restarted"])
def test_a_table_that_an_operator_has_dropped_is_made_again(lab, is_new):
    store = lab.open()
    store.put([row(1, {"a": 1, "b": 1})])
    lab.ask("DROP TABLE boots")
    assert lab.rows() == []
    assert lab.open(readonly=True).count(GUID) == {}
    store = lab.open() if is_new else store
    assert put_all(store, [row(seq, {"a": seq}) for seq in range(2, 6)]) == []
    assert put_all(store, [row(6, {"a": 6, "b": 6})]) == []
    assert lab.ask("SELECT a, b FROM boots ORDER BY ave_id") == [(seq, None) for seq in range(2, 6)] + [(6, 6)]
    assert lab.kept_as_records() == 0


def test_a_table_that_is_made_again_is_divided_into_months_again(mariadb):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    mariadb.ask("DROP TABLE boots")
    store.put([row(2, {"a": 2})])
    asked = "SELECT PARTITION_NAME FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = "
    assert mariadb.ask(f"{asked} 'boots' ORDER BY 1") == [("p2025_11",), ("pmax",)]


def test_a_table_that_an_operator_has_dropped_is_made_again_with_wider_columns(lab):
    store = lab.open()
    store.put([row(1, {"a": 1})])
    lab.ask("DROP TABLE boots")
    assert put_all(store, [row(2, {"a": 2.5})]) == []
    assert put_all(lab.open(), [row(3, {"a": 3.5, "b": 1})]) == []
    assert lab.ask("SELECT a, b FROM boots ORDER BY ave_id") == [(2.5, None), (3.5, 1)]


@pytest.mark.parametrize("is_new", [False, True], ids=["running", "restarted"])
def test_a_column_that_an_operator_has_dropped_is_made_again(lab, is_new):
    store = lab.open()
    store.put([row(1, {"a": 1, "b": 1})])
    lab.ask("ALTER TABLE boots DROP COLUMN b")
    store = lab.open() if is_new else store
    assert store.put([row(2, {"a": 2, "b": 2}), record(3)]) == []
    assert lab.ask("SELECT a, b FROM boots ORDER BY ave_id") == [(1, None), (2, 2)]


# Transactions that do not end


@pytest.mark.parametrize("use", ["a repeat", "a count"])
def test_a_store_that_is_idle_keeps_nobody_from_changing_a_table(mariadb, use):
    first = mariadb.open()
    first.put([row(1, {"a": 1})])
    first.close()
    if use == "a repeat":
        assert first.put([row(1, {"a": 1})]) == []
    else:
        assert first.count(GUID) == {"measurement": 1}
    assert mariadb.open().put([row(2, {"a": 2, "b": 2})]) == []
    assert mariadb.ask("SELECT a, b FROM boots ORDER BY ave_id") == [(1, None), (2, 2)]


def test_while_a_job_forgets_to_commit_new_columns_are_left_out_and_bodies_have_them(mariadb, haste):
    store, other = mariadb.open(), mariadb.open()
    store.put([row(1, {"a": 1})])
    with mariadb.somebody_reads("boots"):
        assert store.put([row(2, {"a": 2, "b": 2}), row(3, {"x": 1}, table="other")]) == []
        assert other.put([row(4, {"a": 4})]) == []
        assert mariadb.ask("SELECT a FROM boots ORDER BY ave_id") == [(1,), (2,), (4,)]
    assert store.put([row(5, {"a": 5, "b": 5})]) == []
    assert mariadb.ask("SELECT a, b FROM boots ORDER BY ave_id") == [(1, None), (2, None), (4, None), (5, 5)]
    assert mariadb.rows() == [{"a": 1}, {"a": 2, "b": 2}, {"x": 1}, {"a": 4}, {"a": 5, "b": 5}]


@pytest.mark.parametrize("value", [2.5, 2**53 + 1], ids=["a float", "a large number"])
def test_while_a_job_forgets_to_commit_what_a_column_is_stays_open(mariadb, haste, value):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    with mariadb.somebody_reads("boots"):
        assert store.put([row(2, {"a": value}), row(3, {"x": 1}, table="other")]) == []
        assert mariadb.ask("SELECT a FROM boots ORDER BY ave_id") == [(1,), (None,)]
    assert store.put([row(4, {"a": value})]) == []
    assert mariadb.ask("SELECT a FROM boots ORDER BY ave_id") == [(1,), (None,), (value,)]
    assert mariadb.rows() == [{"a": 1}, {"a": value}, {"x": 1}, {"a": value}]


@pytest.mark.parametrize("value", [2.5, 2**53 + 1], ids=["a float", "a large number"])
def test_a_value_that_decides_what_a_column_is_may_find_the_table_dropped(lab, value, monkeypatch):
    monkeypatch.setattr(schema_module, "LOCK_S", 0)
    store = lab.open()
    store.put([row(1, {"a": 1})])
    lab.ask("DROP TABLE boots")
    assert store.put([row(2, {"a": value}), row(3, {"a": 3})]) == []
    assert lab.ask("SELECT a FROM boots ORDER BY ave_id") == [(value,), (3,)]
    assert list(map(repr, lab.rows())) == [repr({"a": value}), repr({"a": 3})]
    assert lab.open().put([row(4, {"b": 4})]) == [], "nobody is kept out"


def test_what_could_not_be_changed_is_not_tried_again_at_once(mariadb, haste, monkeypatch, caplog):
    monkeypatch.setattr(tables_module, "RETRY_S", 3600)
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    with mariadb.somebody_reads("boots"):
        for seq in (2, 3, 4):
            assert store.put([row(seq, {"a": 2, "b": 2})]) == []
    assert caplog.text.count("table 'boots' stays as it is for a while, ave_body has what it cannot hold: (1205, ") == 1


def test_while_a_job_forgets_to_commit_a_new_month_waits(mariadb, haste):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    with mariadb.somebody_reads("boots"):
        assert store.put([row(2, {"a": 2}, time=TIME + MONTH_NS)]) == []
    assert store.put([row(3, {"a": 3}, time=TIME + MONTH_NS)]) == []
    parts = [mariadb.ask(f"SELECT a FROM boots PARTITION ({part})") for part in ("p2025_11", "p2025_12", "pmax")]
    assert parts == [[(1,)], [(2,), (3,)], []]


# Room


def test_rows_of_more_columns_than_the_server_can_keep_are_kept_all_the_same(mariadb, monkeypatch):
    monkeypatch.setattr(tables_module, "COLUMNS_MAX", 1000)
    store = mariadb.open()
    wide = {f"c{number}": "x" for number in range(390)}
    assert put_all(store, [row(1, wide, table="wide"), row(2, {"x": 1}, table="other")]) == []
    assert mariadb.kept_as_records() == 1
    assert mariadb.rows() == [wide, {"x": 1}]


def test_a_table_that_is_full_takes_rows_all_the_same(mariadb, haste, monkeypatch):
    monkeypatch.setattr(tables_module, "COLUMNS_MAX", 1000)
    store = mariadb.open()
    sent = [
        {f"c{number}": "x" for number in range(200)},
        {f"d{number}": "x" for number in range(190)},
        {"e": 1},
        {"e": 2},
    ]
    for seq, values in enumerate(sent):
        # MariaDB adds more than it can keep, and then none
        assert put_all(store, [row(seq, values, time=TIME + (seq // 3) * MONTH_NS)]) == []
    assert mariadb.ask("SELECT COUNT(*), COUNT(ave_body) FROM boots") == [(4, 2)]
    assert mariadb.rows() == sent


# Words


def test_words_that_no_list_of_reserved_ones_has_are_names_like_others(lab):
    store = lab.open()
    values = dict.fromkeys(["manual", "tablesample", "parallel", "qualify", "values", "new", "library"], 1)
    store.put([row(1, values, table="manual"), row(2, {"a": 1}, table="new")])
    assert [*lab.rows()[0]] == [*values]
    statement = str(store._open.catalogue.tables["manual"].table.select())
    assert '"manual"."tablesample"' in statement
