"""What calls leave in the story of a run: failures, the GUID in services, traces."""

from __future__ import annotations

import json
import threading

import pytest
from services import KEYS, Bench

from ave import home as homes
from ave.exceptions import AveException, ConfigError, ConnectionRefused, ConnectionTimeout, Exit, UsageError
from ave.network import Control, RemoteControl, current_guid, find_free_port
from ave.network.tracing import new_span, parse_traceparent, sampled
from ave.panotti import shout
from ave.testing import wait_until
from tests.forgetting import forget

GUID = "a-run-of-the-tests"


@pytest.fixture
def guid(monkeypatch):
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    return GUID


@pytest.fixture
def configure(home):
    """A function that sets keys of panotti.json."""

    def write(**keys):
        path = homes.config_file("panotti", home)
        with open(path, "w") as file:
            json.dump({"enabled": True, **keys}, file)
        forget()

    return write


@pytest.fixture
def bench(serve):
    return serve(Bench, **KEYS)


def test_a_call_that_fails_is_kept_under_the_run_with_all_the_server_said(guid, bench, call, kept):
    with pytest.raises(AveException) as raised:
        call(bench).ave({"message": "mÃ¥", "extra": 1})
    [record] = kept("exception")
    assert (record.guid, record.source) == (guid, "rpc")
    assert record.body["exception"] == raised.value.details
    assert record.body["method"] == "ave"
    assert record.body["peer"] == f"127.0.0.1:{bench.port}"
    assert len(record.body["span"]) == 16


def test_a_refusal_is_kept_as_the_bare_text_it_is(guid, bench, call, kept):
    with pytest.raises(AveException):
        call(bench).nosuch()
    [record] = kept("exception")
    assert record.body["exception"] == "no such RPC: nosuch"


def test_a_call_that_never_got_an_answer_is_kept_too(guid, bench, call, kept):
    with pytest.raises(ConnectionTimeout):
        call(bench, timeout=0.1).sleep(0.3)
    with RemoteControl(("", find_free_port()), optimist=False) as remote, pytest.raises(ConnectionRefused):
        remote.echo()
    assert [record.body["exception"]["type"] for record in kept("exception")] == [
        "ConnectionTimeout",
        "ConnectionRefused",
    ]


def test_without_a_run_and_for_asynchronous_calls_nothing_is_kept(bench, call, kept, monkeypatch):
    remote = call(bench)
    with pytest.raises(AveException):
        remote.boom()
    monkeypatch.setenv("VCSJOB_GUID", GUID)
    with pytest.raises(AveException):
        remote.boom()  # the run is asked for once, when the object is made
    job = call(bench)
    job.boom(__async__=True)
    job.nosuch(__async__=True)
    job.none()
    with RemoteControl(("", find_free_port()), optimist=False) as nobody, pytest.raises(ConnectionRefused):
        nobody.none(__async__=True)
    assert kept("exception") == []


def test_a_host_without_panotti_keeps_nothing_and_the_exception_comes_all_the_same(guid, bench, call, kept, configure):
    configure(enabled=False)
    with pytest.raises(AveException, match="bang"):
        call(bench).boom()
    assert kept("exception") == []


def test_a_secret_in_an_exception_does_not_reach_the_disk(guid, bench, call, kept):
    with pytest.raises(AveException):
        call(bench).ave({"message": "m", "password": "hunter2-hunter2"})
    [record] = kept("exception")
    assert "hunter2" not in json.dumps(record.body)


def test_a_full_spool_does_not_hide_the_exception(guid, bench, call, home):
    with open(homes.ave(home, "spool"), "w"):
        pass
    with pytest.raises(AveException, match="bang"):
        call(bench).boom()


def test_the_guid_travels_and_is_known_only_while_the_call_is_served(guid, bench, call, monkeypatch):
    job = call(bench)
    monkeypatch.delenv("VCSJOB_GUID")
    nobody = call(bench)
    assert job.guid() == guid
    assert nobody.guid() is None
    assert current_guid() is None


def test_a_shout_without_a_guid_takes_that_of_the_call_and_is_silent_outside_one(guid, bench, call, kept, monkeypatch):
    call(bench).shout("flashing")
    monkeypatch.delenv("VCSJOB_GUID")
    call(bench).shout("nobody's")
    shout(None, {"title": "nobody's"})
    [record] = kept("shout")
    assert (record.guid, record.body) == (guid, {"title": "flashing"})


