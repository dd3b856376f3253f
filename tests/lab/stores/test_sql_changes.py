"""Changes of tables on MariaDB: one host at a time, and nobody waits for that who has nothing to change."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager

import pytest

from ave.exceptions import StoreUnavailable
from ave.lab.stores import open_store
from ave.lab.stores.sql import schema as schema_module
from ave.lab.stores.sql import tables as tables_module
from ave.lab.stores.sql.engine import Database
from ave.lab.stores.sql.schema import one_at_a_time
from ave.record import KINDS, Query
from ave.testing import wait_until
from tests.lab.stores.samples import GUID, TIME, record
from tests.system import servers_mariadb

MONTH_NS = 31 * 86_400 * 10**9


class Hosts:
    """The hosts of a lab, all on one database."""

    def __init__(self, home):
        self.url = servers_mariadb.fresh_url()
        self._home = home
        self.stores = []

    def one_more(self):
        self.stores.append(open_store(self.url, self._home, KINDS))
        return self.stores[-1]

    @contextmanager
    def one_hangs_in_a_change(self):
        with closing(Database(self.url, readonly=False).connect()) as connection, one_at_a_time(connection):
            yield connection


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    monkeypatch.setattr(schema_module, "LOCK_S", 0)
    hosts = Hosts(str(tmp_path))
    yield hosts
    for store in hosts.stores:
        store.close()


def row(seq, values, table="boots", columns=None, **fields):
    body = {"table": table, "row": values} | ({} if columns is None else {"columns": columns})
    return record(seq, "measurement", body, source="workspace", **fields)


def test_nobody_waits_for_another_host_where_all_tables_are_as_they_must_be(hosts):
    hosts.one_more().put([record(1), row(2, {"a": 1})])
    with hosts.one_hangs_in_a_change():
        store = hosts.one_more()
        assert store.put([record(3), row(4, {"a": 2})]) == []
    assert store.count(GUID) == {"shout": 2, "measurement": 2}


@pytest.mark.parametrize("change", [{"table": "other"}, {"values": {"a": 1, "b": 2}}, {"values": {"a": 1.5}}])
def test_what_another_host_has_changed_already_waits_for_nobody(hosts, change):
    first, second = hosts.one_more(), hosts.one_more()
    for seq, store in enumerate([first, second], 1):
        assert store.put([row(seq, {"a": 1})]) == []
    assert first.put([row(3, **{"values": {"a": 1}, **change})]) == []
    with hosts.one_hangs_in_a_change():
        assert second.put([row(4, **{"values": {"a": 1}, **change})]) == []


def test_a_month_that_another_host_has_begun_waits_for_nobody(hosts):
    first, second = hosts.one_more(), hosts.one_more()
    for seq, store in enumerate([first, second], 1):
        assert store.put([row(seq, {"a": 1})]) == []
    assert first.put([row(3, {"a": 3}, time=TIME + MONTH_NS)]) == []
    with hosts.one_hangs_in_a_change():
        assert second.put([row(4, {"a": 4}, time=TIME + MONTH_NS)]) == []


def test_what_no_table_can_become_waits_for_nobody(hosts, monkeypatch):
    hosts.one_more().put([record(9), row(1, {"a": 2**53 + 1})])
    monkeypatch.setattr(tables_module, "COLUMNS_MAX", 1)
    with hosts.one_hangs_in_a_change():
        store = hosts.one_more()
        assert store.put([row(2, {"a": 1.5}), row(3, {"a": 1, "b": 2})]) == []
    rows = store.find(Query(kinds=["measurement"]))
    assert [found.body["row"] for found in rows] == [{"a": 2**53 + 1}, {"a": 1.5}, {"a": 1, "b": 2}]


def test_a_full_list_of_tables_leaves_room_for_columns(hosts, monkeypatch):
    store = hosts.one_more()
    store.put([row(1, {"a": 1})])
    monkeypatch.setattr(tables_module, "TABLES_MAX", 1)
    store.put([row(2, {"a": 1, "b": 2}), row(3, {"a": 3}, table="other")])
    assert set(store._open.catalogue.tables) == {"boots"}
    assert set(store._open.catalogue.tables["boots"].columns) == {"a", "b"}


@pytest.mark.parametrize("change", [{"table": "other"}, {"values": {"b": 2}}, {"values": {"a": 1.5}}])
def test_a_change_waits_for_the_host_that_is_at_it(hosts, change):
    store = hosts.one_more()
    store.put([row(1, {"a": 1})])
    with hosts.one_hangs_in_a_change(), pytest.raises(StoreUnavailable, match="another host is changing the tables"):
        store.put([row(2, **{"values": {"a": 1}, **change})])
    assert store.put([row(2, **{"values": {"a": 1}, **change})]) == []


def test_the_first_tables_wait_for_the_host_that_makes_them(hosts):
    with hosts.one_hangs_in_a_change(), pytest.raises(StoreUnavailable, match="another host is changing the tables"):
        hosts.one_more().put([record(1)])
    assert hosts.stores[0].put([record(1)]) == []


def test_who_waited_for_another_host_does_not_change_again_what_that_one_has_changed(hosts, monkeypatch):
    hosts.one_more().put([record(1)])
    steps = []
    newer = [*schema_module.MIGRATIONS, lambda _schema, _connection: steps.append("second")]
    monkeypatch.setattr(schema_module, "MIGRATIONS", newer)
    monkeypatch.setattr(schema_module, "LOCK_S", 30)
    store, rejected = hosts.one_more(), []
    waiting = threading.Thread(target=lambda: rejected.append(store.put([record(2)])))
    with hosts.one_hangs_in_a_change() as connection:
        waiting.start()
        wait_until(lambda: is_waited_for(connection), 20)
        connection.exec_driver_sql("INSERT INTO ave_schema (version) VALUES (2)")
        connection.commit()
    waiting.join(30)
    assert rejected == [[]]
    assert steps == []


def is_waited_for(connection):
    asked = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND STATE = 'User lock'"
    return connection.exec_driver_sql(asked).scalar_one() == 1


def test_who_fails_in_a_change_lets_the_others_in(hosts, monkeypatch):
    def fails(_schema, _connection):
        raise OSError("the wire was cut")

    first = hosts.one_more()
    first.put([record(1)])
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema_module, "MIGRATIONS", [*schema_module.MIGRATIONS, fails])
        with pytest.raises(StoreUnavailable, match="the wire was cut") as caught:
            first.put([record(2)])
    # the server has to see that it is gone
    monkeypatch.setattr(schema_module, "LOCK_S", 20)
    with hosts.one_hangs_in_a_change():
        assert caught.value.__traceback__, "it holds on to what failed"
