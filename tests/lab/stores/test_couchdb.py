"""What only Panotti on CouchDB can meet: documents, months, design documents, strange answers, redirects, TLS."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest
import trustme

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import open_store
from ave.lab.stores.base import put_all
from ave.lab.stores.couchdb import client, connections
from ave.lab.stores.couchdb.documents import document, record_of
from ave.lab.stores.couchdb.views import DESIGN, design
from ave.lab.stores.instants import instant
from ave.record import KINDS, Query
from ave.testing import wait_until
from tests.lab.stores.samples import GUID, TIME, record
from tests.system import servers_couchdb
from tests.system.dripping import dripping
from tests.system.proxy import Fault, Proxy


@pytest.fixture
def opened():
    stores = []

    def open_one(url, *, readonly=False):
        stores.append(open_store(url, "/nowhere", KINDS, readonly=readonly))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


class Real:
    """The shared server, a name of our own on it, and a way to look into it past the store."""

    def __init__(self):
        self.url = servers_couchdb.fresh_url()
        self.name = self.url.rpartition("/")[2]

    def ask(self, method, path, body=None):
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        login = b64encode(f"{servers_couchdb.USER}:{servers_couchdb.PASSWORD}".encode()).decode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Basic {login}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def databases(self):
        return sorted(name for name in self.ask("GET", "/_all_dbs") if name.startswith(f"{self.name}-"))


@pytest.fixture
def real():
    return Real()


def ids(store, **conditions):
    return [record.id for record in store.find(Query(**conditions))]


# Documents


def test_a_document_is_the_body_with_guid_and_local_time_and_the_rest_under_one_key():
    made = document(record(1, "exception", {"exception": {"type": "X", "message": "m"}, "peer": "p"}))
    beside = made.pop("ave")
    assert made == {
        "_id": record(1).id,
        "exception": {"type": "X", "message": "m"},
        "peer": "p",
        "guid": GUID,
        "time_stamp": str(datetime.fromtimestamp((TIME + 1) / 1e9)),
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", made["time_stamp"])
    assert re.fullmatch(r"[0-9a-f]{32}", beside.pop("digest"))
    assert beside == {
        "kind": "exception",
        "time": "2025-11-22T01:46:40.000000001Z",
        "host": "lab-1",
        "pid": 4711,
        "source": "panotti",
    }


@pytest.mark.parametrize(
    "body",
    [
        {
            "guid": "mine",
            "time_stamp": 5,
            "ave": {"kind": "x"},
            "_id": 1,
            "_rev": "2",
            "_deleted": True,
            "_any": [None],
        },
        {"covered": 1, "body": 2},
        {"ave": None},
        {},
        {"float": 1.0, "int": 2**53, "deep": [{"x": [1e300, -0.0]}], "_id": "x"},
        {"deep": {"__proto__": {"polluted": True}}},
        {"text": "1.0, 12345678901234567890 1e5"},
    ],
    ids=str,
)
def test_names_that_a_document_needs_itself_and_numbers_come_back(opened, real, body):
    sent = record(1, body=body)
    assert record_of(json.loads(json.dumps(document(sent)))) == sent
    store = opened(real.url)
    assert store.put([sent]) == []
    (back,) = store.find(Query())
    assert repr(back.body) == repr(sent.body) or back.body == sent.body
    assert repr(sorted(map(repr, back.body.items()))) == repr(sorted(map(repr, sent.body.items())))
    assert store.put([sent]) == []


def test_text_that_only_looks_like_a_number_is_not_kept_twice():
    assert "body" not in document(record(1, body={"text": "1.0, 12345678901234567890 1e5"}))["ave"]
    assert "body" in document(record(1, body={"n": 1.0}))["ave"]


def test_documents_of_others_are_left_out(opened, real):
    store = opened(real.url)
    store.put([record(1)])
    (database,) = real.databases()
    real.ask("POST", f"/{database}", {"guid": GUID, "title": "by the original", "time_stamp": "2026-11-22 07:00:00"})
    real.ask("POST", f"/{database}", {"ave": "something else"})
    assert ids(store) == ids(store, guid=GUID) == [record(1).id]
    assert store.count(GUID) == {"shout": 1}


# Months


def test_each_month_has_a_database_and_dropping_one_forgets_it(opened, real):
    store = opened(real.url)
    month = 31 * 86_400 * 10**9
    sent = [record(seq, time=TIME + seq * month) for seq in range(4)]
    assert store.put(sent) == []
    assert real.databases() == [f"{real.name}-{name}" for name in ("2025-11", "2025-12", "2026-01", "2026-02")]
    assert list(store.find(Query())) == sent
    assert list(store.find(Query(newest=True, limit=3))) == sent[:0:-1]
    assert list(store.find(Query(since=TIME + month, until=TIME + 3 * month))) == sent[1:3]
    real.ask("DELETE", f"/{real.name}-2025-11")
    assert list(store.find(Query())) == sent[1:]
    assert store.count(GUID) == {"shout": 3}


def test_a_database_that_vanishes_under_the_writer_is_made_anew(opened, real):
    store = opened(real.url)
    store.put([record(1)])
    real.ask("DELETE", f"/{real.databases()[0]}")
    with pytest.raises(StoreUnavailable, match=f"{real.name}-2025-11 is gone; it is made anew"):
        store.put([record(2)])
    assert store.put([record(2)]) == []
    assert ids(store) == [record(2).id]


def test_names_that_begin_alike_are_different_stores(opened, real):
    one, other = opened(real.url), opened(f"{real.url}-2")
    one.put([record(1)])
    other.put([record(2)])
    assert (ids(one), ids(other)) == ([record(1).id], [record(2).id])


def test_the_same_id_in_another_month_is_found_by_a_store_opened_later(opened, real):
    opened(real.url).put([record(1)])
    (rejected,) = opened(real.url).put([record(1, time=1), record(2, time=2)])
    assert (rejected.record.time, rejected.reason) == (1, "different content under the same id")


def test_only_databases_that_may_matter_are_asked_for_and_names_of_others_passed_over(opened, fake):
    asked = []

    def answer(_method, path, _body):
        if "/_view/" in path:
            asked.append(path.split("/")[1])
            return 200, {"rows": []}
        asked.append({name: json.loads(value) for name, value in parse_qsl(urlsplit(path).query)})
        return 200, ["panotti-2025-10", "panotti-2025-11", "panotti-2025-11-2", "panotti-2025-12", "zebra"]

    store = opened(fake(answer).url)
    assert ids(store, since=TIME, until=TIME + 1) == []
    assert asked == [{"startkey": "panotti-2025-11", "endkey": "panotti-2025-11"}, "panotti-2025-11"]
    asked.clear()
    assert store.count(GUID) == {}
    months = ["panotti-2025-10", "panotti-2025-11", "panotti-2025-12"]
    assert asked == [{"startkey": "panotti-1677-09", "endkey": "panotti-2262-04"}, *months]


class Months:
    """Answers as a CouchDB with a database for each of so many months; `stored` are the ids in some of them."""

    def __init__(self, count, **stored):
        first = datetime.now(UTC).year * 12 + datetime.now(UTC).month - count
        months = [f"panotti-{(first + n) // 12}-{(first + n) % 12 + 1:02}" for n in range(count)]
        self.databases, self.stored, self.looked = months, stored, []

    def __call__(self, method, path, body):
        if "/_all_d" in path:
            self.looked.append(urlsplit(path).path.split("/")[1])
        if "/_all_dbs" in path:
            return 200, self.databases
        if "_all_docs" in path:
            there = self.stored.get(path.split("/")[1].replace("-", "_"), ())
            return 200, {"rows": [{"id": key, "value": {}} if key in there else {"key": key} for key in body["keys"]]}
        return panotti(stored)(method, path, body)


def born(time, seq=1, **fields):
    """Make a record of a segment that was begun then, in nanoseconds."""
    return record(id=f"{time // 1_000_000:012x}{'5' * 14}-{seq}", time=time + seq, **fields)


DAY = 86_400 * 10**9


def test_a_segment_that_is_begun_while_the_store_is_open_is_looked_for_nowhere(opened, fake):
    server = Months(25)
    store = opened(fake(server).url)
    opened_ns = time.time_ns()
    wait_until(lambda: time.time_ns() > opened_ns + 2_000_000, 5)
    for seq in range(3):
        assert store.put([born(time.time_ns(), seq)]) == []
    assert server.looked == []


def test_an_older_segment_is_looked_for_once_and_only_in_the_months_since_it_was_begun(opened, fake):
    server = Months(25)
    store = opened(fake(server).url)
    then = time.time_ns() - 60 * DAY
    begun = instant(then)[:7]
    for seq in (1, 2, 3):
        assert store.put([born(then, seq)]) == []
    since = [name for name in server.databases if name > f"panotti-{begun}"]
    assert server.looked == ["_all_dbs", *since]
    assert 1 <= len(since) <= 3


@pytest.mark.parametrize("name", ["x" * 26, "f" * 26, "odd"])
def test_a_name_without_a_time_that_has_been_is_looked_for_everywhere(opened, fake, name):
    server = Months(25)
    assert opened(fake(server).url).put([record(1, id=f"{name}-1")]) == []
    assert server.looked == ["_all_dbs", *(month for month in server.databases if month != "panotti-2025-11")]


def test_an_id_that_two_other_months_have_is_rejected_once(opened, fake):
    name = record(1).id
    server = Months(25)
    server.stored = {month.replace("-", "_"): [name] for month in server.databases}
    (rejected,) = put_all(opened(fake(server).url), [record(1)])
    assert rejected.reason == "different content under the same id"


# The design document


def test_the_design_document_is_installed_and_mended(opened, real):
    store = opened(real.url)
    store.put([record(1)])
    path = f"/{real.databases()[0]}/_design/{DESIGN}"
    installed = real.ask("GET", path)
    assert installed["views"] == design()["views"]
    real.ask("PUT", path, {**installed, "views": {}, "options": {"collation": "raw"}})
    opened(real.url).put([record(2)])
    assert {**real.ask("GET", path), "_rev": ""} == {**design(), "_rev": ""}


def test_the_order_of_bytes_is_wanted_where_couchdb_looks_for_it():
    made = design()
    assert made.keys() == {"_id", "language", "views"}
    assert [view["options"] for view in made["views"].values()] == [{"collation": "raw"}] * len(made["views"])


def as_bytes(key):
    """Make of a key what sorts as under CouchDB's `raw`."""
    return [text.encode() for text in key]