class Front(Bench):
    """A service that calls another."""

    def __init__(self, *args, behind, **options):
        super().__init__(*args, **options)
        self.behind = behind
        self.remote = None

    @Control.rpc
    def pass_on(self, method):
        if self.remote is None:
            self.remote = RemoteControl(("", self.behind), None, 10)
        return getattr(self.remote, method)()


def test_a_nested_call_passes_the_guid_on_and_its_failure_joins_the_story(serve, bench, call, kept, monkeypatch):
    front, guid = serve(Front, behind=bench.port), GUID
    monkeypatch.setenv("VCSJOB_GUID", guid)  # the services know of no run
    remote = call(front)
    assert remote.pass_on("guid") == guid
    with pytest.raises(AveException, match="bang") as raised:
        remote.pass_on("boom")
    assert [frame[2] for frame in raised.value.details["trace"]] == ["boom"]
    inner, outer = kept("exception")
    assert inner.pid != outer.pid
    assert (inner.guid, outer.guid) == (guid, guid)
    assert (inner.body["method"], outer.body["method"]) == ("boom", "pass_on")


def test_the_end_of_a_service_behind_is_told_and_does_not_end_the_one_before(serve, bench, call):
    remote = call(serve(Front, behind=bench.port))
    with pytest.raises(Exit, match="bye"):
        remote.pass_on("exit")
    assert bench.join(10) == 256
    assert remote.none() is None


def test_threads_of_a_service_do_not_inherit_the_run(serve, call, guid):
    class Threaded(Control):
        @Control.rpc
        def both(self):
            seen = []
            thread = threading.Thread(target=lambda: seen.append(current_guid()))
            thread.start()
            thread.join()
            return [current_guid(), *seen]

    assert call(serve(Threaded)).both() == [guid, None]


@pytest.mark.parametrize("value", ["short", 5, None, "x" * 5000, ["a-run-of-the-tests"]])
def test_a_guid_that_cannot_be_one_is_none(serve, value):
    from original import Client

    control = serve(Bench, legacy=True)
    with Client(control.port) as client:
        request = {"method": "guid", "params": {"vargs": [], "kwargs": {}}, "guid": value}
        assert client.request(json.dumps(request)) == {"result": None}


# Traces


@pytest.fixture
def traced(configure, serve):
    """A service on a host that traces all calls."""
    configure(trace=True)
    return serve(Bench, **KEYS)


def test_a_traced_call_leaves_a_record_on_each_side_joined_by_its_span(guid, traced, call, kept):
    call(traced, "secret").echo(1, password="hunter2-hunter2")
    wait_until(lambda: len(kept("trace")) == 2)
    client, server = sorted((record.body for record in kept("trace")), key=lambda body: body["side"])
    assert {record.guid for record in kept("trace")} == {guid}
    assert (client["side"], server["side"]) == ("client", "server")
    for body in (client, server):
        assert (body["method"], body["outcome"], body["span"]) == ("echo", "ok", client["span"])
        assert body["args"][0] == [1]
        assert 0 < body["duration"] < 5
        assert "hunter2" not in json.dumps(body)
    assert (client["sent"], client["received"]) == (server["received"], server["sent"])
    assert client["peer"] == f"127.0.0.1:{traced.port}"
    assert client["result"][0] == [1]


def test_the_outcome_tells_what_came_of_a_call(traced, call, kept):
    with pytest.raises(AveException):
        call(traced).boom()
    with pytest.raises(ConnectionTimeout):
        call(traced, timeout=0.1).sleep(0.3)
    wait_until(lambda: len(kept("trace")) == 4)
    outcomes = [(r.body["method"], r.body["side"], r.body["outcome"]) for r in kept("trace")]
    assert sorted(outcomes) == [
        ("boom", "client", "exception"),
        ("boom", "server", "exception"),
        ("sleep", "client", "timeout"),
        ("sleep", "server", "ok"),
    ]


def test_a_nested_call_names_the_span_it_was_made_in(guid, traced, serve, call, kept):
    front = serve(Front, behind=traced.port)
    call(front).pass_on("none")
    wait_until(lambda: len(kept("trace")) == 4)
    by = {(record.body["method"], record.body["side"]): record.body for record in kept("trace")}
    assert by["none", "client"]["parent"] == by["pass_on", "server"]["span"] == by["pass_on", "client"]["span"]
    assert by["none", "server"]["span"] == by["none", "client"]["span"] != by["pass_on", "client"]["span"]


