"""Values of columns that nobody declared, put by hosts of which one has not heard yet what the other has changed."""

from __future__ import annotations

import pytest

from ave.exceptions import StoreUnavailable
from ave.lab.stores import open_store
from ave.lab.stores.sql import store as store_module
from ave.lab.stores.sql import tables as tables_module
from ave.record import KINDS, Query
from tests.lab.stores.samples import record
from tests.system import servers_mariadb

LARGE = 2**53 + 1


class Hosts:
    """The hosts of a lab, all on one database."""

    def __init__(self, url):
        self._url = url
        self.stores = []

    def one_more(self):
        self.stores.append(open_store(self._url, "/nowhere", KINDS))
        return self.stores[-1]

    def ask(self, statement):
        store = self.one_more()
        store.count("it opens it")
        found = [tuple(row) for row in store._open.connection.exec_driver_sql(statement)]
        # it would hold the table
        store.close()
        return found


@pytest.fixture
def mariadb():
    yield from closed(Hosts(servers_mariadb.fresh_url()))


@pytest.fixture
def sqlite(tmp_path):
    yield from closed(Hosts(f"sqlite+tables://{tmp_path}/tables.db"))


@pytest.fixture(params=["mariadb", "sqlite"])
def hosts(request):
    return request.getfixturevalue(request.param)


def closed(hosts):
    yield hosts
    for store in hosts.stores:
        store.close()


def row(seq, values, **body):
    return record(seq, "measurement", {"table": "boots", "row": values, **body}, source="workspace")


def in_the_column(hosts):
    return [value for (value,) in hosts.ask("SELECT a FROM boots ORDER BY ave_time, ave_ns")]


def rows(store):
    return [found.body["row"] for found in store.find(Query(kinds=["measurement"]))]


VALUES = [3, -(2**53), 2.5, -0.0, -LARGE, 2**63 - 1, 2**63, "text"]


def test_whatever_two_hosts_put_into_a_column_in_whatever_order_comes_back_as_it_was(hosts):
    pairs = {f"c{n}_{m}": pair for n, first in enumerate(VALUES) for m, pair in enumerate((first, y) for y in VALUES)}
    ours, theirs = hosts.one_more(), hosts.one_more()
    sent = [row(1, dict.fromkeys(pairs, 1)), row(2, dict.fromkeys(pairs, 2))]
    # both know the columns now
    assert ours.put(sent[:1]) + theirs.put(sent[1:]) == []
    first = [row(1000 + n, {name: value}) for n, (name, (value, _)) in enumerate(pairs.items())]
    second = [row(2000 + n, {name: value}) for n, (name, (_, value)) in enumerate(pairs.items())]
    assert ours.put(first) + theirs.put(second) == []
    sent += first + second
    assert list(map(repr, rows(ours))) == [repr(one.body["row"]) for one in sent]
    kept = hosts.ask(f"SELECT {', '.join(pairs)} FROM boots ORDER BY ave_time, ave_ns")
    for one, values in zip(sent, kept, strict=True):
        for name, value in zip(pairs, values, strict=True):
            assert value is None or value == one.body["row"][name], "a column holds a value or nothing"
    assert ours.put(sent) + theirs.put(sent) + hosts.one_more().put(sent) == [], "and a repeat is harmless"


@pytest.mark.parametrize(
    ("decides", "column"),
    [(2.5, [1, 3.0, 2.5, None, 4.0]), (2**63 - 1, [1, 3, 2**63 - 1, LARGE, 4])],
    ids=["for floats", "for 64 bits"],
)
def test_the_first_value_that_takes_it_decides_for_all_hosts_what_a_column_of_whole_numbers_is(hosts, decides, column):
    ours, theirs = hosts.one_more(), hosts.one_more()
    assert ours.put([row(1, {"a": 1})]) + theirs.put([row(2, {"a": 3})]) == []
    assert ours.put([row(3, {"a": decides})]) + theirs.put([row(4, {"a": LARGE}), row(5, {"a": 4})]) == []
    assert in_the_column(hosts) == column
    assert rows(theirs) == [{"a": 1}, {"a": 3}, {"a": decides}, {"a": LARGE}, {"a": 4}]


