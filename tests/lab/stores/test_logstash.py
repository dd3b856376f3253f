"""Logstash's two inputs: what goes over the wire, and which answers count as taken."""

from __future__ import annotations

import http.server
import json
import re
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import logstash, open_store
from ave.lab.stores.logstash import document
from ave.record import KINDS, Query
from tests.lab.stores.samples import GUID, record
from tests.system.dripping import dripping
from tests.system.sink import Sink


@pytest.fixture
def sink():
    with Sink() as one:
        yield one


def opened(url, **how):
    return open_store(url, "/nowhere", KINDS, **how)


def tcp(sink, query=""):
    return opened(f"logstash://127.0.0.1:{sink.port}{query}")


# Documents


def test_a_record_is_an_event_with_its_fields():
    sent = record(7, "log", {"stream": "out", "text": "hello"}, time=1_795_306_650_135_299_700)
    assert document(sent) == {
        "id": sent.id,
        "kind": "log",
        "guid": GUID,
        "createTime": "2026-11-22T00:17:30.135299700Z",
        "host": {"name": "lab-1"},
        "pid": 4711,
        "source": "panotti",
        "body": {"stream": "out", "text": "hello"},
    }


def test_keys_have_no_brackets_for_logstash_would_take_the_whole_batch_for_no_json():
    body = {"test_a[1]": {"x": [{"[": "[]"}, None, 1]}, "plain": "a[1]"}
    sent = document(record(1, "shout", body))["body"]
    assert sent == {"test_a%5B1%5D": {"x": [{"%5B": "[]"}, None, 1]}, "plain": "a[1]"}


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("passed", "success"),
        ("xpassed", "success"),
        ("failure", "failure"),
        ("error", "error"),
        ("skipped", "skipped"),
        ("xfailed", "skipped"),
        ("something new", "something new"),
    ],
)
def test_a_verdict_has_the_words_of_elk_users_besides(result, outcome):
    body = {"suite": "test_boot.TestBoot", "name": "test_a", "result": result, "duration": 0.25, "message": "no boot"}
    event = document(record(1, "verdict", body))
    assert event["body"] == body
    words = {name: event.get(name) for name in ("name", "classname", "outcome", "run_time", "failure_message")}
    failure = "no boot" if result in {"failure", "error"} else None
    assert words == {
        "name": "test_a",
        "classname": "test_boot.TestBoot",
        "outcome": outcome,
        "run_time": 0.25,
        "failure_message": failure,
    }


def test_the_trace_of_a_failure_says_more_than_its_message():
    body = {"name": "test_a", "result": "failure", "message": "assert 1 == 2", "trace": "test_a.py:3: AssertionError"}
    assert document(record(1, "verdict", body))["failure_message"] == "test_a.py:3: AssertionError"


def test_what_a_verdict_does_not_say_its_event_does_not_say_either():
    assert document(record(1, "verdict", {"result": "passed"})).keys() & {"name", "classname", "run_time"} == set()


# TCP


def test_a_batch_comes_as_lines_of_json_in_its_order(sink):
    batch = [record(seq, body={"text": f"line\n{seq} é"}) for seq in range(1, 200)]
    assert tcp(sink).put(batch) == []
    assert sink.events == [document(one) for one in batch]


def test_the_next_batch_has_a_connection_of_its_own(sink):
    store = tcp(sink)
    store.put([record(1)])
    store.put([record(2)])
    assert sink.connections == 2
    assert [event["body"]["n"] for event in sink.events] == [1, 2]


def test_a_record_that_no_json_can_hold_is_rejected_alone(sink):
    bad = record(2, body={"text": "\udcff"})
    (rejected,) = tcp(sink).put([record(1), bad, record(3)])
    assert rejected.record is bad
    assert "no JSON can hold it" in rejected.reason
    assert [event["body"]["n"] for event in sink.events] == [1, 3]


@pytest.mark.parametrize("mood", ["reset", "close"])
@pytest.mark.parametrize("bytes_first", [0, 5000])
def test_a_connection_that_ends_early_is_told_and_the_batch_may_come_again(sink, mood, bytes_first):
    sink.mood, sink.bytes_first = mood, bytes_first
    batch = [record(seq, body={"text": "x" * 1000}) for seq in range(1, 3000)]
    with pytest.raises(StoreUnavailable, match=f"^logstash://127.0.0.1:{sink.port}/: .*the batch is sent again$"):
        tcp(sink).put(batch)
    sink.mood = "well"
    sink.events.clear()
    assert tcp(sink).put(batch) == []
    assert len(sink.events) == len(batch)


