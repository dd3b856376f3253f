"""Tables that crashes, operators and other people's transactions have made other than a store expects them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from urllib.parse import unquote, urlsplit

import pymysql
import pytest

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores import open_store
from ave.lab.stores.base import put_all
from ave.lab.stores.sql import engine as engine_module
from ave.lab.stores.sql import months as months_module
from ave.lab.stores.sql import putting as putting_module
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


# What operators make of a table


def is_kept(lab, sent, as_records):
    """Tell that all of these rows are there once, as many of them as records, and that a repeat is harmless."""
    assert sorted(map(repr, lab.rows())) == sorted(repr(record.body["row"]) for record in sent)
    assert lab.kept_as_records() == as_records
    assert put_all(lab.open(), sent) == []
    assert len(lab.rows()) == len(sent)


@pytest.mark.parametrize(
    ("change", "as_records"),
    [
        ("ALTER TABLE boots ADD CHECK (a >= 0)", 1),
        ("ALTER TABLE boots ADD COLUMN large BIGINT AS (9223372036854775807 + a) STORED", 2),
        ("ALTER TABLE boots ADD COLUMN site VARCHAR(20) NOT NULL", 3),
        ("ALTER TABLE boots CHANGE COLUMN a b BIGINT, ADD COLUMN a BIGINT AS (7) STORED", 3),
        ("CREATE TRIGGER mine BEFORE INSERT ON boots FOR EACH ROW INSERT INTO elsewhere VALUES (1)", 3),
        (
            "CREATE TRIGGER mine BEFORE INSERT ON boots FOR EACH ROW "
            "IF NEW.a < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
            1,
        ),
    ],
    ids=["a check", "too large a number", "a column without default", "a calculated column", "a trigger", "a signal"],
)
def test_rows_that_an_operators_table_refuses_are_kept_as_records_and_hold_up_nothing(
    mariadb, change, as_records, caplog
):
    store = mariadb.open()
    sent = [row(1, {"a": -1}), row(2, {"a": 2}), row(3, {"a": 3}), row(4, {"x": 1}, table="other")]
    store.put([row(9, {"a": 1})])
    mariadb.ask("DELETE FROM boots")
    mariadb.ask(change)
    assert put_all(store, sent) == []
    assert f"rows of 'boots' are kept in ave_records, {as_records} of them: " in caplog.text
    is_kept(mariadb, sent, as_records)


def test_a_row_that_another_key_takes_for_one_that_is_there_is_kept_as_a_record(lab, caplog):
    store = lab.open()
    store.put([row(1, {"a": 1}, time=TIME)])
    lab.ask("CREATE UNIQUE INDEX mine ON boots (a, ave_time)")
    sent = [row(seq, {"a": min(seq, 2)}, time=TIME) for seq in (1, 2, 3, 4)]
    assert put_all(store, sent) == []
    assert (
        "rows of 'boots' are kept in ave_records, 2 of them: it leaves them out, for a key that is not" in caplog.text
    )
    is_kept(lab, sent, 2)


def test_a_record_that_another_key_takes_for_one_that_is_there_waits_until_somebody_drops_that_key(lab):
    store = lab.open()
    store.put([record(1, time=TIME)])
    lab.ask("CREATE UNIQUE INDEX mine ON ave_records (ave_host, ave_time)")
    with pytest.raises(StoreUnavailable, match=r"ave_records leaves out 1 of 2 records, such as \w+-2; drop"):
        put_all(store, [record(2, time=TIME), record(3, time=TIME + MONTH_NS)])
    lab.ask("DROP INDEX mine" if lab.url.startswith("sqlite") else "DROP INDEX mine ON ave_records")
    assert put_all(store, [record(2, time=TIME), record(3, time=TIME + MONTH_NS)]) == []
    assert store.count(GUID) == {"shout": 3}


def test_what_another_connection_stores_while_a_repeat_is_looked_for_is_not_stored_twice(mariadb, monkeypatch):
    store, other = mariadb.open(), mariadb.open()
    sent = [row(1, {"a": 1}), row(2, {"a": 2})]
    store.put([row(3, {"a": 3})])
    insert = putting_module.Batch._insert

    def after_the_other(batch, rows, measured):
        monkeypatch.setattr(putting_module.Batch, "_insert", insert)
        assert other.put(sent) == []
        return insert(batch, rows, measured)

    monkeypatch.setattr(putting_module.Batch, "_insert", after_the_other)
    assert store.put(sent) == []
    is_kept(mariadb, [*sent, row(3, {"a": 3})], 0)


def test_a_table_that_cannot_be_changed_takes_rows_all_the_same(mariadb, haste):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    mariadb.ask("RENAME TABLE boots TO theirs")
    mariadb.ask("CREATE VIEW boots AS SELECT * FROM theirs")
    sent = [row(2, {"a": 2, "b": 2}), row(3, {"a": 2.5}, time=TIME + MONTH_NS), row(4, {"x": 1}, table="other")]
    assert put_all(store, sent) == []
    assert mariadb.ask("SELECT a, ave_body LIKE '%:2%' FROM theirs ORDER BY ave_id") == [(1, None), (2, 1), (None, 1)]
    assert mariadb.ask("SELECT x FROM other") == [(1,)]


def test_a_table_that_cannot_be_mended_leaves_its_rows_to_the_records(mariadb, haste):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    mariadb.ask("RENAME TABLE boots TO theirs")
    columns = "ave_id, ave_time, ave_ns, ave_guid, ave_host, ave_pid, ave_source, ave_body"
    mariadb.ask(f"CREATE VIEW boots AS SELECT {columns} FROM theirs WHERE FALSE")
    sent = [row(2, {"a": 2}), row(3, {"a": 3}), row(4, {"x": 1}, table="other")]
    assert put_all(store, sent) == []
    assert mariadb.rows() == [{"a": 2}, {"a": 3}, {"x": 1}]
    assert mariadb.kept_as_records() == 2


def test_a_table_that_cannot_be_divided_any_more_takes_rows_all_the_same(mariadb, haste):
    mariadb.open().put([row(1, {"a": 1})])
    mariadb.ask("ALTER TABLE boots REMOVE PARTITIONING")
    mariadb.ask("ALTER TABLE boots ADD UNIQUE mine (a)")
    sent = [row(1, {"a": 1}), row(2, {"a": 2}), row(3, {"a": 2}), row(4, {"x": 1}, table="other")]
    assert put_all(mariadb.open(), sent) == []
    is_kept(mariadb, sent, 1)


def test_rows_beyond_all_months_get_a_partition_again_that_somebody_has_dropped(mariadb):
    store, year = mariadb.open(), 365 * 86_400 * 10**9
    ahead = [row(2, {"a": 2}, time=TIME + 100 * year), record(12, time=TIME + 100 * year)]
    for seq in (1, 11):
        store.put([row(seq, {"a": 1}, time=time.time_ns()), record(10 * seq, time=time.time_ns())])
    for table in ("boots", "ave_records"):
        mariadb.ask(f"ALTER TABLE {table} DROP PARTITION pmax")
    with pytest.raises(StoreUnavailable, match="Table has no partition for value"):
        put_all(store, ahead)
    assert put_all(store, ahead) == []
    assert mariadb.ask("SELECT a FROM boots PARTITION (pmax)") == [(2,)]
    assert mariadb.ask("SELECT COUNT(*) FROM ave_records PARTITION (pmax)") == [(1,)]


def test_a_new_month_has_its_partition_where_somebody_has_dropped_the_last_one(mariadb):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    mariadb.ask("ALTER TABLE boots DROP PARTITION pmax")
    assert put_all(store, [row(2, {"a": 2}, time=TIME + MONTH_NS)]) == []
    assert mariadb.ask("SELECT a FROM boots PARTITION (p2025_12)") == [(2,)]


def test_nobody_is_kept_out_after_a_new_month_has_found_its_table_dropped(mariadb, monkeypatch):
    monkeypatch.setattr(schema_module, "LOCK_S", 0)
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    mariadb.ask("DROP TABLE boots")
    assert store.put([row(2, {"a": 2}, time=TIME + MONTH_NS)]) == []
    assert mariadb.ask("SELECT a FROM boots PARTITION (p2025_12)") == [(2,)]
    assert mariadb.open().put([row(3, {"b": 3})]) == []


def test_a_row_that_was_kept_as_a_record_is_not_stored_twice_when_its_table_can_be_made(lab):
    store = lab.open()
    store.put([row(9, {"x": 1}, table="other")])
    lab.ask("CREATE TABLE boots (id INTEGER PRIMARY KEY)")
    sent = [row(1, {"a": 1}), row(2, {"a": 2})]
    assert store.put(sent) == []
    lab.ask("DROP TABLE boots")
    is_kept(lab, [*sent, row(9, {"x": 1}, table="other")], 2)
    [rejected] = lab.open().put([row(1, {"a": 7}), row(3, {"a": 3})])
    assert (rejected.record.id, rejected.reason) == (row(1, {}).id, "different content under the same id")


# What operators drop of ours


@pytest.mark.parametrize("is_new", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("table", ["ave_records", "ave_tables", "ave_columns", "ave_schema"])
def test_a_table_of_the_catalogue_that_somebody_has_dropped_is_made_again_and_costs_no_record(lab, table, is_new):
    store = lab.open()
    store.put([record(1)])
    lab.ask(f"DROP TABLE {table}")
    store = lab.open() if is_new else store
    for batch in ([record(seq) for seq in range(2, 32)], [row(40, {"a": 1})]):
        try:
            assert put_all(store, batch) == []
        except StoreUnavailable as error:
            assert not is_new, error
            assert put_all(store, batch) == []
    assert lab.open().put([record(50)]) == []
    assert lab.ask("SELECT version FROM ave_schema") == [(1,)]
    assert lab.ask("SELECT a FROM boots") == [(1,)]
    assert lab.rows() == [{"a": 1}]
    assert lab.kept_as_records() == (31 if table == "ave_records" else 32)


def test_a_database_that_somebody_has_dropped_is_made_again_and_costs_no_record(mariadb):
    store = mariadb.open()
    store.put([row(1, {"a": 1})])
    mariadb.ask(f"DROP DATABASE {mariadb.url.rpartition('/')[2]}")
    with pytest.raises(StoreUnavailable):
        put_all(store, [row(2, {"a": 2})])
    assert put_all(store, [row(2, {"a": 2})]) == []
    assert mariadb.rows() == [{"a": 2}]


def test_columns_of_which_the_catalogue_has_lost_what_they_are_keep_their_values(mariadb, caplog):
    mariadb.open().put([row(1, {"a": 1.5})])
    mariadb.ask("DROP TABLE ave_columns")
    assert put_all(mariadb.open(), [row(2, {"a": 7}), row(3, {"x": 1}, table="other")]) == []
    assert mariadb.ask("SELECT a FROM boots ORDER BY ave_id") == [(1.5,), (None,)]
    assert mariadb.rows()[1:] == [{"a": 7}, {"x": 1}]
    assert "it has columns with values that ave_columns has lost; bring those entries back" in caplog.text


# What operators let the server take


def test_a_server_that_takes_too_small_packets_is_told_with_its_cure_and_costs_no_record(mariadb):
    reader = mariadb.open(readonly=True)
    mariadb.open().put([row(1, {"a": 1})])
    [(usual,)] = mariadb.ask("SELECT @@GLOBAL.max_allowed_packet")
    mariadb.ask("SET GLOBAL max_allowed_packet = 65536")
    try:
        with pytest.raises(
            ConfigError, match="max_allowed_packet of 65536 bytes is too small; let the server have 16M"
        ):
            put_all(mariadb.open(), [row(2, {"a": 2})])
        assert reader.count(GUID) == {"measurement": 1}
    finally:
        mariadb.ask(f"SET GLOBAL max_allowed_packet = {usual}")
    assert put_all(mariadb.open(), [row(2, {"a": 2})]) == []


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
