"""GUIDs that begin so: offered to the shell, and to who typed a part of one."""

from __future__ import annotations

import os

import pytest
from calling import started

from ave.lab.cli import guids
from ave.lab.logd.books import enter
from ave.lab.logd.ledger import Ledger
from ave.lab.logd.watch import Watch
from tests.lab.logd.segments import footer, header, name, record, write

RUNS = ["nightly-3", "nightly-10", "boot-7", "nightly_8", "nightly-ö%", "nightly-10"]


@pytest.fixture
def books(home):
    """The books of a host on which RUNS ran, the last one last."""
    spool = f"{home}/.ave/spool"
    os.makedirs(spool)
    for number, guid in enumerate(RUNS, 1):
        write(spool, number, header(), record(1, guid=guid, of=name(number)), footer(1))
    watch = Watch(spool)
    watch.look()
    ledger = Ledger(f"{spool}/ledger.db")
    enter(ledger, watch, 1 << 20)
    ledger.commit()
    ledger.close()


def test_runs_that_begin_so_come_the_newest_first(books, home, monkeypatch):
    assert guids.beginning(home, "nightly-") == ["nightly-10", "nightly-ö%", "nightly-3"]
    assert guids.beginning(home, "nightly-1") == ["nightly-10"]
    assert guids.beginning(home, "") == ["nightly-10", "nightly-ö%", "nightly_8", "boot-7", "nightly-3"]
    assert guids.beginning(home, "ghost") == []
    monkeypatch.setattr(guids, "MOST", 2)
    assert guids.beginning(home, "nightly") == ["nightly-10", "nightly-ö%"]


def test_without_books_there_are_none(home):
    assert guids.beginning(home, "") == []
    assert not os.path.exists(f"{home}/.ave/spool"), "to ask changes nothing"


def test_a_part_of_a_guid_is_answered_by_the_runs_it_may_be(books, ave):
    ran = ave("show", "nightly-1")
    assert (ran.code, ran.err) == (1, "ave: nothing is stored of nightly-1; runs that begin so: nightly-10\n")
    assert ave("show", "nightly").err.endswith("runs that begin so: nightly-10, nightly-ö%, nightly_8, ...\n")
    assert "`ave audit nightly-10` tells" in ave("show", "nightly-10").err, "a whole GUID is no part of itself"


@pytest.mark.parametrize("command", ["show", "audit", "wait", "tail", "measurements"])
def test_the_shell_completes_guids(books, home, monkeypatch, command):
    monkeypatch.setenv("_AVE_COMPLETE", "bash_complete")
    for words, number in ((f"ave {command} nightly-1", "2"), (f"ave --home {home} {command} nightly-1", "4")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", number)
        assert started().out.splitlines() == ["plain,nightly-10"]