def test_one_that_has_gone_already_cannot_have_read_it_all():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"{}\n")
        assert theirs.recv(10) == b"{}\n"
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError, match="it closed in the middle"):
            logstash._end(ours)


def test_one_that_is_still_there_is_told_that_nothing_more_comes():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        logstash._end(ours)
        assert theirs.recv(10) == b""
        theirs.close()
        assert ours.recv(10) == b""


def test_one_that_reads_nothing_is_told_in_time(sink, monkeypatch):
    monkeypatch.setattr(logstash, "STEP_S", 0.2)
    sink.mood = "stall"
    with pytest.raises(StoreUnavailable, match="timed out"):
        tcp(sink).put([record(1)])


def test_one_that_is_gone_is_told_and_found_again(sink):
    sink.vanish()
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        tcp(sink).put([record(1)])
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        tcp(sink).probe()
    sink.come_back()
    tcp(sink).probe()
    assert tcp(sink).put([record(1)]) == []


def test_nothing_can_be_asked_of_it(sink):
    store = tcp(sink)
    assert store.answers is False
    for ask in (lambda: store.find(Query()), lambda: store.count(GUID)):
        with pytest.raises(UsageError, match="cannot be asked; ask what is behind it"):
            ask()
    with pytest.raises(UsageError, match="was opened for reading only"):
        opened(f"logstash://127.0.0.1:{sink.port}", readonly=True).put([record(1)])


def test_one_that_talks_without_end_is_left(sink, monkeypatch):
    sink.mood = "drip"
    monkeypatch.setattr(logstash, "ANSWER_S", 0.3)
    with pytest.raises(StoreUnavailable, match=r"an answer of more than 0\.3 seconds; the batch is sent again"):
        tcp(sink).put([record(1)])
    monkeypatch.undo()
    monkeypatch.setattr(logstash, "ANSWER_BYTES", 5)
    with pytest.raises(StoreUnavailable, match="an answer of more than 5 bytes; the batch is sent again"):
        tcp(sink).put([record(1)])


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def server_context(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_tls_goes_to_whom_the_certificate_names_and_to_nobody_else(authority, tmp_path):
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    with Sink(server_context(authority, "127.0.0.1")) as sink:
        assert tcp(sink, f"?tls={ca}").put([record(1)]) == []
        assert [event["body"]["n"] for event in sink.events] == [1]
        with pytest.raises(ConfigError, match="does not prove its name"):
            tcp(sink, "?tls=system").put([record(2)])
    with Sink(server_context(authority, "other.example")) as sink:
        with pytest.raises(ConfigError, match="does not prove its name"):
            tcp(sink, f"?tls={ca}").put([record(1)])
        assert sink.events == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda it: it.name)
@pytest.mark.parametrize("answers_end", [True, False])
def test_a_batch_by_tls_is_taken_whether_or_not_the_end_of_tls_is_answered(
    authority, tmp_path, monkeypatch, version, answers_end
):
    monkeypatch.setattr(logstash, "STEP_S", 5.0)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = server_context(authority, "127.0.0.1")
    context.minimum_version = context.maximum_version = version
    batch = [record(seq, body={"text": "x" * 1000}) for seq in range(1, 3000)]
    with Sink(context, answers_end=answers_end) as sink:
        assert tcp(sink, f"?tls={ca}").put(batch) == []
        assert sink.connections == 1
        assert len(sink.events) == len(batch)