def as_words(key):
    """Make of a key what sorts as by ICU, whose order is marks, digits, letters, what is none of them yet."""
    return [[(not char.isascii(), char.isalpha(), char.isdigit(), char.lower(), char) for char in text] for text in key]


@pytest.mark.parametrize("order", [as_bytes, as_words])
@pytest.mark.parametrize("newest", [False, True])
def test_no_range_that_is_asked_for_ends_before_it_begins(opened, fake, order, newest):
    asked = set()

    def answer(_method, path, _body):
        if "/_view/" not in path:
            return 200, ["panotti-1677-09", "panotti-2025-11", "panotti-2262-04"]
        options = dict(parse_qsl(urlsplit(path).query))
        ends = [order(json.loads(options[name])) for name in ("startkey", "endkey") if name in options]
        asked.add(urlsplit(path).path.rpartition("/")[2])
        if ends != sorted(ends, reverse="descending" in options):
            return 400, {"error": "query_parse_error", "reason": "No rows can match your key range"}
        return 200, {"rows": [{"id": "x", "key": ["/a/job"], "value": GUID}] if "/jobs" in path else []}

    store = opened(fake(answer).url)
    times = [{}, {"since": TIME}, {"until": TIME}, {"since": TIME, "until": TIME + 1}, {"since": 2**70}]
    times += [{"since": TIME + 1, "until": TIME}, {"until": -(2**70)}, {"since": -(2**70), "until": 2**70}]
    for conditions in ({}, {"guid": GUID}, {"guid": "\u4e00 \U0001f600, a run"}, {"kinds": ["log"]}, {"job": "job"}):
        for span in times:
            assert ids(store, **conditions, **span, newest=newest) == []
    assert store.count(GUID) == store.count("~", hosts=["lab-1"]) == store.count("") == {}
    assert asked == {"by_guid", "by_kind", "by_time", "jobs", "kinds"}


