"""Which failures are a record's own, and which are not: those set nothing aside."""

from __future__ import annotations

import math
import socket
import sqlite3
import sys

import pymysql
import pytest

from ave.exceptions import ConfigError, Restarting, StoreUnavailable
from ave.lab.stores import STORES, open_store
from ave.lab.stores.base import FEW, put_all
from ave.lab.stores.panotti_rpc import PanottiRpcStore
from ave.network import find_free_port
from ave.record import KINDS
from ave.testing import MemoryStore, PanottiControl
from tests.lab.stores.samples import record
from tests.system.mysql_fake import FakeMysql, packet


@pytest.fixture
def store():
    return MemoryStore()


def records(count):
    return [record(n) for n in range(1, count + 1)]


def failing(store, error, good=(), refused=()):
    def reject(record):
        if record.body["n"] in refused:
            return "too odd"
        if record.body["n"] in good:
            return ""
        raise type(error)(*error.args)

    store.reject = reject


# Every record


@pytest.mark.parametrize("error", [KeyError("a bug"), RuntimeError("odd"), AssertionError(), MemoryError()])
@pytest.mark.parametrize("count", [FEW + 1, 1000])
def test_what_fails_at_every_record_is_none_of_theirs(store, error, count):
    failing(store, error)
    with pytest.raises(StoreUnavailable, match=f"^{type(error).__name__}: .*none is set aside$") as caught:
        put_all(store, records(count))
    assert caught.value.details["unforeseen"]
    assert type(caught.value.__cause__) is type(error)


def test_nor_is_it_where_the_store_has_a_reason_for_the_others(store):
    failing(store, KeyError("a bug"), refused={3, 8})
    with pytest.raises(StoreUnavailable, match="a bug"):
        put_all(store, records(FEW + 3))


@pytest.mark.parametrize("good", [1, 77, FEW + 90])
def test_one_record_that_is_taken_proves_the_others_guilty(store, good, caplog):
    failing(store, KeyError("a bug"), good={good})
    rejected = put_all(store, records(FEW + 90))
    assert {letter.reason for letter in rejected} == {"KeyError: 'a bug'"}
    assert {letter.record.body["n"] for letter in rejected} == set(range(1, FEW + 91)) - {good}
    assert [kept.body["n"] for kept in store.records.values()] == [good]
    assert caplog.text.count("a store failed at") == len(rejected)


def test_a_few_records_are_too_few_to_tell(store):
    failing(store, KeyError("a bug"))
    assert len(put_all(store, records(FEW))) == FEW


@pytest.mark.parametrize("place", [1, 500, 1000])
def test_one_guilty_record_is_found_in_few_requests(store, place):
    failing(store, KeyError("a bug"), good=set(range(1, 1001)) - {place})
    [letter] = put_all(store, records(1000))
    assert letter.record.body["n"] == place
    assert len(store.batches) <= 2 * math.log2(1000) + 2


@pytest.mark.parametrize("error", [MemoryError(), ImportError("no such library")])
def test_what_is_never_about_a_record_sets_aside_not_even_one(store, error):
    failing(store, error, good={1, 2, 4})
    with pytest.raises(StoreUnavailable, match=type(error).__name__):
        put_all(store, records(4))
    assert put_all(store, records(2)) == []


# Opening


@pytest.mark.parametrize("scheme", sorted({*STORES} - {"ave"}))
def test_what_nobody_foresaw_at_opening_sets_nothing_aside(scheme, tmp_path, monkeypatch):
    def fail(sock, *_args, **_options):
        if isinstance(sock, socket.socket):
            sock.close()
        raise RuntimeError("of a library")

    monkeypatch.setattr(socket.socket, "connect", fail, raising=False)
    monkeypatch.setattr(sqlite3, "connect", fail)
    where = f"{tmp_path}/lab.db" if scheme.startswith("sqlite") else "me:secret@127.0.0.1:1/db"
    store = open_store(f"{scheme}://{where}", str(tmp_path), KINDS)
    with pytest.raises((ConfigError, StoreUnavailable), match="RuntimeError: of a library") as caught:
        put_all(store, records(1))
    assert "secret" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+tables"])
def test_nor_does_what_nobody_foresaw_between_opening_and_the_first_record(scheme, tmp_path, monkeypatch):
    class Odd(sqlite3.Connection):
        def execute(self, *_):
            raise LookupError("of a library")

        def cursor(self, *_):
            raise LookupError("of a library")

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=Odd))
    store = open_store(f"{scheme}://{tmp_path}/lab.db", str(tmp_path), KINDS)
    with pytest.raises(ConfigError, match=r"lab.db cannot be opened: LookupError: of a library"):
        put_all(store, records(1))
    store.close()


@pytest.mark.parametrize("plugin", ["caching_sha2_password", "client_ed25519"])
def test_a_login_that_needs_another_package_is_told_with_the_cure(plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(pymysql._auth, "_have_cryptography", False)
    monkeypatch.setattr(pymysql._auth, "_nacl_bindings", False)
    monkeypatch.setitem(sys.modules, "nacl", None)
    answers, cure = {
        "caching_sha2_password": ([(2, b"\x01\x04"), (4, b"\x01a key")], "pip install 'ave-logging[mysql]'"),
        "client_ed25519": ([(2, b"\xfeclient_ed25519\x00" + b"x" * 32)], "pip install 'pymysql[ed25519]'"),
    }[plugin]

    def demand(peer):
        for number, answer in answers:
            peer.recv(65536)
            peer.sendall(packet(number, answer))
        peer.recv(65536)

    server = FakeMysql(plugin.encode(), demand)
    store = open_store(f"mysql://ave:secret@127.0.0.1:{server.port}/lab", str(tmp_path), KINDS)
    with pytest.raises(ConfigError, match=r"^mysql://127\.0\.0\.1:\d+/lab: .*package is required") as caught:
        put_all(store, records(1))
    assert cure in str(caught.value)
    server.end()


# A server that goes


def test_a_panotti_that_restarts_is_given_the_record_again():
    class Going(PanottiControl):
        @PanottiControl.rpc
        def shout(self, db, document):
            raise Restarting("in a moment")

    control = Going(find_free_port(), authkey="secret")
    control.start(synchronize=True)
    store = PanottiRpcStore(f"ave://:secret@127.0.0.1:{control.port}/db")
    try:
        with pytest.raises(StoreUnavailable, match="in a moment"):
            put_all(store, records(1))
    finally:
        store.close()
        control.terminate()
        control.join(10)
