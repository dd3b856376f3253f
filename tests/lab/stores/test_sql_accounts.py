"""The accounts that `etc/mariadb.sql` makes: enough for ave-logd and for those who ask, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ave.exceptions import ConfigError
from ave.lab.stores import open_store
from ave.record import KINDS, Query
from tests.lab.stores.samples import GUID, TIME, record
from tests.system import servers_mariadb

SHIPPED = Path(__file__).resolve().parents[3] / "etc/mariadb.sql"
MONTH_NS = 31 * 86_400 * 10**9


@pytest.fixture
def server():
    """A server on which somebody has run the file as it is shipped."""
    server = servers_mariadb.shared()
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    statements = "\n".join(line for line in lines if not line.startswith("--")).split(";")
    server.execute(*filter(str.strip, statements))
    yield server
    accounts = server.execute("SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)) FROM mysql.user WHERE User LIKE 'ave%'")
    server.execute("DROP DATABASE ave", *(f"DROP USER {account}" for (account,) in accounts))


@pytest.fixture
def opened(server):
    stores = []

    def open_one(user, password, **options):
        url = servers_mariadb.url(server, user=user, password=password)
        stores.append(open_store(url, "/nowhere", KINDS, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def row(seq, values, **fields):
    return record(seq, "measurement", {"table": "boots", "row": values}, **fields)


def test_the_accounts_of_the_shipped_file_get_in_on_the_servers_own_machine_and_can_do_their_work(opened):
    writer, reader = opened("ave", "CHANGE ME"), opened("ave_reader", "CHANGE ME TOO", readonly=True)
    for batch in ([record(1), row(2, {"a": 1})], [row(3, {"a": 1.5, "b": "x"}, time=TIME + MONTH_NS)]):
        assert writer.put(batch) == []
    assert reader.count(GUID) == writer.count(GUID) == {"shout": 1, "measurement": 2}
    assert len(list(reader.find(Query(guid=GUID)))) == 3
    with pytest.raises(ConfigError, match="command denied"):
        opened("ave_reader", "CHANGE ME TOO").put([record(4)])


def test_from_other_machines_the_accounts_of_the_shipped_file_demand_tls(server):
    asked = "SELECT DISTINCT User, Host = '%', ssl_type FROM mysql.user WHERE User LIKE 'ave%' ORDER BY 1, 2"
    demands = [(user, 0, "") for user in ("ave", "ave_reader")] + [(user, 1, "ANY") for user in ("ave", "ave_reader")]
    assert sorted(server.execute(asked)) == sorted(demands)


def test_an_account_that_demands_tls_where_none_is_spoken_is_told_with_its_cure(server, opened):
    server.execute("ALTER USER ave@'127.0.0.1' REQUIRE SSL")
    cure = re.escape("mend user or password, what that user may do, or that the account demands TLS")
    with pytest.raises(ConfigError, match=cure):
        opened("ave", "CHANGE ME").put([record(1)])