def test_a_time_that_ends_before_it_begins_has_no_records(opened, real):
    store = opened(real.url)
    store.put([record(1), record(2)])
    for newest in (False, True):
        assert ids(store, since=TIME + 2, until=TIME + 1, newest=newest) == []
        assert ids(store, since=TIME + 1, until=TIME + 1, newest=newest) == []


def test_the_last_time_of_all_is_found(opened, real):
    store = opened(real.url)
    store.put([record(1, time=2**63 - 1)])
    assert ids(store) == ids(store, until=2**63) == ids(store, since=2**63 - 1, until=2**64) == [record(1).id]


def test_the_jobs_of_all_names_are_found(opened, real):
    store = opened(real.url)
    names = ["/a/job", "\U0001f600/job", "~job", "\uffffjob"]
    store.put([record(seq, "event", {"name": "job.start", "exe": name}) for seq, name in enumerate(names)])
    for name in names:
        assert len(ids(store, job=name)) == len(names), name


def test_a_reader_of_a_database_without_a_design_document_is_told(opened, real):
    real.ask("PUT", f"/{real.name}-2025-11", {})
    reader = opened(real.url, readonly=True)
    assert ids(reader) == [], "it is just being made"
    real.ask("PUT", f"/{real.name}-2025-11/x", {"a": 1})
    with pytest.raises(StoreUnavailable, match="has no design document ave-1; ave-logd puts it there"):
        ids(reader)
    with pytest.raises(UsageError, match=r"^couchdb://127\.0\.0\.1:\d+/.* was opened for reading only$"):
        reader.put([record(1)])
    assert real.ask("GET", f"/{real.name}-2025-11")["doc_count"] == 1


def test_exceptions_can_be_asked_by_type_and_by_what_their_messages_have_in_common(opened, real):
    def failed(seq, message, kind="Timeout"):
        return record(seq, "exception", {"exception": {"type": kind, "message": message}})

    store = opened(real.url)
    store.put([failed(1, "no answer in 31 s"), failed(2, "no answer in 7 s"), failed(3, "gone"), failed(4, "x", "Y")])
    store.put([record(5, "exception", {"exception": "a text of 5 words"}), record(6)])
    path = f"/{real.databases()[0]}/_design/{DESIGN}/_view/exceptions?group_level=2"
    rows = {tuple(row["key"]): row["value"] for row in real.ask("GET", path)["rows"]}
    assert rows == {
        ("", "a text of # words"): 1,
        ("Timeout", "gone"): 1,
        ("Timeout", "no answer in # s"): 2,
        ("Y", "x"): 1,
    }


