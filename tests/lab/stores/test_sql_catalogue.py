"""What many tables of measurements cost, in statements and in what is read: to have one per run is a usual mistake."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import event, insert

from ave.lab.stores import open_store
from ave.lab.stores.sql import tables as tables_module
from ave.record import KINDS, Query
from tests.lab.stores.samples import GUID, TIME, record
from tests.system import servers_mariadb


class Hosts:
    """The hosts of a lab, all on one database."""

    def __init__(self, url):
        self._url = url
        self.stores = []

    def one_more(self):
        """Open a store that has put something."""
        store = open_store(self._url, "/nowhere", KINDS)
        self.stores.append(store)
        assert store.put([record(1), row(2, "first")]) == []
        return store

    def list_tables(self, names):
        """Let the catalogue have more tables, of three columns each; they are only listed."""
        opened = self.one_more()._open
        columns = [
            {"table_name": name, "sql_name": column, "name": column, "type": "float", "declared": False, "position": n}
            for name in names
            for n, column in enumerate("abc")
        ]
        entries = [{"sql_name": name, "name": name} for name in names]
        opened.connection.execute(insert(opened.schema.tables).values(entries))
        opened.connection.execute(insert(opened.schema.columns).values(columns))
        opened.connection.commit()


@pytest.fixture(params=["mariadb", "sqlite"])
def hosts(request, tmp_path):
    is_file = request.param == "sqlite"
    hosts = Hosts(f"sqlite+tables://{tmp_path}/tables.db" if is_file else servers_mariadb.fresh_url())
    yield hosts
    for store in hosts.stores:
        store.close()


@pytest.fixture
def costs(monkeypatch):
    """Return a function that tells what a use of a store costs, see there."""
    made = []
    for name in ("Named", "Table"):
        monkeypatch.setattr(tables_module, name, counted(getattr(tables_module, name), made))

    def costs(store, use):
        """Return the statements and the rows that each gives, and how many columns and tables are made of them."""
        statements = []

        def note(_connection, cursor, statement, *_rest):
            statements.append((re.sub(r"new\d+", "new", statement), cursor.rowcount))

        made.clear()
        engine = store._open.connection.engine
        event.listen(engine, "after_cursor_execute", note)
        use()
        event.remove(engine, "after_cursor_execute", note)
        # two indices are made in any order
        return sorted(statements), sorted(made)

    return costs


def counted(make, made):
    def count(*args, **options):
        made.append(make.__name__)
        return make(*args, **options)

    return count


def row(seq, table, values=None, **fields):
    return record(seq, "measurement", {"table": table, "row": values or {"a": 1.5}}, **fields)


def rows(hosts):
    """Return the rows as a host that knows nothing yet finds them."""
    return [found.body for found in hosts.one_more().find(Query(kinds=["measurement"]))]


def test_a_record_of_a_new_table_costs_the_same_however_many_tables_there_are(hosts, costs):
    few = hosts.one_more()
    with_few = costs(few, lambda: few.put([row(10, "new1")]))
    hosts.list_tables([f"listed{n}" for n in range(40)])
    assert few.put([row(20 + n, f"made{n}") for n in range(3)]) == []
    many = hosts.one_more()
    assert costs(many, lambda: many.put([row(11, "new2")])) == with_few
    assert {body["table"] for body in rows(hosts)} == {"first", "new1", "new2", "made0", "made1", "made2"}


def test_a_new_column_costs_the_same_however_many_tables_there_are(hosts, costs):
    store = hosts.one_more()
    store.put([row(10, "new1"), row(11, "new2")])
    with_few = costs(store, lambda: store.put([row(12, "new1", {"a": 1.5, "b": 1})]))
    hosts.list_tables([f"listed{n}" for n in range(40)])
    assert costs(store, lambda: store.put([row(13, "new2", {"a": 1.5, "b": 1})])) == with_few


def test_records_of_more_tables_than_there_may_be_cost_as_much_together_as_one(hosts, costs, monkeypatch, caplog):
    store = hosts.one_more()
    monkeypatch.setattr(tables_module, "TABLES_MAX", 1)
    assert store.put([row(10, "new")]) == []
    [one, several] = [
        costs(store, lambda batch=batch: store.put(batch))
        for batch in ([row(11, "new0")], [row(20 + n, f"new{n}") for n in range(30)])
    ]
    assert len(several[0]) == len(one[0])
    assert several[1] == one[1] == []
    assert len(rows(hosts)) == 33
    told = "there are 1 tables of measurements: no more are made for a while, ave_records has the rows of others"
    assert caplog.text.count(told) == 1


def test_a_table_that_is_there_takes_rows_of_a_host_that_can_make_no_more(hosts, monkeypatch):
    ours, theirs = hosts.one_more(), hosts.one_more()
    assert theirs.put([row(10, "there")]) == []
    monkeypatch.setattr(tables_module, "TABLES_MAX", 2)
    assert ours.put([row(11, "more"), row(12, "there"), row(13, "first")]) == []
    assert set(ours._open.catalogue.tables) == {"first", "there"}
    assert [body["table"] for body in rows(hosts)] == ["first", "there", "more", "there", "first"]


def test_when_there_is_room_for_tables_again_they_are_made(hosts, monkeypatch):
    monkeypatch.setattr(tables_module, "RETRY_S", 0)
    store = hosts.one_more()
    monkeypatch.setattr(tables_module, "TABLES_MAX", 1)
    assert store.put([row(10, "more")]) == []
    assert "more" not in store._open.catalogue.tables
    monkeypatch.setattr(tables_module, "TABLES_MAX", 2)
    assert store.put([row(11, "more")]) == []
    assert "more" in store._open.catalogue.tables


def test_of_tables_that_are_left_for_a_while_only_so_many_are_remembered(hosts, monkeypatch):
    monkeypatch.setattr(tables_module, "COLUMNS_MAX", 1)
    monkeypatch.setattr(tables_module, "LATER_MAX", 3)
    store = hosts.one_more()
    assert store.put([row(10 + n, f"wide{n}", {"a": 1, "b": 2}) for n in range(9)]) == []
    assert [*store._open.catalogue._later] == ["wide6", "wide7", "wide8"]


@pytest.mark.parametrize("kinds", [["shout"], ["measurement", "shout"]])
def test_who_asks_reads_of_the_catalogue_what_the_answer_needs(hosts, costs, kinds):
    hosts.list_tables([f"listed{n}" for n in range(40)])
    store = hosts.one_more()
    store.put([row(10, "other", guid="another-run"), row(11, "wide", {"a": 1, "b": 2})])
    answer = []
    statements, made = costs(store, lambda: answer.extend(store.find(Query(guid=GUID, kinds=kinds))))
    asked = len([statement for statement, _ in statements if "ave_tables" in statement])
    if "measurement" in kinds:
        assert len(answer) == 3
        assert (asked, made) == (3, ["Named"] * 3), "which tables there are, and the columns of two"
    else:
        assert len(answer) == 1
        assert (asked, made) == (0, [])


def test_who_counts_reads_no_columns(hosts, costs):
    hosts.list_tables([f"listed{n}" for n in range(40)])
    store = hosts.one_more()
    statements, made = costs(store, lambda: store.count(GUID))
    assert made == []
    assert len([asked for asked, _ in statements if "ave_tables" in asked]) == 1


@pytest.mark.parametrize("values", [{"a": 1.5}, {"a": 1.5, "ours": 1}], ids=["a table", "a column"])
def test_what_another_host_makes_while_one_waits_to_make_it_is_seen(hosts, monkeypatch, values):
    ours, theirs = hosts.one_more(), hosts.one_more()
    if "ours" in values:
        assert ours.put([row(10, "new")]) == []
    alone = tables_module.one_at_a_time

    @contextmanager
    def alone_behind_them(connection):
        monkeypatch.setattr(tables_module, "one_at_a_time", alone)
        assert theirs.put([row(11, "new", {"a": 1.5, "theirs": 1, **values})]) == []
        with alone(connection):
            yield

    monkeypatch.setattr(tables_module, "one_at_a_time", alone_behind_them)
    assert ours.put([row(12, "new", values)]) == []
    assert set(ours._open.catalogue.tables["new"].columns) == {"theirs", *values}
    assert [body["row"] for body in rows(hosts)][-2:] == [{"a": 1.5, "theirs": 1, **values}, values]


def test_every_table_is_divided_into_its_own_months():
    hosts = Hosts(servers_mariadb.fresh_url())
    store = hosts.one_more()
    later = TIME + 31 * 86_400 * 10**9
    assert store.put([row(10, "new1", time=later), row(11, "new2"), row(12, "first", time=later)]) == []
    assert store.put([row(13, "new2", time=later)]) == []
    asked = "SELECT TABLE_NAME, PARTITION_NAME FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() "
    months = {}
    for table, month in store._open.connection.exec_driver_sql(f"{asked} AND PARTITION_NAME LIKE 'p2%%' ORDER BY 2"):
        months.setdefault(table, []).append(month)
    store.close()
    both = ["p2025_11", "p2025_12"]
    assert months == {"ave_records": both[:1], "first": both, "new1": both[1:], "new2": both}


def test_hosts_that_make_and_widen_the_same_tables_at_the_same_moment_lose_nothing(hosts):
    stores = [hosts.one_more() for _ in range(3)]
    tables = [f"t{n}" for n in range(4)]

    def put(host):
        names = tables[host:] + tables[:host]
        for number in range(2):
            batch = [
                row(1000 * (host + 1) + 10 * number + at, name, {"a": host + 0.5, f"c{host}_{number}": 1})
                for at, name in enumerate(names)
            ]
            assert stores[host].put(batch) == []

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(put, range(3)))
    found = [body for body in rows(hosts) if body["table"] != "first"]
    assert len(found) == 24
    opened = hosts.one_more()._open
    names = {"a", *(f"c{host}_{number}" for host in range(3) for number in range(2))}
    opened.catalogue.learn(tables)
    assert {name: set(opened.catalogue.tables[name].columns) for name in tables} == dict.fromkeys(tables, names)
    assert opened.connection.exec_driver_sql("SELECT COUNT(*) FROM ave_records").scalar_one() == 1, "all are in tables"
