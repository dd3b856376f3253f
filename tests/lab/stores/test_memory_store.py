"""The aids of `ave.testing`."""

from __future__ import annotations

import pytest

from ave.exceptions import ConfigError, StoreUnavailable
from ave.record import Query
from ave.testing import MemoryStore, wait_until
from tests.lab.stores.samples import GUID, record


def uses(store):
    return (lambda: store.put([record(1)]), lambda: list(store.find(Query())), lambda: store.count(GUID))


@pytest.mark.parametrize(("switch", "error"), [("down", StoreUnavailable), ("refusing", ConfigError)])
def test_a_memory_store_fails_on_demand_and_keeps_nothing_then(switch, error):
    store = MemoryStore()
    setattr(store, switch, True)
    for use in uses(store):
        with pytest.raises(error, match=r"^the store "):
            use()
    setattr(store, switch, False)
    assert store.records == {}
    assert store.batches == [[record(1).id]]


def test_a_memory_store_rejects_what_it_is_told_to():
    store = MemoryStore({"shout"})
    store.reject = lambda record: "too odd" if record.body["n"] % 2 else ""
    rejected = store.put([record(1), record(2), record(3)])
    assert [(reject.record.body["n"], reject.reason) for reject in rejected] == [(1, "too odd"), (3, "too odd")]
    assert list(store.records) == [record(2).id]
    assert store.kinds == {"shout"}


def test_wait_until_returns_as_soon_as_the_condition_holds():
    answers = iter([0, "", None, 1])
    wait_until(lambda: next(answers))
    assert next(answers, "none left") == "none left"


def test_wait_until_names_what_it_waited_for():
    asked = []
    with pytest.raises(AssertionError, match=r"^waited 0\.01 s in vain for the cursor to move$"):
        wait_until(lambda: asked.append(1), timeout=0.01, what="the cursor to move")
    assert len(asked) >= 2