# What cannot be stored


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(99, time=2**63), "no document can hold it: 9223372036854775808 is no time in nanoseconds"),
        (record(99, id="_x-1"), "no document can hold it: no id may be like '_x-1'"),
        (record(99, body={"text": "\udcff"}), "no document can hold it: 'utf-8' codec can't encode"),
        (record(99, body={"n": 2**70}), "no document can hold it: "),
        (record(99, body={"object": object()}), "no document can hold it: Encoding objects of type object"),
    ],
    ids=["time", "id", "surrogate", "number", "object"],
)
def test_a_record_that_no_document_can_hold_is_rejected_alone(opened, real, bad, reason):
    store = opened(real.url)
    (rejected,) = store.put([record(1), bad, record(2)])
    assert rejected.record is bad
    assert rejected.reason.startswith(reason)
    assert ids(store) == [record(1).id, record(2).id]


# Servers that answer strangely


class Fake(ThreadingHTTPServer):
    """Answers as `answer(method, path, body)` says: a status, and JSON, bytes, or headers and bytes."""

    daemon_threads = True

    def __init__(self, answer, context=None):
        self.answer, self.seen, self.connections = answer, [], []
        super().__init__(("127.0.0.1", 0), _Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"couchdb://me:secret@127.0.0.1:{self.server_address[1]}/panotti"
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def hang_up(self):
        """Close all connections, as by a restart."""
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in two packets waits for the client's delayed acknowledgement

    def _respond(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        status, content, *headers = self.server.answer(self.command, self.path, body and json.loads(body))
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or [{}])[0]}
        for name, value in given.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if given["Content-Length"] not in {None, str(len(content))}:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = _respond

    def log_message(self, *_args):
        pass


@pytest.fixture
def fake():
    started = []

    def start(answer, context=None):
        started.append(Fake(answer, context))
        return started[-1]

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def panotti(bulk):
    """Answer as a CouchDB would that has all it needs; `bulk(docs)` answers _bulk_docs."""

    def answer(method, path, body):
        if "/_all_dbs" in path:
            return 200, ["panotti-2025-11"]
        if path.endswith("/_bulk_docs"):
            return bulk(body["docs"])
        if "_all_docs" in path:
            return 200, {"rows": [{"key": key, "error": "not_found"} for key in body["keys"]]}
        return (200, design()) if "_design" in path else (200, {"doc_count": 1})

    return answer


