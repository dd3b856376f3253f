"""What goes over the wire to Elasticsearch 7 to 9 and to several nodes, and which answers count as stored.

A fake says what no server says on demand; `test_elasticsearch_server` and the contract suite ask a real OpenSearch.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import ssl
from email.utils import format_datetime
from re import escape

import pytest
import trustme

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import open_store
from ave.lab.stores.elasticsearch import connections, wire
from ave.lab.stores.elasticsearch.documents import record_of
from ave.lab.stores.elasticsearch.place import Place
from ave.lab.stores.elasticsearch.wire import Cluster
from ave.record import KINDS, Query
from tests.lab.stores.fake_elasticsearch import Fake, serving
from tests.lab.stores.samples import GUID, TIME, record
from tests.system.dripping import dripping
from tests.system.proxy import Fault, Proxy


@pytest.fixture
def fake():
    one = Fake()
    with serving(one):
        yield one


@pytest.fixture
def stores():
    opened = []

    def open_one(*fakes, userinfo="", more=""):
        hosts = ",".join(f"127.0.0.1:{fake.port}" for fake in fakes)
        opened.append(open_store(f"elasticsearch://{userinfo}{hosts}{more}", "/nowhere", KINDS))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def kept(fake):
    return {id_: record_of(source) for index in fake.documents.values() for id_, source in index.items()}


def bulks(fake):
    """The bulk requests that were sent, as lists of their lines."""
    return [[json.loads(line) for line in body.splitlines()] for _, path, _, body in fake.requests if path == "/_bulk"]


def fails(status, **headers):
    text = json.dumps({"error": {"type": "some_exception", "reason": "because"}, "status": status}).encode()
    return lambda method, path, body: (status, headers, text) if path == "/_bulk" else None


# Versions


@pytest.mark.parametrize("version", ["7", "8", "9"])
def test_elasticsearch_is_spoken_to_in_its_own_terms(stores, version):
    fake = Fake(version)
    with serving(fake):
        batch = [record(1), record(2, "verdict", {"name": "t", "result": "passed"})]
        assert stores(fake).put(batch) == []
        assert stores(fake).put(batch) == []
        assert list(stores(fake).find(Query())) == batch
        assert stores(fake).count(GUID) == {"shout": 1, "verdict": 1}
    fields = fake.templates["ave"]["template"]["mappings"]["properties"]
    assert fields["body"] == {"type": "flattened", "ignore_above": 8191}
    assert "flat_object" not in json.dumps(fake.templates)
    assert [(action, path) for action, path, *_ in fake.requests[:9]] == [
        ("GET", "/"),
        ("GET", "/_index_template/ave"),
        ("PUT", "/_index_template/ave"),
        ("GET", "/ave-2025.11/_mapping"),
        ("GET", "/"),
        ("GET", "/_index_template/ave"),
        ("PUT", "/ave-2025.11"),
        ("GET", "/ave-2025.11/_mapping"),
        ("POST", "/_bulk"),
    ]
    for method, _, headers, _ in fake.requests:
        assert headers["Accept"] == "application/json"
        assert method == "GET" or headers["Content-Type"] in {"application/json", "application/x-ndjson"}


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ({"number": "7.7.1"}, r"is elasticsearch 7\.7\.1; 7\.8 or newer is needed"),
        ({"number": "2.6.0", "distribution": "opensearch"}, r"is opensearch 2\.6\.0; 2\.7 or newer is needed"),
        ({}, "is no OpenSearch or Elasticsearch; give the right url"),
        ({"number": "new"}, "is no OpenSearch or Elasticsearch; give the right url"),
    ],
)
def test_a_server_that_is_too_old_or_something_else_is_told(stores, version, message):
    fake = Fake(version)
    with serving(fake), pytest.raises(ConfigError, match=message):
        stores(fake).put([record(1)])
    assert bulks(fake) == []


def test_each_document_is_created_under_its_id_in_the_index_of_its_month(fake, stores):
    stores(fake, more="/lab").put([record(1), record(2)])
    [lines] = bulks(fake)
    assert lines[::2] == [{"create": {"_index": "lab-2025.11", "_id": record(seq).id}} for seq in (1, 2)]


def test_an_opensearch_that_passes_itself_off_as_elasticsearch_is_known_by_its_tagline(stores):
    fake = Fake(
        {"number": "7.10.2", "build_flavor": "default"}, tagline="The OpenSearch Project: https://opensearch.org/"
    )
    with serving(fake):
        stores(fake).put([record(1)])
    assert fake.templates["ave"]["template"]["mappings"]["properties"]["body"] == {"type": "flat_object"}


# Templates and indices


def writes(fake):
    """What was changed, but for documents."""
    return [path for method, path, *_ in fake.requests if method == "PUT"]


def test_an_index_is_made_with_our_fields_though_the_template_is_gone_by_then(fake, stores):
    store = stores(fake)
    store.put([record(1)])
    wanted = {"mappings": fake.templates.pop("ave")["template"]["mappings"]}
    store.put([record(2, time=TIME + 60 * 86_400 * 10**9), record(3)])
    assert fake.made == {"ave-2025.11": wanted, "ave-2026.01": wanted}
    assert wanted["mappings"]["dynamic"] == "strict"
    store.put([record(4)])
    template = "/_index_template/ave"
    assert writes(fake) == [template, "/ave-2025.11", template, "/ave-2026.01"], "each once"


@pytest.mark.parametrize(
    "mappings",
    [{}, {"dynamic": "true", "properties": {"ave": {}}}, {"properties": {"ave": {}}}, {"dynamic": "strict"}],
)
def test_an_index_that_was_made_without_our_template_gets_nothing(fake, stores, mappings):
    store = stores(fake)
    store.put([record(1)])
    store.close()
    fake.templates.clear()
    fake.made = {"ave-2025.11": {"mappings": mappings}}
    for ask in (lambda: store.put([record(2)]), store.probe):
        with pytest.raises(ConfigError, match=r"the index ave-2025.11 was made without our template.*and delete it"):
            ask()
    assert len(bulks(fake)) == 1


def test_without_an_administrators_template_nothing_is_stored_and_nothing_made(fake, stores):
    store = stores(fake, more="?template=keep")
    for ask in (lambda: store.put([record(1)]), store.probe):
        with pytest.raises(ConfigError, match="install the file of etc/elasticsearch by PUT _index_template/ave"):
            ask()
    assert writes(fake) == bulks(fake) == []
    stores(fake).put([record(1)])
    store.probe()
    assert store.put([record(2)]) == []


def test_who_may_not_look_at_templates_makes_an_index_that_takes_no_field(fake, stores):
    fake.answer = lambda _method, path, _body: (403, {}, b"{}") if "_simulate_index" in path else None
    store = stores(fake, more="?template=keep")
    store.probe()
    with pytest.raises(ConfigError, match=r"the index ave-2025.11 was made without our template"):
        store.put([record(1)])
    assert fake.made == {"ave-2025.11": {"mappings": {"dynamic": "strict"}}}
    assert bulks(fake) == []


def test_an_index_that_cannot_be_made_is_told_with_the_reason(fake, stores):
    error = {"error": {"type": "validation_exception", "reason": "this cluster has 1000 shards"}}
    fake.answer = lambda _method, path, _body: (400, {}, json.dumps(error).encode()) if path == "/ave-2025.11" else None
    with pytest.raises(ConfigError, match=r"has no index ave-2025.11, and we cannot make it: .*1000 shards; see its"):
        stores(fake).put([record(1)])


@pytest.mark.parametrize(
    "text",
    ['{"index_templates": [{"name": "ave"}]}', '{"index_templates": {}}', '{"index_templates": [[]]}',
     '{"index_templates": [{"index_template": {"version": "new"}}]}'],
)  # fmt: skip
def test_a_template_that_is_told_in_no_known_form_buries_nothing(fake, stores, text):
    fake.answer = lambda _method, path, _body: (200, {}, text.encode()) if "_index_template" in path else None
    with pytest.raises(StoreUnavailable, match="does not say which template it has"):
        stores(fake).put([record(1)])


def test_copies_that_are_wanted_later_are_those_of_the_indices_from_then_on(fake, stores):
    stores(fake).put([record(1)])
    for more, copies in (("?replicas=0", {"number_of_replicas": 0}), ("", {"auto_expand_replicas": "0-1"})):
        stores(fake, more=more).put([record(2)])
        assert copies.items() <= fake.templates["ave"]["template"]["settings"]["index"].items()
    assert fake.templates["ave"]["index_patterns"] == ["ave-20*", "ave-undated"]
    stores(fake).put([record(3)])
    assert writes(fake).count("/_index_template/ave") == 3


def test_a_template_with_wider_patterns_is_narrowed(fake, stores):
    stores(fake).put([record(1)])
    fake.templates["ave"]["index_patterns"] = ["ave-*"]
    stores(fake).put([record(2)])
    assert fake.templates["ave"]["index_patterns"] == ["ave-20*", "ave-undated"]


# Answers


def test_every_items_status_is_looked_at(fake, stores):
    batch = [record(seq) for seq in range(1, 6)]
    stores(fake).put([batch[2]])
    other = record(4, body={"n": "other"})
    stores(fake).put([other])
    fake.item = lambda _index, id_, _source: (
        {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "no"}} if id_ == batch[0].id else None
    )
    rejected = stores(fake).put(batch)
    assert [(one.record, one.reason) for one in rejected] == [
        (batch[0], "mapper_parsing_exception: no"),
        (batch[3], "different content under the same id"),
    ]
    assert kept(fake) == {one.id: one for one in [batch[1], batch[2], other, batch[4]]}


def test_a_reason_that_quotes_a_large_value_is_told_with_its_cause(fake, stores):
    cause = {"type": "illegal_argument_exception", "reason": "immense term"}
    error = {"type": "document_parsing_exception", "reason": "failed: " + "g" * 40_000, "caused_by": cause}
    fake.item = lambda *_document: {"status": 400, "error": error}
    [rejected] = stores(fake).put([record(1)])
    assert rejected.reason.endswith("g: illegal_argument_exception: immense term")
    assert len(rejected.reason) < 1000


def test_a_document_that_is_refused_is_offered_once_more_with_nothing_to_look_at(fake, stores):
    fake.item = lambda _index, _id, source: (
        {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}} if "body" in source else None
    )
    assert stores(fake).put([record(1), record(2)]) == []
    assert kept(fake) == {one.id: one for one in (record(1), record(2))}
    assert fake.documents["ave-2025.11"][record(1).id]["raw"] == {"n": 1}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "es_rejected_execution_exception"), (503, "unavailable_shards_exception"), (500, "odd"), (None, "odd"),
     (403, "cluster_block_exception"), (429, "cluster_block_exception"), (202, "odd")],
)  # fmt: skip
def test_an_item_for_later_makes_the_whole_batch_come_again_and_is_stored_once(fake, stores, status, kind):
    batch = [record(seq) for seq in range(1, 5)]
    late = {"status": status, "error": {"type": kind, "reason": "later"}}
    fake.item = lambda _index, id_, _source: late if id_ == batch[2].id else None
    store = stores(fake)
    with pytest.raises(StoreUnavailable, match=f"{kind}: later"):
        store.put(batch)
    fake.item = lambda *_document: None
    assert store.put(batch) == []
    assert kept(fake) == {one.id: one for one in batch}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, "security_exception"),
        (404, "index_not_found_exception"),
        (400, "validation_exception"),
        (400, "strict_dynamic_mapping_exception"),
        (400, "invalid_alias_name_exception"),
    ],
)
def test_an_item_that_only_a_person_can_mend_holds_the_queue(fake, stores, status, kind):
    fake.item = lambda *_document: {"status": status, "error": {"type": kind, "reason": "no"}}
    with pytest.raises(ConfigError, match=f"takes no records: status {status}, {kind}: no; see its indices"):
        stores(fake).put([record(1)])


@pytest.mark.parametrize(
    "reason",
    [
        "pipeline with id [gone] does not exist",
        "no write index is defined for alias [ave-2025.11]",
        "Limit of total fields [1000] has been exceeded",
    ],
)
def test_an_argument_that_is_illegal_in_every_document_is_the_servers_and_buries_none(fake, stores, reason):
    fake.item = lambda *_document: {"status": 400, "error": {"type": "illegal_argument_exception", "reason": reason}}
    with pytest.raises(
        ConfigError, match=f"takes no records: status 400, illegal_argument_exception: {escape(reason)}"
    ):
        stores(fake).put([record(1), record(2)])


def test_an_argument_that_is_illegal_as_long_as_the_document_is_looked_at_is_the_documents(fake, stores):
    error = {"type": "illegal_argument_exception", "reason": "a field is odd"}
    fake.item = lambda _index, _id, source: {"status": 400, "error": error} if "body" in source else None
    assert stores(fake).put([record(1)]) == []
    assert kept(fake) == {record(1).id: record(1)}


@pytest.mark.parametrize("block", ["FORBIDDEN/10/cluster create-index blocked", "FORBIDDEN/12/index read-only / allow"])
def test_a_block_of_a_full_disk_is_for_later(fake, stores, block):
    error = {"type": "cluster_block_exception", "reason": f"blocked by: [{block} (api)];"}
    fake.item = lambda *_document: {"status": 403, "error": error}
    with pytest.raises(StoreUnavailable, match=block):
        stores(fake).put([record(1)])
    fake.answer = lambda method, _path, _body: (
        (403, {}, json.dumps({"error": error}).encode()) if method == "PUT" else None
    )
    with pytest.raises(StoreUnavailable, match=block):
        stores(fake).put([record(1)])


@pytest.mark.parametrize("block", ["FORBIDDEN/8/index write", "FORBIDDEN/5/index read-only", "FORBIDDEN/6/cluster"])
def test_a_block_of_a_person_or_a_policy_is_told_with_the_cure(fake, stores, block):
    error = {"type": "cluster_block_exception", "reason": f"blocked by: [{block} (api)];"}
    fake.item = lambda *_document: {"status": 403, "error": error}
    with pytest.raises(ConfigError, match=f"{block}.*end that policy, and remove the block"):
        stores(fake).put([record(1)])
    fake.answer = lambda _method, path, _body: (
        (403, {}, json.dumps({"error": error}).encode()) if path == "/_bulk" else None
    )
    with pytest.raises(ConfigError, match=f"{block}.*end that policy, and remove the block"):
        stores(fake).put([record(1)])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_to_try_later_is_no_acknowledgement(fake, stores, status):
    fake.answer = fails(status, **{"Retry-After": "7"})
    with pytest.raises(StoreUnavailable, match=f"status {status}, some_exception: because") as caught:
        stores(fake).put([record(1)])
    assert caught.value.details["retry_after_s"] == 7


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([{"Retry-After": "5"}, {"Retry-After": "30"}, {}], {"retry_after_s": 30}),
        ([{}, {"Retry-After": "5"}, {"Retry-After": "soon"}], {"retry_after_s": 5}),
        ([{}, {}, {}], {}),
    ],
)
def test_no_node_that_cannot_work_is_asked_before_it_wants_to_be(stores, asked, told):
    nodes = [Fake() for _ in asked]
    with serving(*nodes):
        store = stores(*nodes)
        store.put([record(1)])
        for node, headers in zip(nodes, asked, strict=True):
            node.answer = fails(503, **headers)
        with pytest.raises(StoreUnavailable) as caught:
            store.put([record(2)])
    assert {name: value for name, value in caught.value.details.items() if name == "retry_after_s"} == told


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", ["", "soon", "-7", "\xb2", "9" * 5000, "Wed, 21 Foo 2125 07:28:00 GMT"])
def test_a_wait_that_makes_no_sense_is_an_outage_like_others(fake, stores, status, wait):
    fake.answer = fails(status, **{"Retry-After": wait})
    with pytest.raises(StoreUnavailable, match=f"status {status}") as caught:
        stores(fake).put([record(1)])
    assert "retry_after_s" not in caught.value.details


def test_a_node_may_ask_to_come_at_a_time_of_the_day(fake, stores):
    then = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100)
    fake.answer = fails(503, **{"Retry-After": format_datetime(then, usegmt=True)})
    with pytest.raises(StoreUnavailable) as caught:
        stores(fake).put([record(1)])
    assert 0 < caught.value.details["retry_after_s"] <= 100


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_holds_the_queue_and_shows_no_secret(fake, stores, status):
    fake.answer = fails(status)
    with pytest.raises(ConfigError, match="mend user, password, api_key or rights") as caught:
        stores(fake, userinfo="lab:secret@").put([record(1)])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [405, 418])
def test_something_else_that_answers_is_told(fake, stores, status):
    fake.answer = fails(status)
    with pytest.raises(ConfigError, match="is no OpenSearch or Elasticsearch"):
        stores(fake).put([record(1)])


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"null", b'"ok"', b"<html>", b'{"items": []}', b'{"items": null}', b'{"items": [{}]}',
        b'{"items": [{"create": {"_id": "x", "status": 201}}]}', b'{"items": [{"index": {"status": 201}}]}',
        b'{"items": [{"create": {"status": 201}}]}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_an_answer_that_does_not_speak_of_the_record_is_no_acknowledgement(fake, stores, text):
    fake.answer = lambda _method, path, _body: (200, {}, text) if path == "/_bulk" else None
    with pytest.raises(StoreUnavailable):
        stores(fake).put([record(1)])


def test_an_answer_without_end_is_not_read_to_the_end(fake, stores, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_BYTES", 100_000)
    fake.answer = lambda _method, path, _body: (200, {}, b" " * 200_000) if path == "/_bulk" else None
    with pytest.raises(StoreUnavailable, match="an answer of more than 100000 bytes"):
        stores(fake).put([record(1)])


def test_an_answer_that_is_small_until_it_is_unpacked_is_not_unpacked_to_the_end(fake, stores, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_BYTES", 100_000)
    packed = gzip.compress(b" " * 10_000_000)
    zipped = {"Content-Encoding": "gzip"}
    fake.answer = lambda _method, path, _body: (200, zipped, packed) if path == "/_bulk" else None
    with pytest.raises(StoreUnavailable, match="more than 100000 bytes"):
        stores(fake).put([record(1)])


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize(
    ("name", "limit", "told"), [("ANSWER_S", 0.3, "more than 0.3 seconds"), ("ANSWER_BYTES", 50, "more than 50 bytes")]
)
def test_an_answer_that_drips_is_read_neither_for_ever_nor_without_end(monkeypatch, before, name, limit, told):
    monkeypatch.setattr(connections, name, limit)
    port, ended = dripping(before, b" ")
    with pytest.raises(StoreUnavailable, match=f"an answer of {told}"):
        Cluster(Place.of(f"elasticsearch://127.0.0.1:{port}")).ask("GET", "/")
    ended.set()


@pytest.mark.parametrize("status", [413, 400])
def test_a_batch_that_is_refused_as_a_whole_goes_in_halves_until_the_guilty_one_is_found(fake, stores, status):
    guilty = record(37, body={"text": "x" * 5000})

    def answer(_method, path, body):
        is_refused = path == "/_bulk" and guilty.id.encode() in body
        return (status, {}, b'{"error": {"type": "too_much", "reason": "of it"}}') if is_refused else None

    fake.answer = answer
    batch = [guilty if seq == 37 else record(seq) for seq in range(1, 101)]
    (rejected,) = stores(fake).put(batch)
    assert rejected.record is guilty
    assert rejected.reason == f"status {status}, too_much: of it"
    assert kept(fake) == {one.id: one for one in batch if one is not guilty}
    assert len(bulks(fake)) <= 2 * 7 + 3


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "404 page not found"),
        (404, '{"ok": false, "message": "Unknown resource."}'),
        (404, '{"error": {"type": "no_such_path", "reason": "because"}}'),
        (409, '{"error": "x"}'),
        (400, '{"message": "no such backend"}'),
        (400, '{"error": "bad gateway"}'),
        (400, '{"error": {"type": "illegal_argument_exception", "reason": "unrecognized parameter"}}'),
        (202, "{}"),
    ],
)
def test_an_answer_of_what_stands_before_the_server_holds_the_queue_and_buries_nothing(fake, stores, status, text):
    fake.answer = lambda _method, path, _body: (status, {}, text.encode()) if path == "/_bulk" else None
    with pytest.raises(ConfigError, match=rf"answers status {status}.* to /_bulk; see what stands before it"):
        stores(fake).put([record(1), record(2)])
    assert len(bulks(fake)) == 1


@pytest.mark.parametrize("page", [b"<html>", b'{"Message": "Request size exceeded"}', b'{"error": "too large"}', b"{}"])
def test_a_record_that_is_too_large_for_what_stands_before_the_server_holds_the_queue(fake, stores, page):
    def answer(_method, path, body):
        return (413, {}, page) if path == "/_bulk" and (body.count(b"\n") > 4 or b"xxx" in body) else None

    fake.answer = answer
    assert stores(fake).put([record(seq) for seq in range(1, 5)]) == []
    with pytest.raises(
        ConfigError, match=r"before it lets no request of this size through \(status 413.*raise its limit"
    ):
        stores(fake).put([record(5), record(6, body={"text": "xxx"})])


def test_a_record_that_is_too_large_for_the_server_itself_which_says_no_word_is_rejected(fake, stores):
    fake.answer = lambda _method, path, _body: (413, {}, b"") if path == "/_bulk" else None
    [rejected] = stores(fake).put([record(1)])
    assert rejected.reason == "status 413, too_large: more than its http.max_content_length"


def test_a_413_that_is_cut_off_in_its_header_is_not_the_servers_own(stores):
    head = b"HTTP/1.1 413 Payload Too Large\r\nContent-Type: text/html\r\n\r\n"
    port, ended = dripping(head, b"")
    ended.set()
    answer = Cluster(Place.of(f"elasticsearch://127.0.0.1:{port}")).ask("GET", "/")
    assert answer == (413, {})


@pytest.mark.parametrize("error", ["a text", None, ["a list"]])
def test_an_item_with_an_error_of_another_form_buries_nothing(fake, stores, error):
    fake.item = lambda *_document: {"status": 400, "error": error}
    with pytest.raises(ConfigError, match="takes no records: status 400"):
        stores(fake).put([record(1)])


def test_what_is_said_to_be_there_and_cannot_be_shown_is_not_stored_yet(fake, stores):
    fake.item = lambda *_document: {"status": 409, "error": {}}
    with pytest.raises(StoreUnavailable, match="does not show what it says is there"):
        stores(fake).put([record(1)])


def test_a_search_that_not_all_shards_answered_is_no_answer(fake, stores):
    def answer(_method, path, _body):
        said = {"hits": {"hits": []}, "_shards": {"failed": 1}}
        return (200, {}, json.dumps(said).encode()) if "_search" in path else None

    fake.answer = answer
    for ask in (lambda: list(stores(fake).find(Query())), lambda: stores(fake).count(GUID)):
        with pytest.raises(StoreUnavailable, match="cannot be searched"):
            ask()


def test_who_may_not_refresh_may_still_ask(fake, stores):
    stores(fake).put([record(1)])
    fake.answer = lambda _method, path, _body: (403, {}, b"{}") if "_refresh" in path else None
    assert list(stores(fake).find(Query())) == [record(1)]


def test_a_reader_changes_nothing(fake):
    reader = open_store(f"elasticsearch://127.0.0.1:{fake.port}", "/nowhere", KINDS, readonly=True)
    assert list(reader.find(Query())) == []
    with pytest.raises(UsageError, match="was opened for reading only"):
        reader.put([record(1)])
    assert {path for _, path, *_ in fake.requests} == {
        f"/ave-20*,ave-undated/{what}" for what in ("_refresh", "_search")
    }
    reader.close()


# Who we are


@pytest.mark.parametrize(
    ("userinfo", "sent"),
    [
        ("", None),
        ("lab:se%2Fcr%C3%A9t@", "Basic bGFiOnNlL2Nyw6l0"),
        (":aWQ6a2V5%3D%3D@", "ApiKey aWQ6a2V5=="),
    ],
)
def test_it_says_who_it_is_at_every_request(fake, stores, userinfo, sent):
    store = stores(fake, userinfo=userinfo)
    store.put([record(1)])
    store.count(GUID)
    assert {headers.get("Authorization") for _, _, headers, _ in fake.requests} == {sent}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "https", "file"])
def test_no_redirect_is_followed_and_nobody_else_sees_a_secret(fake, stores, status, scheme):
    canary = Fake()
    with serving(canary):
        place = "file:///etc/hostname" if scheme == "file" else f"{scheme}://127.0.0.1:{canary.port}/_bulk"
        for path in ("/", "/_bulk", "/_search"):
            fake.answer = lambda _method, asked, _body, path=path: (
                (status, {"Location": place}, b"") if asked.endswith(path) else None
            )
            store = stores(fake, userinfo="lab:secret@")
            with pytest.raises(ConfigError, match=f"status {status}"):
                store.put([record(1)]) if path != "/_search" else store.count(GUID)
        assert canary.requests == []


def test_no_proxy_or_netrc_that_happens_to_be_there_is_used(fake, stores, monkeypatch, tmp_path):
    canary = Fake()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(canary):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        stores(fake).put([record(1)])
    assert canary.requests == []
    assert {headers.get("Authorization") for _, _, headers, _ in fake.requests} == {None}


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def context(authority, name, **dates):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **dates).configure_cert(made)
    return made


def over_tls(fake, query):
    return open_store(f"elasticsearch://lab:secret@127.0.0.1:{fake.port}{query}", "/nowhere", KINDS)


def test_tls_goes_to_whom_the_certificate_names_and_to_nobody_else(authority, tmp_path, caplog):
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    right = Fake(context=context(authority, "127.0.0.1"))
    wrong = Fake(context=context(authority, "other.example"))
    expired = Fake(context=context(authority, "127.0.0.1", not_after=past))
    with serving(right, wrong, expired):
        assert over_tls(right, f"?tls={ca}").put([record(1)]) == []
        for fake, query in ((right, "?tls=system"), (wrong, f"?tls={ca}"), (expired, f"?tls={ca}")):
            before = len(fake.requests)
            with pytest.raises(ConfigError, match="does not prove its name"):
                over_tls(fake, query).put([record(2)])
            assert len(fake.requests) == before
        assert "insecurely" not in caplog.text
        assert over_tls(wrong, f"?tls={ca}&insecure=true").put([record(2)]) == []
        assert "is reached insecurely, as its url says" in caplog.text
        assert "secret" not in caplog.text


def test_tls_older_than_1_2_is_not_spoken(authority, tmp_path):
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    old = context(authority, "127.0.0.1")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    fake = Fake(context=old)
    with serving(fake), pytest.raises(StoreUnavailable, match=r"(?i)alert|version|protocol"):
        over_tls(fake, f"?tls={ca}").put([record(1)])
    assert fake.requests == []


# Several nodes


def test_a_node_that_is_gone_is_passed_over_and_the_living_one_asked_first_from_then_on(stores):
    cluster = {}
    fakes = [Fake(documents=cluster) for _ in range(3)]
    with serving(fakes[1], fakes[2]):
        fakes[0].server_close()
        store = stores(*fakes)
        assert store.put([record(1)]) == []
        assert store.put([record(2)]) == []
        assert len(bulks(fakes[1])) == 2
        assert bulks(fakes[2]) == []


def test_a_node_that_dies_between_two_batches_costs_nothing(stores):
    cluster = {}
    first, second = Fake(documents=cluster), Fake(documents=cluster)
    with serving(second):
        with serving(first):
            store = stores(first, second)
            assert store.put([record(1)]) == []
        assert store.put([record(1), record(2)]) == []
    assert kept(second) == {one.id: one for one in (record(1), record(2))}


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_node_that_cannot_work_is_passed_over_too(stores, status):
    cluster = {}
    first, second = Fake(documents=cluster), Fake(documents=cluster)
    first.answer = fails(status)
    with serving(first, second):
        assert stores(first, second).put([record(1)]) == []
        second.answer = fails(status)
        with pytest.raises(StoreUnavailable) as caught:
            stores(first, second).put([record(2)])
        assert str(first.port) in str(caught.value)
        assert str(second.port) in str(caught.value)


@pytest.mark.parametrize(
    "fault", [Fault(reset_after=100), Fault(cut_after=100), Fault(cut_after=0), Fault(reset_after=0)], ids=str
)
def test_an_answer_that_is_lost_on_the_way_is_asked_of_the_next_node_and_stored_once(stores, fault):
    cluster = {}
    first, second = Fake(documents=cluster), Fake(documents=cluster)
    with serving(first, second), Proxy(first.port) as proxy:
        store = stores(proxy, second)
        store.put([record(1)])
        proxy.fault = fault
        assert store.put([record(1), record(2), record(3)]) == []
        assert bulks(second), "the answer of the first did not come"
    assert kept(second) == {one.id: one for one in (record(1), record(2), record(3))}


def test_a_node_that_says_nothing_is_waited_for_so_long_and_no_longer(stores, monkeypatch):
    monkeypatch.setattr(wire, "PIECE_S", 0.3)
    cluster = {}
    first, second = Fake(documents=cluster), Fake(documents=cluster)
    with serving(first, second), Proxy(first.port) as proxy:
        proxy.fault = Fault(black_hole=True)
        assert stores(proxy, second).put([record(1)]) == []


def test_an_answer_that_trickles_is_waited_for_so_long_and_no_longer(fake, stores, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_S", 0.5)
    with Proxy(fake.port) as proxy:
        store = stores(proxy)
        store.put([record(1)])
        proxy.fault = Fault(bytes_per_s=100)
        with pytest.raises(StoreUnavailable, match=r"an answer of more than 0\.5 seconds"):
            store.put([record(seq) for seq in range(1, 30)])


# URLs


@pytest.mark.parametrize(
    ("url", "nodes", "prefix"),
    [
        ("elasticsearch://localhost", ["http://localhost:9200"], "ave"),
        ("elasticsearch://search.example", ["https://search.example:9200"], "ave"),
        ("elasticsearch://a.example,b.example:9201/lab", ["https://a.example:9200", "https://b.example:9201"], "lab"),
        ("elasticsearch://[::1]:9201/lab/", ["http://[::1]:9201"], "lab"),
        ("elasticsearch://[2001:db8::1]", ["https://[2001:db8::1]:9200"], "ave"),
        ("elasticsearch+https://localhost", ["https://localhost:443"], "ave"),
        ("elasticsearch+https://a.example,b.example:9200", ["https://a.example:443", "https://b.example:9200"], "ave"),
        ("elasticsearch+http://search.example?insecure=true", ["http://search.example:9200"], "ave"),
        ("elasticsearch://search.example?insecure=true", ["http://search.example:9200"], "ave"),
        ("elasticsearch://127.0.0.1.example.org", ["https://127.0.0.1.example.org:9200"], "ave"),
        ("opensearch://u:p@localhost:1", ["http://localhost:1"], "ave"),
    ],
)
def test_a_url_says_where_the_nodes_are_and_whether_tls_is_spoken(url, nodes, prefix):
    place = Place.of(url)
    assert list(place.nodes) == nodes
    assert place.prefix == prefix


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("elasticsearch://", "must be elasticsearch://.*host"),
        ("elasticsearch://a b", "must be elasticsearch://.*host"),
        ("elasticsearch://host:port", "the port must be a number from 1 to 65535"),
        ("elasticsearch://host:70000", "the port must be a number"),
        ("elasticsearch://host/Lab", r'the prefix must be of small letters, digits, "-", "_" and ".", found "Lab"'),
        ("elasticsearch://host?locust=a,b", "the locust must be"),
        ("elasticsearch://host?replicas=many", 'replicas must be from 0 to 9, found "many"'),
        ("elasticsearch+https://host/behind/a/path", 'the prefix must be of small .*found "behind/a/path"'),
        ("elasticsearch://host?insecure=yes", 'insecure must be true or false, found "yes"'),
        ("elasticsearch://host?tls=/nowhere.pem", "the certificates in /nowhere.pem cannot be used"),
        ("elasticsearch://host?shards=3", "none but the options insecure, locust, replicas, template, tls"),
        ("elasticsearch+http://search.example", r"in clear text to another machine; use https, or add \?insecure=true"),
    ],
)
def test_a_url_that_cannot_be_one_is_told_without_its_secrets(url, message):
    scheme, _, rest = url.partition("://")
    with pytest.raises(ConfigError, match=message) as caught:
        Place.of(f"{scheme}://lab:secret@{rest}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["%E2%80%A6key", "a%0Ab", "caf%C3%A9"])
def test_what_can_be_no_api_key_is_told(key):
    with pytest.raises(ConfigError, match=r"https://host:9200/ave: the API key has characters that none has; give it"):
        open_store(f"elasticsearch://:{key}@host", "/nowhere", KINDS)


def test_copies_are_as_many_as_the_url_says(fake, stores):
    stores(fake, more="/one").put([record(1)])
    stores(fake, more="/two?replicas=0").put([record(1)])
    settings = {name: made["template"]["settings"]["index"] for name, made in fake.templates.items()}
    assert settings["one"]["auto_expand_replicas"] == "0-1"
    assert settings["two"]["number_of_replicas"] == 0
