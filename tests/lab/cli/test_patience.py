"""A store that does not answer: whoever asks is told what is waited for, and nobody is told who need not wait."""

from __future__ import annotations

import threading
from threading import Event, Timer

import pytest
from calling import GUID, deliver

from ave import spool
from ave.lab.cli import context
from ave.testing import MemoryStore, wait_until


class Slow(MemoryStore):
    """Answers when somebody has been told that it does not."""

    def __init__(self, told: Event) -> None:
        super().__init__()
        self._told = told

    def find(self, query):
        assert self._told.wait(30)
        return super().find(query)

    def count(self, guid, hosts=()):
        assert self._told.wait(30)
        return super().count(guid, hosts)

    def probe(self):
        assert self._told.wait(30)


@pytest.mark.parametrize("command", [["show", GUID], ["find"], ["measurements", GUID], ["audit", GUID], ["doctor"]])
def test_a_store_that_lets_one_wait_is_named(command, ave, home, monkeypatch):
    told, tell = Event(), context.tell
    monkeypatch.setattr(context, "PATIENCE_S", 0.01)
    monkeypatch.setattr(context, "tell", lambda text: (tell(text), told.set()))
    for module in ("ave.lab.config.routes", "ave.lab.cli.doctor"):
        monkeypatch.setattr(f"{module}.open_store", lambda *_, **__: Slow(told))
    assert "ave: waiting for the store embedded, which has not answered for 0.01 s\n" in ave(*command).err


def test_nobody_is_told_of_a_store_that_answers(ave, home):
    spool.append("shout", GUID, {}, source="test", home=home)
    spool.close()
    deliver(home)
    assert ave("show", GUID).err == ave("audit", GUID).err == ""
    wait_until(lambda: not any(isinstance(one, Timer) for one in threading.enumerate()), 3, "nobody to be told later")