def test_s11_a_redirect_is_not_followed_and_no_password_goes_there(opened, fake):
    canary = fake(lambda *_request: (200, []))
    for status in (301, 302, 303, 307, 308):
        for path in (f"http://127.0.0.1:{canary.server_address[1]}/", "file:///etc/passwd", "/elsewhere"):
            server = fake(lambda *_request, s=status, p=path: (s, b"", {"Location": p}))
            store = opened(server.url)
            for use in (lambda: store.put([record(1)]), lambda: ids(store)):  # noqa: B023
                with pytest.raises(ConfigError, match="redirects to another place, where nothing of ours goes"):
                    use()
            bulk = fake(panotti(lambda _docs, s=status, p=path: (s, b"", {"Location": p})))
            with pytest.raises(ConfigError, match="redirects to another place"):
                opened(bulk.url).put([record(1)])
            assert [path for _, path, _ in bulk.seen if "elsewhere" in path] == []
    assert canary.seen == []


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            (401, {"error": "unauthorized", "reason": "Name or password is incorrect."}),
            ConfigError,
            "refuses us: unauth",
        ),
        (
            (403, {"error": "forbidden", "reason": "not for you"}),
            ConfigError,
            "refuses us: forbidden: not for you; mend",
        ),
        ((500, {"error": "internal", "reason": "oops"}), StoreUnavailable, "answers 500: internal: oops"),
        ((429, {"error": "slow down"}), StoreUnavailable, "answers 429: slow down"),
        ((503, b"<html>", {"Content-Type": "text/html"}), StoreUnavailable, "answers 503: <html>"),
        ((502, b"x", {"Content-Type": None}), StoreUnavailable, "answers what no CouchDB would"),
        (
            (400, b"", {"Content-Type": None}),
            StoreUnavailable,
            "answers 400 without a word, as to a request that is cut",
        ),
        ((202, []), StoreUnavailable, "answers 202"),
        ((304, b""), StoreUnavailable, "answers 304"),
        ((200, b"{"), StoreUnavailable, "answers what no CouchDB would"),
        ((200, b"[]", {"Content-Length": "100"}), StoreUnavailable, "answers what no CouchDB would: IncompleteRead"),
        ((201, []), StoreUnavailable, "did not answer for each document"),
        ((201, {"error": "x"}), StoreUnavailable, "answers what no CouchDB would: {'error': 'x'}"),
        ((201, ["x"]), StoreUnavailable, "answers what no CouchDB would"),
        ((201, [{"error": "conflict"}]), StoreUnavailable, "did not answer for each document"),
        ((201, [{"id": "somebody-1", "ok": True}]), StoreUnavailable, "did not answer for each document"),
        ((201, [{"id": record(1).id, "error": "conflict"}]), StoreUnavailable, "has and has not"),
        ((201, [{"id": record(1).id, "error": "timeout", "reason": "r"}]), StoreUnavailable, "timeout: r"),
        ((201, [{"id": record(1).id, "error": "unauthorized", "reason": "r"}]), ConfigError, "refuses us: r"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_yes_stores_nothing_and_buries_nothing(opened, fake, answer, error, message):
    server = fake(panotti(lambda _docs: answer))
    with pytest.raises(error, match=message) as caught:
        opened(server.url).put([record(1)])
    assert "secret" not in str(caught.value)


def test_a_document_that_is_refused_by_a_rule_of_the_database_is_rejected(opened, fake):
    def bulk(docs):
        return 201, [
            {"id": doc["_id"], "error": "forbidden", "reason": "no"}
            if doc.get("n") == 2
            else {"id": doc["_id"], "ok": True}
            for doc in docs
        ]

    (rejected,) = opened(fake(panotti(bulk)).url).put([record(1), record(2), record(3)])
    assert (rejected.record, rejected.reason) == (record(2), "forbidden by panotti-2025-11: no")


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("places", [[0], [499], [250], [1, 2, 3, 490]])
def test_r11_poison_that_spoils_a_whole_request_is_found_by_halving(opened, fake, status, places):
    requests = count(1)

    def bulk(docs):
        next(requests)
        if any(doc["n"] in places for doc in docs):
            return status, {"error": "poison", "reason": "in it"}
        return 201, [{"id": doc["_id"], "ok": True} for doc in docs]

    rejected = opened(fake(panotti(bulk)).url).put([record(seq, body={"n": seq}) for seq in range(500)])
    assert [letter.record.body["n"] for letter in rejected] == places
    assert all(f"{status} poison: in it" in letter.reason for letter in rejected)
    assert next(requests) - 1 <= (2 * 9 + 2) * len(places)


def page(status):
    """What a proxy or another server answers."""
    return status, b"<html>no</html>", {"Content-Type": "text/html"}


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 421])
def test_a_server_that_is_no_couchdb_gets_nothing_and_buries_nothing(opened, fake, status):
    server = fake(lambda *_request: page(status))
    batch = [record(seq) for seq in range(4)]
    for use in (lambda store: put_all(store, batch), lambda store: ids(store), lambda store: store.count(GUID)):
        with pytest.raises(ConfigError, match=rf"\b{status}\b"):
            use(opened(server.url))


@pytest.mark.parametrize("answer", [(200, []), (200, "x"), (200, {}), (200, None), (400, {"error": "x"})], ids=str)
def test_no_answer_to_anything_but_documents_buries_one(opened, fake, answer):
    with pytest.raises((ConfigError, StoreUnavailable)):
        put_all(opened(fake(lambda *_request: answer).url), [record(1), record(2)])


#: What gateways say in JSON, with an `error`, but no `reason`, or of other kinds.
SPRING = {"timestamp": "2026-11-22T18:30:29Z", "status": 400, "error": "Bad Request", "path": "/"}
CODED = {"error": 400, "reason": "Bad Request"}


@pytest.mark.parametrize("answer", [page(400), page(415), (400, SPRING), (400, CODED)], ids=str)
def test_documents_that_are_refused_but_by_no_couchdb_are_not_buried(opened, fake, answer):
    server = fake(panotti(lambda _docs: answer))
    with pytest.raises(ConfigError, match=f"answers {answer[0]}, but not as a CouchDB does; see host, port and tls"):
        put_all(opened(server.url), [record(1), record(2)])
    assert len(bulks(server)) == 1


def bulks(server):
    return [path for _, path, _ in server.seen if path.endswith("_bulk_docs")]


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("number", [1, 500])
def test_who_refuses_a_request_without_documents_too_buries_none(opened, fake, status, number):
    server = fake(panotti(lambda _docs: (status, {"error": "bad_request", "reason": "the way is closed"})))
    with pytest.raises(
        ConfigError, match=f"{status} bad_request: the way is closed; .* without any document, too: see"
    ):
        put_all(opened(server.url), [record(seq) for seq in range(number)])
    assert len(bulks(server)) <= 11


def test_who_cannot_say_whether_it_is_the_document_is_asked_again_later(opened, fake):
    refused, busy = (400, {"error": "bad_request", "reason": "no"}), (503, {"error": "busy", "reason": "later"})
    with pytest.raises(StoreUnavailable, match="answers 503: busy: later"):
        put_all(opened(fake(panotti(lambda docs: refused if docs else busy)).url), [record(1)])


