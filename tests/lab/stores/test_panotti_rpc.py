"""Panotti over AVE RPC: what a document is, what each failure means, and that shipping tells no stories of itself."""

from __future__ import annotations

import os
import re
from datetime import datetime

import pytest

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import open_store
from ave.lab.stores.panotti_rpc import PanottiRpcStore, document, record_of
from ave.network import Control, RemoteControl, find_free_port
from ave.record import KINDS, Query
from ave.testing import PanottiControl
from tests.forgetting import forget
from tests.lab.stores.samples import GUID, record


@pytest.fixture
def serve():
    started = []

    def start(kind, **options):
        control = kind(find_free_port(), **options)
        control.start(synchronize=True)
        started.append(control)
        return control

    yield start
    for control in started:
        control.terminate()
        control.join(10)


@pytest.fixture
def opened():
    stores = []

    def open_one(control, user=""):
        stores.append(PanottiRpcStore(f"ave://{user}127.0.0.1:{control.port}/db"))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def test_a_document_is_the_body_with_guid_and_local_time():
    made = document(record(1, "exception", {"exception": {"type": "X", "message": "m"}, "guid": "covered"}))
    beside = made.pop("_ave")
    assert made == {
        "exception": {"type": "X", "message": "m"},
        "guid": GUID,
        "time_stamp": str(datetime.fromtimestamp(beside["time"] / 1e9)),
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", made["time_stamp"])


@pytest.mark.parametrize(
    "body", [{"n": 1}, {"guid": "mine", "time_stamp": 5, "_ave": {"id": 1}}, {"_marks": []}, {}], ids=str
)
def test_a_record_comes_back_from_its_document_whatever_its_fields_are_called(body):
    sent = record(1, body=body)
    assert record_of(document(sent)) == sent


@pytest.mark.parametrize("kept", [5, {}, {"guid": "g", "_ave": 5}, {"guid": "g", "_ave": {"id": "x"}}])
def test_a_document_of_somebody_else_is_no_record(kept):
    assert record_of(kept) is None


def test_documents_that_others_shouted_are_left_out(serve, opened):
    control = serve(PanottiControl)
    store = opened(control)
    store.put([record(1)])
    with RemoteControl(("", control.port), None, 10) as remote:
        for _ in range(2):
            remote.shout("db", {"title": "by hand", "guid": GUID})
        assert len(remote.get_log("db")) == 3
    assert [found.id for found in store.find(Query())] == [record(1).id]


def test_a_panotti_that_is_away_is_unavailable_and_used_again_when_it_is_back(serve, opened):
    first = serve(PanottiControl)
    store = opened(first)
    store.put([record(1)])
    first.terminate()
    first.join(10)
    with pytest.raises(StoreUnavailable, match="no connection to"):
        store.put([record(2)])
    with pytest.raises(StoreUnavailable):
        list(store.find(Query()))
    again = PanottiControl(first.port)
    again.start(synchronize=True)
    assert store.put([record(1), record(2)]) == []
    again.terminate()
    again.join(10)


class Original(Control):
    """Keeps what it is sent, as often as it is sent."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.kept = []

    @Control.rpc
    def shout(self, db, doc):
        self.kept.append(doc)

    @Control.rpc
    def get_log(self, db):
        return self.kept


def test_a_record_that_an_original_panotti_keeps_twice_counts_once(serve, opened):
    store = opened(serve(Original))
    for _ in range(2):
        assert store.put([record(1), record(2)]) == []
    assert store.count(GUID) == {"shout": 2}
    assert len(list(store.find(Query()))) == 2


class Closed(PanottiControl):
    @Control.rpc
    @Control.auth
    def shout(self, db, doc):
        super().shout(db, doc)


class Other(Control):
    @Control.rpc
    def shout(self, db, doc):
        raise ValueError("broken")


def test_a_wrong_key_holds_the_queue(serve, opened):
    control = serve(Closed, authkey="secret")
    with pytest.raises(ConfigError, match="refuses shout: not authenticated"):
        opened(control, ":wrong@").put([record(1)])
    assert opened(control, ":secret@").put([record(1)]) == []


def test_a_service_that_is_no_panotti_holds_the_queue_or_cannot_be_asked(serve, opened):
    store = opened(serve(Other))
    with pytest.raises(ConfigError, match="refuses get_log: no such RPC: get_log"):
        list(store.find(Query()))
    (rejected,) = store.put([record(1)])
    assert rejected.reason.startswith("broken")


def test_a_record_over_the_limit_is_rejected_and_the_next_is_stored(serve, opened):
    store = opened(serve(PanottiControl, limit=5000))
    (rejected,) = store.put([record(1, body={"text": "x" * 6000}), record(2)])
    assert rejected.record.id == record(1).id
    assert "over the limit" in rejected.reason


def test_a_store_opened_for_reading_takes_nothing(serve):
    store = open_store(f"ave://127.0.0.1:{serve(PanottiControl).port}/db", "/home/lab", KINDS, readonly=True)
    with pytest.raises(UsageError, match="opened for reading only"):
        store.put([record(1)])
    store.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ave://127.0.0.1:4000", "must be ave://host:port/db"),
        ("ave://127.0.0.1:4000/db?tsl=x", "none but the options insecure, legacy, tls"),
        ("ave://127.0.0.1:4000/db?legacy=yes", "insecure and legacy must be true or false"),
        ("ave://lab-db:4000/db", r"lab-db is not this machine.*\?insecure=true"),
        ("ave://127.0.0.1:port/db", "port"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused_without_its_key(url, text):
    with pytest.raises(ConfigError, match=text) as caught:
        PanottiRpcStore(url.replace("://", "://:hush@"))
    assert "hush" not in str(caught.value)


def test_another_machine_is_reached_when_the_url_says_how(capfd):
    PanottiRpcStore("ave://lab-db:4000/db?insecure=true&legacy=true").close()
    said = capfd.readouterr().err
    assert "INSECURE" in said
    assert "the original's weak authentication is on" in said


def test_shipping_tells_no_stories_of_itself(serve, opened, tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    os.makedirs(tmp_path / ".ave" / "config")
    (tmp_path / ".ave" / "config" / "panotti.json").write_text('{"enabled": true, "trace": true}')
    forget()
    store = opened(serve(PanottiControl))
    assert store.put([record(1)]) == []
    with pytest.raises(ConfigError):
        list(opened(serve(Other)).find(Query()))
    assert not (tmp_path / ".ave" / "spool").exists()
