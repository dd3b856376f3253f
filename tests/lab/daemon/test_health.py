from __future__ import annotations

import os
import sys
import threading
import time

import pytest
from printing import NAME, printer, run, told  # noqa: F401 - the fixtures

from ave import context
from ave.exceptions import TRACE_ENDS, SpoolError
from ave.lab.daemon import health
from ave.lab.daemon.health import INTERVAL_S, Health

GUID = "20261122-nightly-17"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""

    class Clock:
        now = 1000.0

        monotonic = staticmethod(lambda: Clock.now)
        process_time = staticmethod(time.process_time)

    monkeypatch.setattr(health, "time", Clock)
    return Clock


def test_a_metric_tells_every_ten_seconds_how_the_service_is(home, clock, monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 17)
    one = Health(NAME, str(home), lambda: {"queue": 7})
    for _ in range(60):
        clock.now += 0.5
        one.check()
    metrics = told(home, "metric")
    assert len(metrics) == 3
    assert {(record.guid, record.source) for record in metrics} == {("", NAME)}
    body = metrics[0].body
    assert (body["source"], body["interval"]) == ("service", INTERVAL_S)
    values = body["values"]
    assert values["queue"] == 7
    assert 1 << 20 < values["rss"] < 1 << 32
    assert values["descriptors"] >= 3
    assert values["threads"] == 17
    assert values["uptime"] == 10.0
    assert 0 <= values["cpu"] < 100


def test_cpu_is_that_of_the_interval_in_cores(home):
    one = Health(NAME, str(home), dict)
    one.values()
    began = time.process_time()
    while time.process_time() < began + 0.1:
        pass
    busy = one.values()["cpu"]
    one._before = (one._before[0] - 100, one._before[1])
    assert one.values()["cpu"] < 0.01 < busy


def test_a_gauge_that_fails_costs_its_values_and_is_told(home):
    one = Health(NAME, str(home), lambda: {"broken": 1 / 0})
    assert "rss" in one.values()
    assert told(home, "exception")[0].body["exception"]["type"] == "ZeroDivisionError"


def test_an_error_that_nobody_catches_is_a_record_in_any_thread(run, home):  # noqa: F811
    def work(_log):
        sys.excepthook = sys.__excepthook__
        Health(NAME, str(home), dict).watch_errors()
        thread = threading.Thread(target=lambda: {}["missing"])
        thread.start()
        thread.join()
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            sys.excepthook(*sys.exc_info())
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    text = run(work)
    first, second = told(home, "exception")
    assert (first.source, first.guid) == (NAME, "")
    assert first.body["exception"]["type"] == "KeyError"
    assert first.body["exception"]["message"] == "'missing'"
    file, line, function, source = second.body["exception"]["trace"][-1]
    assert (os.path.basename(file), function, source) == ("test_health.py", "work", "1 / 0  # noqa: B018")
    assert line > 0
    assert text.count("Traceback") == 2


def test_an_error_inside_a_call_is_of_its_run(home):
    token = context.enter(context.Call(GUID, "", ""))
    try:
        Health(NAME, str(home), dict).report(ValueError("no"))
    finally:
        context.leave(token)
    assert told(home, "exception")[0].guid == GUID


def test_an_error_that_cannot_be_printed_is_told_all_the_same(home):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    Health(NAME, str(home), dict).report(Odd())
    assert told(home, "exception")[0].body["exception"] == {"type": "Odd", "message": "unprintable Odd", "trace": []}


def test_a_trace_is_bounded(home):
    def dive():
        dive()

    try:
        dive()
    except RecursionError as error:
        Health(NAME, str(home), dict).report(error)
    assert len(told(home, "exception")[0].body["exception"]["trace"]) == 2 * TRACE_ENDS


def test_a_spool_that_is_full_troubles_nobody(home, monkeypatch):
    def full(*_, **__):
        raise SpoolError("full")

    monkeypatch.setattr(health.spool, "append", full)
    one = Health(NAME, str(home), dict)
    one._next = 0
    one.check()
    one.report(ValueError("no"))