def test_a_server_takes_a_request_without_documents(opened, real):
    opened(real.url).put([record(1)])
    assert real.ask("POST", f"/{real.databases()[0]}/_bulk_docs", {"docs": []}) == []


def in_chunks(status, content):
    """Answer as through a proxy that does not know how long the answer will be."""
    text = json.dumps(content).encode()
    pieces = [text[:7], text[7:], b""]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return status, chunked, {"Transfer-Encoding": "chunked", "Content-Length": None}


def test_refusals_in_chunks_are_understood_like_others(opened, fake):
    missing = in_chunks(404, {"error": "not_found", "reason": "no_db_file"})
    there = in_chunks(412, {"error": "file_exists", "reason": "x" * 20_000})

    def answer(method, path, body):
        if path.endswith("/_bulk_docs"):
            return stored(body["docs"])
        if "_all_dbs" in path:
            return 200, []
        if method == "GET":
            return missing
        return (201, {"ok": True}) if "_design" in path else there

    server = fake(answer)
    assert opened(server.url).put([record(1)]) == []
    assert len(server.connections) == 1


@pytest.mark.parametrize("length", [10, 8191, 8192, 100_000])
def test_refusals_of_any_length_are_understood(opened, fake, length):
    def bulk(docs):
        return (400, {"error": "poison", "reason": "x" * length}) if docs else stored(docs)

    (rejected,) = put_all(opened(fake(panotti(bulk)).url), [record(1)])
    assert "refuses it: 400 poison: xxxxxxxxxx" in rejected.reason


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
    ],
)
@pytest.mark.parametrize(
    ("name", "limit", "told"),
    [("ANSWER_S", 0.3, "more than 0.3 seconds"), ("ANSWER_BYTES", 120, "more than 120 bytes")],
)
def test_an_answer_that_drips_is_read_neither_for_ever_nor_without_end(opened, monkeypatch, before, name, limit, told):
    monkeypatch.setattr(connections, name, limit)
    port, ended = dripping(before, b" ")
    with pytest.raises(StoreUnavailable, match=f"gives an answer of {told}"):
        put_all(opened(f"couchdb://127.0.0.1:{port}/panotti"), [record(1)])
    ended.set()


def test_a_database_that_vanishes_in_the_middle_buries_nothing(opened, fake):
    gone = 404, {"error": "not_found", "reason": "Database does not exist."}
    usual = panotti(lambda docs: (201, [{"id": doc["_id"], "error": "conflict"} for doc in docs]))
    server = fake(lambda method, path, body: gone if "_all_docs" in path else usual(method, path, body))
    with pytest.raises(StoreUnavailable, match="has no panotti-2025-11/_all_docs: not_found: Database does not exist"):
        put_all(opened(server.url), [record(1), record(2)])


@pytest.mark.parametrize("doc", [None, {}, {"_id": "x"}])
def test_a_document_that_is_deleted_while_it_is_compared_is_no_dead_letter(opened, fake, doc):
    usual = panotti(lambda docs: (201, [{"id": doc["_id"], "error": "conflict"} for doc in docs]))
    kept = {"rows": [{"id": record(1).id, "key": record(1).id, "value": {"rev": "1-x"}, "doc": doc}]}

    def answer(method, path, body):
        return (200, kept) if "_all_docs?include" in path else usual(method, path, body)

    store = opened(fake(answer).url)
    if doc:
        assert [letter.reason for letter in put_all(store, [record(1)])] == ["different content under the same id"]
    else:
        with pytest.raises(StoreUnavailable, match=f"has and has not {record(1).id}"):
            put_all(store, [record(1)])


def test_what_is_too_large_for_a_proxy_is_sent_in_parts(opened, fake):
    sizes = []

    def bulk(docs):
        sizes.append(len(docs))
        return stored(docs) if len(docs) <= 3 else page(413)

    assert opened(fake(panotti(bulk)).url).put([record(seq) for seq in range(8)]) == []
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_a_document_that_no_proxy_lets_through_takes_a_person(opened, fake):
    server = fake(panotti(lambda docs: page(413) if any(doc["n"] == 2 for doc in docs) else stored(docs)))
    with pytest.raises(ConfigError, match=r"no request of this size through \(413\); raise its limit to 1 MB at least"):
        put_all(opened(server.url), [record(seq) for seq in range(4)])


def test_an_answer_that_got_lost_is_found_again(opened, fake, real):
    store = opened(real.url)
    batch = [record(1), record(2)]
    made = {}

    def bulk(docs):
        made.update({doc["_id"]: doc for doc in docs})
        return 500, {"error": "after the commit"}

    with pytest.raises(StoreUnavailable):
        opened(fake(panotti(bulk)).url).put(batch)
    store.put([record(9)])
    real.ask("POST", f"/{real.databases()[0]}/_bulk_docs", {"docs": list(made.values())})
    assert store.put(batch) == []
    (rejected,) = store.put([record(1, body={"n": "other"}), record(2)])
    assert rejected.reason == "different content under the same id"