def test_an_asynchronous_call_is_traced_too(traced, call, kept):
    call(traced).count_up(__async__=True)
    wait_until(lambda: len(kept("trace")) == 2)
    assert {record.body["outcome"] for record in kept("trace")} == {"ok"}


class Spoiler(Control):
    """Does to its arguments what makes them no JSON any more."""

    @Control.rpc
    def spoil(self, items, named):
        items.append(object())
        named["x"] = {object(): items}
        return named.get("y")


def test_a_method_that_spoils_its_arguments_is_traced_as_it_was_called(configure, serve, call, kept):
    configure(trace=True)
    remote = call(serve(Spoiler))
    for number in (1, 2):
        assert remote.spoil([number], named={"y": number}) == number
    wait_until(lambda: len(kept("trace")) == 4)
    assert [record.body["args"] for record in kept("trace")] == [[[[n]], {"named": {"y": n}}] for n in (1, 1, 2, 2)]


class Unprintable:
    def __str__(self):
        raise KeyError("of the tests")

    __repr__ = __str__


def test_arguments_that_can_be_neither_sent_nor_shown_are_only_refused(configure, serve, call, kept):
    configure(trace=True)
    remote = call(serve(Bench))
    for value in (Unprintable(), {Unprintable(): 1}, [Unprintable()] * 1000):
        with pytest.raises(UsageError, match=r"(?i)json"):
            remote.echo(value)
    assert remote.none() is None


def test_long_arguments_and_results_are_cut(traced, call, kept):
    call(traced, "secret").echo(["x" * 5000] * 100, key={"password": "hunter2-hunter2"})
    wait_until(lambda: len(kept("trace")) == 2)
    for record in kept("trace"):
        assert len(json.dumps(record.body)) < 8192
        assert "hunter2" not in json.dumps(record.body)


def test_of_sampled_calls_both_sides_keep_the_same(configure, serve, call, kept):
    configure(trace={"sample": 0.5})
    control = serve(Bench)
    remote = call(control)
    for _ in range(60):
        remote.none()
    call(control).none()
    wait_until(lambda: len({r.body["span"] for r in kept("trace")}) * 2 == len(kept("trace")))
    assert 5 < len(kept("trace")) / 2 < 56


@pytest.mark.parametrize(
    "settings", [{}, {"trace": False}, {"trace": True, "enabled": False}, {"trace": {"sample": 0}}]
)
def test_a_host_that_does_not_ask_for_traces_keeps_none(configure, serve, call, kept, settings):
    configure(**settings)
    call(serve(Bench)).none()
    assert kept("trace") == []


@pytest.mark.parametrize("trace", ["yes", {"sample": 2}, {"sample": "x"}, {}, {"rate": 0.1}, {"sample": 0.1, "x": 1}])
def test_a_wrong_setting_is_named(configure, home, trace):
    configure(trace=trace)
    with pytest.raises(ConfigError, match="trace"):
        homes.load("panotti", home)


def test_the_trace_of_the_environment_is_gone_on_with(guid, monkeypatch, serve):
    trace = "0af7651916cd43dd8448eb211c80319c"
    monkeypatch.setenv("TRACEPARENT", f"00-{trace}-b7ad6b7169203331-01")
    from original import serve_one

    listener = __import__("socket").create_server(("127.0.0.1", 0))
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(serve_one(listener, b"", [b'{"result": 1}'])))
    thread.start()
    with RemoteControl(("", listener.getsockname()[1]), None, 10, legacy=True) as remote:
        assert remote.any() == 1
    thread.join(10)
    listener.close()
    request = json.loads(seen[-1])
    assert request["guid"] == guid
    assert parse_traceparent(request["traceparent"])[0] == trace
    assert parse_traceparent(request["traceparent"])[1] != "b7ad6b7169203331"


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        "",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331--01",
    ],
)
def test_what_is_no_traceparent_names_no_span(text):
    assert parse_traceparent(text) == ("", "")


def test_a_sample_is_a_share_of_all_spans():
    spans = [new_span() for _ in range(2000)]
    assert len(set(spans)) == 2000
    assert all(parse_traceparent(f"00-{'1' * 32}-{span}-01")[1] == span for span in spans)
    for share in (0.0, 0.1, 0.5, 1.0):
        assert abs(sum(sampled(span, share) for span in spans) / 2000 - share) < 0.05
        assert [sampled(span, share) for span in spans] == [sampled(span, share) for span in spans]