def test_one_that_demands_a_certificate_of_ours_has_not_taken_the_batch(authority, tmp_path):
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = server_context(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    with Sink(context) as sink:
        with pytest.raises(StoreUnavailable, match="the batch is sent again"):
            tcp(sink, f"?tls={ca}").put([record(1)])
        assert sink.events == []


@contextmanager
def plain_server(answer):
    """Answer the first bytes of every connection and hang up, as servers without TLS do that understand none of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("scheme", ["logstash", "logstash+https"])
def test_tls_to_an_input_without_is_told_with_the_cure(scheme, answer):
    with plain_server(answer) as port:
        store = opened(f"{scheme}://127.0.0.1:{port}?tls=system")
        for use in (store.probe, lambda: store.put([record(1)])):
            with pytest.raises(ConfigError, match=r"agree on no TLS: .*let that input speak TLS, or, .*insecure=true"):
                use()


def test_an_input_without_tls_that_waits_for_a_line_may_be_what_is_wrong(monkeypatch):
    monkeypatch.setattr(logstash, "STEP_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = opened(f"logstash://127.0.0.1:{listener.getsockname()[1]}?tls=system")
        with pytest.raises(StoreUnavailable, match="timed out; perhaps that input has no TLS"):
            store.put([record(1)])


def test_another_machine_is_reached_by_tls_unless_the_url_says_that_it_may_be_without(caplog):
    assert opened("logstash://elk.example")._server.tls is not None
    assert opened("logstash+http://elk.example?tls=system")._server.tls is not None
    assert opened("logstash+https://elk.example")._server.tls is not None
    assert opened("logstash+https://127.0.0.1")._server.tls is not None
    assert opened("logstash://127.0.0.1")._server.tls is None
    assert opened("logstash+http://127.0.0.1")._server.tls is None
    assert "INSECURE" not in caplog.text
    for scheme, port in (("logstash", 3334), ("logstash+http", 8080)):
        assert opened(f"{scheme}://elk.example?insecure=true")._server.tls is None
        assert f"{scheme}://elk.example:{port}/: INSECURE" in caplog.text


def test_http_to_another_machine_is_neither_sent_in_clear_text_nor_as_tls_to_a_port_without():
    with pytest.raises(ConfigError) as caught:
        opened("logstash+http://lab:secret@elk.example:8080")
    assert str(caught.value) == (
        "logstash+http://elk.example:8080/ would be sent in clear text to another machine;"
        " use https, or add ?insecure=true"
    )


# The pipeline


@pytest.fixture(scope="module")
def pipeline():
    """The pipeline in `etc`, without its comments."""
    return re.sub(r"^\s*#.*\n", "", Path("etc/logstash.conf").read_text(), flags=re.MULTILINE)


def test_the_pipeline_in_etc_listens_where_the_stores_send(pipeline):
    assert re.findall(r"(tcp|http) \{\s+port => (\d+)(?: codec => (\w+))?", pipeline) == [
        ("tcp", "3333", ""),
        ("tcp", str(logstash.TCP_PORT), "json_lines"),
        ("http", str(logstash.HTTP_PORT), ""),
    ]
    assert 'date { match => ["createTime", "ISO8601"] target => "@timestamp" }' in pipeline
    assert pipeline.count("{") == pipeline.count("}")


def test_no_input_of_the_pipeline_writes_into_an_event_how_it_came(pipeline):
    """Of its own accord, the HTTP input writes the sender's address over `host`, unless it puts it into `host.ip`."""
    tcp_inputs = re.findall(r"tcp \{(.*)\}", pipeline)
    assert len(tcp_inputs) == 2
    assert all("ecs_compatibility => v1" in text for text in tcp_inputs)
    (over_http,) = re.findall(r"http \{([^}]*)\}", pipeline)
    assert re.findall(r"(\w+) => (\S+)", over_http)[1:] == [
        ("ecs_compatibility", "disabled"),
        ("remote_host_target_field", '"[@metadata][from]"'),
        ("request_headers_target_field", '"[@metadata][headers]"'),
    ]


def test_only_what_has_all_that_our_events_have_is_taken_for_one_of_them(pipeline):
    (condition,) = re.findall(r"if (.*) \{\s+mutate \{ add_field .*%\{id\}", pipeline)
    fields = re.fullmatch(r"\[(\w+)\] and \[(\w+)\] and \[(\w+)\] and \[(\w+)\]", condition).groups()
    assert set(fields) == {"id", "kind", "createTime", "body"}
    assert set(fields) <= document(record(1)).keys()


# HTTP


class Input(http.server.BaseHTTPRequestHandler):
    """Answers what `server.answers` says, 200 when it is empty."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        events = json.loads(body)
        self.server.requests.append((self.path, dict(self.headers), events))
        status = self.server.judge(events) or (self.server.statuses.pop(0) if self.server.statuses else 200)
        if status == "vanish":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Location", self.server.elsewhere)
        if self.server.wait is not None:
            self.send_header("Retry-After", self.server.wait)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_args):
        pass


@pytest.fixture
def inputs():
    """Start HTTP inputs; each knows what it was sent."""
    servers = []

    def start(elsewhere=""):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Input)
        server.requests, server.statuses, server.elsewhere, server.wait = [], [], elsewhere, None
        server.judge = lambda _events: None
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def over_http(server, userinfo="", path=""):
    return opened(f"logstash+http://{userinfo}127.0.0.1:{server.server_port}{path}")


def test_a_batch_is_one_array_and_taken_at_any_2xx(inputs):
    server = inputs()
    server.statuses = [200, 202]
    for batch in ([record(1), record(2)], [record(3)]):
        assert over_http(server, "lab:se%20cret@", "/ave").put(batch) == []
    (path, headers, events), (_, _, others) = server.requests
    assert path == "/ave"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Basic bGFiOnNlIGNyZXQ="
    assert events == [document(record(1)), document(record(2))]
    assert others == [document(record(3))]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 504, "vanish"])
def test_an_answer_to_try_later_is_no_acknowledgement(inputs, status):
    server = inputs()
    server.statuses = [status]
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.server_port}/: "):
        over_http(server).put([record(1)])
    assert over_http(server).put([record(1)]) == []


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("wait", "told"), [("7", {"retry_after_s": 7}), ("soon", {}), (None, {})])
def test_how_much_later_an_input_wants_to_be_tried_is_told(inputs, status, wait, told):
    server = inputs()
    server.statuses, server.wait = [status], wait
    with pytest.raises(StoreUnavailable) as caught:
        over_http(server).put([record(1)])
    assert {name: value for name, value in caught.value.details.items() if name == "retry_after_s"} == told


@pytest.mark.parametrize("status", [401, 403, 404, 405, 411])
def test_an_answer_that_a_person_must_mend_is_told(inputs, status):
    server = inputs()
    server.statuses = [status]
    with pytest.raises(
        ConfigError, match=f"does not take events: status {status}; mend url, user or password"
    ) as caught:
        over_http(server, "lab:secret@").put([record(1)])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_nobody_sees_the_password(inputs, status):
    canary = inputs()
    server = inputs(f"http://127.0.0.1:{canary.server_port}/")
    server.statuses = [status]
    with pytest.raises(ConfigError, match="which is not followed"):
        over_http(server, "lab:secret@").put([record(1)])
    assert canary.requests == []


def test_a_batch_that_is_too_large_goes_in_halves(inputs):
    server = inputs()
    server.statuses = [413, 413]
    assert over_http(server).put([record(seq) for seq in range(1, 5)]) == []
    assert [len(events) for _, _, events in server.requests] == [4, 2, 1, 1, 2]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("others", [[], [1, 2, 4, 5]])
def test_a_record_that_is_refused_is_rejected_alone_with_the_status(inputs, status, others):
    server = inputs()
    server.judge = lambda events: status if any(event["body"]["n"] == 3 for event in events) else None
    batch = [record(seq) for seq in sorted([3, *others])]
    (rejected,) = over_http(server).put(batch)
    assert rejected.record.body["n"] == 3
    assert rejected.reason == f"logstash+http://127.0.0.1:{server.server_port}/ refuses it: status {status}"
    taken = [event["body"]["n"] for _, _, events in server.requests for event in events if not server.judge(events)]
    assert taken == others


def test_two_kinds_of_refusal_are_told_of_each_record(inputs):
    server = inputs()
    bad = record(2, body={"text": "\udcff"})
    server.judge = lambda events: 413 if any(event["body"].get("n") == 3 for event in events) else None
    reasons = [rejected.reason for rejected in over_http(server).put([record(1), bad, record(3)])]
    assert len(reasons) == 2
    assert "no JSON can hold it" in reasons[0]
    assert "status 413" in reasons[1]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("count", [1, 1000])
def test_what_refuses_whatever_comes_is_no_logstash_and_makes_no_dead_letters(inputs, status, count):
    server = inputs()
    server.judge = lambda _events: status
    with pytest.raises(ConfigError, match=rf"refuses a batch of nothing, too \(status {status}\); mend url"):
        over_http(server).put([record(seq) for seq in range(count)])
    assert len(server.requests) < 15
    assert server.requests[-1][2] == []


def test_one_that_cannot_say_whether_it_is_the_record_is_asked_again_later(inputs):
    server = inputs()
    server.judge = lambda events: 422 if events else 503
    with pytest.raises(StoreUnavailable, match="status 503"):
        over_http(server).put([record(1)])


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize(
    ("name", "limit", "told"), [("ANSWER_S", 0.3, "more than 0.3 seconds"), ("ANSWER_BYTES", 50, "more than 50 bytes")]
)
def test_an_answer_that_drips_is_read_neither_for_ever_nor_without_end(monkeypatch, before, name, limit, told):
    monkeypatch.setattr(logstash, name, limit)
    port, ended = dripping(before, b"x")
    with pytest.raises(StoreUnavailable, match=f"an answer of {told}; the batch is sent again"):
        opened(f"logstash+http://127.0.0.1:{port}").put([record(1)])
    ended.set()


def test_who_answers_before_all_has_come_and_hangs_up_is_heard():
    with plain_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as port:
        store = opened(f"logstash+http://127.0.0.1:{port}")
        with pytest.raises(ConfigError, match="status 403"):
            store.put([record(seq, body={"text": "x" * 1000}) for seq in range(1, 8000)])