# The way there


def test_a_wrong_password_takes_a_person(opened, real):
    store = opened(servers_couchdb.url(servers_couchdb.shared(), password="wrong"))
    for use in (lambda: store.put([record(1)]), lambda: ids(store), lambda: store.count(GUID)):
        with pytest.raises(ConfigError, match="refuses us: unauthorized: Name or password is incorrect") as caught:
            use()
        assert "wrong" not in str(caught.value)


def test_nobody_listening_is_an_outage(opened):
    with pytest.raises(StoreUnavailable, match=r"^couchdb://127\.0\.0\.1:1/panotti cannot be reached: .*refused"):
        opened("couchdb://127.0.0.1:1/panotti").put([record(1)])


def test_a_server_that_says_nothing_is_an_outage_after_a_time(opened, fake, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_S", 0.2)
    end = threading.Event()
    server = fake(lambda *_request: (end.wait(30), (200, []))[1])
    with pytest.raises(StoreUnavailable, match=r"has not answered in 0\.2 seconds$"):
        opened(server.url).put([record(1)])
    end.set()


def test_a_server_that_says_nothing_to_a_view_may_be_making_it(opened, fake, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_S", 0.2)
    end = threading.Event()
    server = fake(lambda _method, path, _body: (200, ["panotti-2025-11"] if "_view" not in path else end.wait(30)))
    for use in (lambda store: ids(store), lambda store: store.count(GUID)):
        with pytest.raises(StoreUnavailable, match=r"seconds; if it is making the view, it goes on: ask later$"):
            use(opened(server.url))
    end.set()


def test_a_connection_that_the_server_has_closed_meanwhile_is_no_outage(opened, fake):
    def bulk(docs):
        return 201, [{"id": doc["_id"], "ok": True} for doc in docs], {"Connection": "close"}

    store = opened(fake(panotti(bulk)).url)
    assert [store.put([record(seq)]) for seq in range(1, 5)] == [[], [], [], []]


@pytest.mark.parametrize("is_tls", [False, True])
def test_connections_are_used_again_unless_the_server_has_hung_up_meanwhile(opened, fake, authority, is_tls):
    server = fake(panotti(stored), server_context(authority, "127.0.0.1") if is_tls else None)
    store = opened(server.url + (f"?tls={authority.path}" if is_tls else ""))
    for seq in (1, 2):
        assert store.put([record(seq)]) == []
    assert len(server.connections) == 1
    server.hang_up()
    assert store.put([record(3)]) == []
    assert len(server.connections) == 2


def test_a_server_that_hangs_up_when_asked_is_asked_once_and_well_again_at_the_next_batch(opened, fake):
    asked = []

    def bulk(docs):
        asked.append(len(docs))
        if len(asked) == 2:
            raise ConnectionAbortedError
        return stored(docs)

    store = opened(fake(panotti(bulk)).url)
    assert store.put([record(1)]) == []
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.put([record(2)])
    assert asked == [1, 1]
    assert store.put([record(2)]) == []


def test_r12_a_server_that_is_away_is_tried_once(opened):
    with Proxy(1) as proxy:
        proxy.fault = Fault(refuse=True)
        for turn in (1, 2):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                opened(f"couchdb://127.0.0.1:{proxy.port}/panotti").put([record(1)])
            assert len(proxy.came) == turn


def in_seconds(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize(
    ("wait", "least", "most"),
    [("7", 7, 7), (in_seconds(3000), 1, 3000), (in_seconds(-9), 0, 0)],
    ids=["seconds", "then", "past"],
)
@pytest.mark.parametrize("of_what", ["application/json", "text/html", None])
def test_r12_a_server_says_how_much_later_it_wants_to_be_asked(opened, fake, status, wait, least, most, of_what):
    said = status, {"error": "slow down"}, {"Retry-After": wait, "Content-Type": of_what}
    with pytest.raises(StoreUnavailable) as caught:
        opened(fake(panotti(lambda _docs: said)).url).put([record(1)])
    assert least <= caught.value.details["retry_after_s"] <= most


@pytest.mark.parametrize("wait", ["", "soon", "-7", "\xb2", "9" * 5000])
def test_a_wait_that_makes_no_sense_is_an_outage_like_others(opened, fake, wait):
    server = fake(panotti(lambda _docs: (503, {"error": "slow down"}, {"Retry-After": wait})))
    with pytest.raises(StoreUnavailable, match="answers 503: slow down") as caught:
        opened(server.url).put([record(1)])
    assert "retry_after_s" not in caught.value.details


def test_what_an_answer_said_does_not_hold_for_a_request_without_one(opened, fake):
    usual = panotti(lambda _docs: 1 / 0)
    server = fake(lambda *request: (*usual(*request), {"Retry-After": "7"}))
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        opened(server.url).put([record(1)])
    assert "retry_after_s" not in caught.value.details


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path_factory.mktemp("tls") / "ca.pem"))
    made.path = str(next(tmp_path_factory.getbasetemp().glob("tls*/ca.pem")))
    return made


def server_context(authority, name, **validity):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    return context


def stored(docs):
    return 201, [{"id": doc["_id"], "ok": True} for doc in docs]


def test_s14_tls_is_spoken_to_a_server_that_proves_its_name(opened, fake, authority):
    server = fake(panotti(stored), server_context(authority, "127.0.0.1"))
    assert opened(f"{server.url}?tls={authority.path}").put([record(1)]) == []


def test_s14_a_server_that_does_not_prove_its_name_hears_nothing(opened, fake, authority, caplog):
    unknown = fake(panotti(stored), server_context(trustme.CA(), "127.0.0.1"))
    other = fake(panotti(stored), server_context(authority, "another.example"))
    plain = fake(panotti(stored))
    for server, message in ((unknown, "does not prove its name"), (other, "does not prove its name")):
        for tls in (authority.path, "system"):
            with pytest.raises(ConfigError, match=message):
                opened(f"{server.url}?tls={tls}").put([record(1)])
    with pytest.raises((ConfigError, StoreUnavailable)):
        opened(f"{plain.url}?tls={authority.path}").put([record(1)])
    assert [server.seen for server in (unknown, other, plain)] == [[], [], []]
    assert opened(f"{unknown.url}?tls=system&insecure=true").put([record(1)]) == []


def closing(with_reset):
    """Start a port that hangs up on whoever says something; return its number."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listening:
            connection, _ = listening.accept()
            if with_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                connection.recv(10_000)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return listening.getsockname()[1]


@pytest.mark.parametrize("with_reset", [False, True])
def test_a_port_that_hangs_up_on_tls_is_told_with_the_cure(opened, with_reset):
    store = opened(f"couchdb://127.0.0.1:{closing(with_reset)}/panotti?tls=system")
    cure = r"hung up when it was to speak TLS: .*; if it never does, give the port where it does \(CouchDB: 6984"
    with pytest.raises(StoreUnavailable, match=cure):
        store.put([record(1)])


def test_a_port_that_does_not_speak_tls_is_told_with_the_cure(opened, fake):
    store = opened(f"{fake(panotti(stored)).url}?tls=system")
    with pytest.raises(ConfigError, match=r"does not speak TLS; give the port where it does .*, or insecure=true"):
        store.put([record(1)])


def test_a_port_that_speaks_tls_to_plain_http_is_told_with_the_cure(opened):
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listening, listening.accept()[0] as connection:
            connection.recv(10_000)
            connection.sendall(b"\x15\x03\x03\x00\x02\x02\x0a")  # what TLS answers to what it does not understand

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(ConfigError, match="speaks TLS: give tls=system, or tls= with the certificates to trust"):
        opened(f"couchdb://127.0.0.1:{listening.getsockname()[1]}/panotti").put([record(1)])


def test_s14_a_certificate_that_has_expired_proves_nothing(opened, fake, authority):
    now = datetime.now(UTC)
    context = server_context(
        authority, "127.0.0.1", not_before=now - timedelta(days=9), not_after=now - timedelta(minutes=1)
    )
    server = fake(panotti(stored), context)
    with pytest.raises(ConfigError, match="does not prove its name: certificate has expired; mend its certificate"):
        opened(f"{server.url}?tls={authority.path}").put([record(1)])
    assert server.seen == []


def test_s14_beyond_this_machine_it_is_tls_unless_that_is_said_and_logged(caplog):
    def protected(url):
        return open_store(url, "/nowhere", KINDS)._couch._server.tls

    assert protected("couchdb://lab-db/panotti").verify_mode.name == "CERT_REQUIRED"
    assert protected("couchdb://lab-db/panotti").check_hostname
    assert protected("couchdb://127.0.0.1/panotti") is protected("couchdb://localhost/panotti") is None
    assert caplog.text == ""
    assert protected("couchdb://me:secret@lab-db/panotti?insecure=true") is None
    assert "couchdb://lab-db:5984/panotti: INSECURE: everything is sent in the clear" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("couchdb:///panotti", "must be couchdb://[user:password@]host[:port][/name]"),
        ("couchdb://localhost/Panotti", '"Panotti" cannot be the name of a database: small letters'),
        ("couchdb://localhost/a/b", '"a/b" cannot be the name of a database'),
        ("couchdb://localhost/a?verify=no", 'unknown option "verify"; known: insecure, tls'),
        ("couchdb://localhost:99999/a", "the port must be a number from 1 to 65535"),
        ("couchdb://localhost/a?tls=/no/such/file", "the certificates in /no/such/file cannot be used"),
    ],
)
def test_a_url_that_cannot_be_one_is_told(opened, url, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        opened(url)