def test_of_the_rows_of_one_batch_the_first_decides(hosts):
    store = hosts.one_more()
    assert store.put([row(1, {"a": "text"}), row(2, {"a": 1}), row(3, {"a": LARGE}), row(4, {"a": 2.5})]) == []
    assert in_the_column(hosts) == ["text", "1", str(LARGE), "2.5"]
    assert store.put([row(5, {"b": 1}), row(6, {"b": "text"}), row(7, {"b": LARGE}), row(8, {"b": 2.5})]) == []
    assert hosts.ask("SELECT b FROM boots WHERE a IS NULL ORDER BY ave_time, ave_ns") == [
        (1,),
        (None,),
        (LARGE,),
        (None,),
    ]


def test_a_declared_column_of_whole_numbers_is_one_whatever_comes(hosts):
    ours, theirs = hosts.one_more(), hosts.one_more()
    declared = {"a": {"type": "int"}}
    assert ours.put([row(1, {"a": 1}, columns=declared)]) + theirs.put([row(2, {"a": -(2**63)})]) == []
    assert ours.put([row(3, {"a": 2.5})]) + theirs.put([row(4, {"a": 2**63 - 1})]) == []
    assert in_the_column(hosts) == [1, -(2**63), None, 2**63 - 1]
    assert hosts.ask("SELECT type, declared FROM ave_columns") == [("int", 1)]


@pytest.mark.parametrize("inferred", [None, {"a": {"type": "int", "inferred": True}}], ids=["here", "by the job"])
def test_a_column_is_open_whoever_has_inferred_that_it_is_of_whole_numbers(hosts, inferred):
    store = hosts.one_more()
    assert store.put([row(1, {"a": 1}, **({"columns": inferred} if inferred else {}))]) == []
    assert hosts.ask("SELECT type, declared FROM ave_columns") == [("whole", 0)]
    assert store.put([row(2, {"a": 2.5})]) == []
    assert hosts.ask("SELECT type, declared FROM ave_columns") == [("number", 0)]


def test_a_crash_amid_a_decision_lets_another_host_decide_otherwise(hosts, monkeypatch):
    def fails(_table):
        raise OSError("the wire was cut")

    ours, theirs = hosts.one_more(), hosts.one_more()
    assert ours.put([row(1, {"a": 1})]) == []
    with monkeypatch.context() as patch:
        patch.setattr(tables_module, "update", fails)
        with pytest.raises(StoreUnavailable, match="the wire was cut"):
            ours.put([row(2, {"a": 2.5})])
    assert theirs.put([row(3, {"a": LARGE})]) == []
    assert ours.put([row(2, {"a": 2.5})]) == []
    assert in_the_column(hosts) == [1, None, LARGE]
    assert rows(ours) == [{"a": 1}, {"a": 2.5}, {"a": LARGE}]


def test_a_crash_amid_a_new_column_leaves_none_in_a_file(sqlite, monkeypatch):
    def fails(*_args, **_options):
        raise OSError("power cut")

    store = sqlite.one_more()
    assert store.put([row(1, {"b": 1})]) == []
    with monkeypatch.context() as patch:
        patch.setattr(tables_module.Catalogue, "_note", fails)
        with pytest.raises(StoreUnavailable, match="power cut"):
            store.put([row(2, {"a": 7})])
    assert store.put([row(3, {"a": "007"})]) == []
    assert in_the_column(sqlite) == [None, "007"]


def test_what_other_hosts_change_while_somebody_reads_comes_whole_too(hosts, monkeypatch):
    monkeypatch.setattr(store_module, "PAGE", 20)
    ours, theirs = hosts.one_more(), hosts.one_more()
    assert ours.put([row(seq, {"a": seq}) for seq in range(1, 25)]) == []
    found = theirs.find(Query())
    assert next(found).body["row"] == {"a": 1}
    later = [row(30, {"a": 2.5}), row(31, {"a": 1, "b": "new"})]
    assert ours.put(later) == []
    assert list(map(repr, list(found)[-2:])) == list(map(repr, later))
