"""What only a real server can tell: its types, its refusals, its limits, and the answers to the queries of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from ave.exceptions import ConfigError
from ave.lab.stores import open_store
from ave.lab.stores.elasticsearch import templates
from ave.lab.stores.elasticsearch.fields import FIELDS
from ave.record import KINDS, Query
from tests.lab.stores.samples import SEGMENT, TIME, record
from tests.system import servers_opensearch

DATA = Path(__file__).parents[2] / "data/locust"
MONTH = "2025.11"


@pytest.fixture
def url():
    with servers_opensearch.fresh() as one:
        yield one


@pytest.fixture
def server():
    return servers_opensearch.shared().url


@pytest.fixture
def name(url):
    """What the indices are named after."""
    return url.rpartition("/")[2].partition("?")[0]


@pytest.fixture
def stores(url):
    opened = []

    def open_one(more="", **how):
        opened.append(open_store(url + more, "/nowhere", KINDS, **how))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(stores):
    return stores()


def found(store, **conditions):
    return list(store.find(Query(**conditions)))


def properties(server, index):
    """Return the fields of an index as {path: type}."""
    [mapping] = requests.get(f"{server}/{index}/_mapping", timeout=10).json().values()
    return dict(_types(mapping["mappings"]["properties"], ""))


def _types(fields, above):
    for field, said in fields.items():
        yield above + field, said.get("type", "object")
        yield from _types(said.get("properties", {}), f"{above}{field}.")
        yield from _types(said.get("fields", {}), f"{above}{field}.")


# Fields


def test_every_fixed_field_has_its_type_before_the_first_value(store, server, name):
    store.put([record(1)])
    types = properties(server, f"{name}-{MONTH}")
    wanted = {"real": "double", "whole": "long", "date": "date", "word": "keyword", "name": "text", "text": "text"}
    for kind, forms in FIELDS.items():
        for field, form in forms.items():
            path = field if kind == "request" else f"{kind}.{field}"
            assert types[path] == wanted.get(form, types[path]), path
            if form == "name":
                assert types[f"{path}.keyword"] == "keyword", path
            if form == "keys":
                assert types[path] == templates.FLAT[servers_opensearch.FLAVOUR]["type"], path
    assert types["payload.response_time"] == "double"
    assert types["exception.exception.type.keyword"] == "keyword"
    assert types["@timestamp"] == "date"


def test_users_keys_without_number_add_no_field(store, server, name):
    store.put([record(1)])
    before = properties(server, f"{name}-{MONTH}")
    for begin in range(2, 2002, 500):
        batch = [
            record(seq, body={f"key-{seq}": {f"below-{seq}": seq, "row": {f"column {seq}": "x"}}})
            for seq in range(begin, begin + 400)
        ]
        batch += [
            record(seq, "verdict", {"name": "t", f"my-{seq}": 1, "properties": {f"property-{seq}": "x"}})
            for seq in range(begin + 400, begin + 450)
        ]
        batch += [
            record(seq, "request", {"type": "success", "payload": {f"p-{seq}": 1, "other": {f"o-{seq}": 1}}})
            for seq in range(begin + 450, begin + 500)
        ]
        assert store.put(batch) == []
    assert properties(server, f"{name}-{MONTH}") == before
    assert len(found(store)) == 2001


def test_users_keys_can_be_searched(store, server, name):
    store.put([record(1, body={"board": {"serial": "A-17"}}), record(2, body={"board": {"serial": "A-18"}})])
    found(store)
    asked = {"query": {"term": {"body.board.serial": "A-17"}}}
    hits = requests.post(f"{server}/{name}/_search", json=asked, timeout=10).json()["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == [record(1).id]


# Values


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


POISON = [
    ("shout", {"text": "x" * 40_000}),
    ("shout", {"deep": deep(60)}),
    ("shout", {"": {"": [{"": ""}]}, ".": 1, "a..b": 2, ".a.": {"b.": 3}, "_id": 4, "a": 5, "a.b": 6}),
    ("shout", {"k" * 1024: "v" * 7000}),
    ("shout", {"a": [1, "x", None, {"b": 1}, [[]]]}),
    ("verdict", {"name": {"is": "an object"}, "duration": "a text", "attempt": 1e300, "start": {"no": "date"}}),
    ("verdict", {"start": "yesterday, at noon", "name": "n" * 40_000, "message": "m" * 60_000}),
    ("log", {"text": "x" * 65_536, "offset": -1, "stream": "s" * 40_000}),
    ("exception", {"exception": {"type": "E", "message": "m" * 50_000, "trace": [["f", 1, "g", "s"]] * 2000}}),
    ("exception", {"exception": {"type": "E", "": 1, "type.x": 2, "message.": 3}}),
    ("request", {"type": "success", "payload": {"name.x": 1, "": 2, "other": [1], "response_time": "slow"}}),
    ("request", {"type": "success", "payload": {"name": "n", "name.x": 1, "response_time.": 1, ".": {"a": 1}}}),
    ("request", {"type": 1, "payload": "no object", "source": None}),
    ("measurement", {"table": "t", "row": {"big": 2**64 - 1, "tiny": 5e-324}, "columns": {"a": {"type": "x"}}}),
    ("event", {"name": "n", "status": 2**63, "exe": "/x" * 8000}),
    ("metric", {"values": {f"v{n}": n for n in range(3000)}}),
]


def test_no_body_is_poison_whatever_it_holds(store):
    batch = [record(seq, kind, body) for seq, (kind, body) in enumerate(POISON, 1)]
    assert store.put(batch) == []
    assert found(store) == batch
    assert store.put(batch) == [], "nor the second time"
    assert found(store) == batch


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"time": 2**63}, "no index can hold it: 9223372036854775808 is no time in nanoseconds"),
        ({"guid": "g" * 40_000}, "immense term"),
        ({"host": "h" * 40_000}, "immense term"),
        ({"body": {"text": "\udcff"}}, "surrogates not allowed"),
        ({"pid": 2**63}, "failed to parse"),
    ],
    ids=["time", "guid", "host", "surrogate", "pid"],
)
@pytest.mark.parametrize("place", [0, 50, 97])
def test_what_no_index_can_hold_is_rejected_alone(store, bad, reason, place):
    batch = [record(seq) for seq in range(1, 98)]
    poison = record(99, **bad)
    (rejected,) = store.put([*batch[:place], poison, *batch[place:]])
    assert rejected.record is poison
    assert reason in rejected.reason
    assert found(store) == batch


# Indices


def test_each_record_is_in_the_index_of_its_own_month(store, server, name):
    times = [1_795_305_600_000_000_000, 1_796_083_199_999_999_999, 1_796_083_200_000_000_000, 5, -(2**62)]
    batch = [record(seq, time=time) for seq, time in enumerate(times, 1)]
    assert store.put(batch) == []
    assert store.put(batch) == []
    found(store)
    counts = requests.get(f"{server}/_cat/indices/{name}-*?format=json&h=index,docs.count", timeout=10).json()
    assert {row["index"]: row["docs.count"] for row in counts} == {
        f"{name}-2026.11": "2",
        f"{name}-2026.12": "1",
        f"{name}-undated": "2",
    }


def test_a_dropped_month_is_gone_and_the_others_stay(store, server, name):
    store.put([record(1, time=TIME), record(2, time=TIME + 60 * 86_400 * 10**9)])
    requests.delete(f"{server}/{name}-{MONTH}", timeout=10).raise_for_status()
    assert [one.id for one in found(store)] == [f"{SEGMENT}-2"]


def test_a_blocked_index_holds_the_queue_and_buries_nothing(store, server, name):
    store.put([record(1)])

    def block(on):
        settings = {"index.blocks.write": on}
        requests.put(f"{server}/{name}-{MONTH}/_settings", json=settings, timeout=10).raise_for_status()

    block(True)
    with pytest.raises(ConfigError, match=r"FORBIDDEN/8/index write.*end that policy, and remove the block"):
        store.put([record(2), record(3)])
    block(False)
    assert store.put([record(2), record(3)]) == []
    assert len(found(store)) == 3


def test_a_closed_index_is_for_a_person_to_open(store, stores, server, name):
    store.put([record(1)])
    requests.post(f"{server}/{name}-{MONTH}/_close", timeout=10).raise_for_status()
    with pytest.raises(ConfigError, match=r"takes no records: status 400, index_closed_exception: closed; see its"):
        store.put([record(2)])
    with pytest.raises(ConfigError, match=r"takes no records: status 400, index_closed_exception: closed; see its"):
        stores().put([record(2)])
    requests.post(f"{server}/{name}-{MONTH}/_open", timeout=10).raise_for_status()
    assert store.put([record(2)]) == []


def test_a_pipeline_that_is_gone_is_for_a_person_to_mend(store, server, name):
    store.put([record(1)])

    def pipeline(which):
        settings = {"index.default_pipeline": which}
        requests.put(f"{server}/{name}-{MONTH}/_settings", json=settings, timeout=10).raise_for_status()

    pipeline("gone")
    with pytest.raises(ConfigError, match=r"pipeline with id \[gone\] does not exist"):
        store.put([record(2), record(3)])
    pipeline(None)
    assert store.put([record(2), record(3)]) == []


def test_an_index_where_the_alias_is_to_be_is_told(stores, server, name):
    requests.put(f"{server}/{name}-requests", timeout=10).raise_for_status()
    try:
        with pytest.raises(ConfigError, match=f"{name}-requests"):
            stores().put([record(1)])
    finally:
        requests.delete(f"{server}/{name}-requests", timeout=10)
    assert stores().put([record(1)]) == []


# Templates


def test_the_template_is_installed_once_and_known_again(stores, server, name):
    stores().put([record(1)])
    [there] = requests.get(f"{server}/_index_template/{name}", timeout=10).json()["index_templates"]
    assert there["index_template"]["version"] == templates.VERSION
    assert there["index_template"]["_meta"]["by"] == "ave-logging"
    before = requests.get(f"{server}/_cluster/state/metadata?filter_path=metadata.version", timeout=10).json()
    assert stores().put([record(2)]) == []
    after = requests.get(f"{server}/_cluster/state/metadata?filter_path=metadata.version", timeout=10).json()
    assert before == after


def test_an_older_template_is_brought_up_to_date_with_the_indices_there_are(stores, server, name, monkeypatch):
    stores().put([record(1)])
    monkeypatch.setattr("ave.lab.stores.elasticsearch.installing.VERSION", 2)
    monkeypatch.setattr(templates, "VERSION", 2)
    monkeypatch.setitem(FIELDS, "gap", {**FIELDS["gap"], "cause": "word"})
    assert stores().put([record(2, "gap", {"cause": "disk"})]) == []
    assert properties(server, f"{name}-{MONTH}")["gap.cause"] == "keyword"
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"the template of a newer version of ave-logging \(2, this one knows 1\)"):
        stores().put([record(3)])
    assert len(found(stores(readonly=True))) == 2, "reading goes on"


def test_a_template_of_somebody_else_is_left_alone(stores, server, name):
    path = f"{server}/_index_template/{name}"
    requests.put(path, json={"index_patterns": [f"{name}-*"]}, timeout=10).raise_for_status()
    with pytest.raises(ConfigError, match=f'has a template "{name}" that is not ours; add another prefix to the url'):
        stores().put([record(1)])


def test_an_administrators_template_is_kept(stores, server, name):
    ours = json.loads(Path(f"etc/elasticsearch/{servers_opensearch.FLAVOUR}.json").read_text())
    ours |= {"index_patterns": [f"{name}-*"], "_meta": {"by": "the administrator"}}
    requests.put(f"{server}/_index_template/{name}", json=ours, timeout=10).raise_for_status()
    assert stores("&template=keep").put([record(1, "verdict", {"name": "t"})]) == []
    [there] = requests.get(f"{server}/_index_template/{name}", timeout=10).json()["index_templates"]
    assert there["index_template"]["_meta"] == {"by": "the administrator"}


def test_without_an_administrators_template_no_index_is_made(stores, server, name):
    store = stores("&template=keep")
    for ask in (lambda: store.put([record(1)]), store.probe):
        with pytest.raises(ConfigError, match="no template that gives"):
            ask()
    assert requests.head(f"{server}/{name}-{MONTH}", timeout=10).status_code == 404


def test_no_month_takes_any_field_though_the_template_is_gone_by_then(store, server, name):
    store.put([record(1)])
    requests.delete(f"{server}/_index_template/{name}", timeout=10).raise_for_status()
    assert store.put([record(2, body={f"k{n}": n for n in range(30)}, time=TIME + 60 * 86_400 * 10**9)]) == []
    assert properties(server, f"{name}-2026.01") == properties(server, f"{name}-{MONTH}")
    assert len(found(store)) == 2


def test_an_index_that_takes_any_field_gets_no_record(store, server, name):
    requests.put(f"{server}/{name}-2026.01", timeout=10).raise_for_status()
    with pytest.raises(ConfigError, match=f"the index {name}-2026.01 was made without our template"):
        store.probe()
    with pytest.raises(ConfigError, match=f"the index {name}-2026.01 was made without our template"):
        store.put([record(1, time=TIME + 60 * 86_400 * 10**9)])


def test_two_labs_may_have_prefixes_that_begin_alike(stores, server, url, name):
    stores().put([record(1)])
    other = open_store(url.replace(name, f"{name}-two"), "/nowhere", KINDS)
    try:
        assert other.put([record(2)]) == []
        assert found(other) == [record(2)]
        assert found(stores()) == [record(1)]
    finally:
        other.close()
        requests.delete(f"{server}/{name}-two-*", timeout=10)
        requests.delete(f"{server}/_index_template/{name}-two", timeout=10)


@pytest.mark.skipif(servers_opensearch.PROGRAM.name != "opensearch", reason="OpenSearch 2 can")
def test_an_opensearch_that_passes_itself_off_as_elasticsearch_is_served(store, server):
    def pretend(value):
        body = {"persistent": {"compatibility.override_main_response_version": value}}
        requests.put(f"{server}/_cluster/settings", json=body, timeout=10).raise_for_status()

    pretend(True)
    try:
        assert requests.get(server, timeout=10).json()["version"]["number"] == "7.10.2"
        assert store.put([record(1)]) == []
    finally:
        pretend(None)


@pytest.mark.parametrize("flavour", templates.FLAT)
def test_the_templates_in_etc_are_those_that_the_store_installs(flavour):
    assert json.loads(Path(f"etc/elasticsearch/{flavour}.json").read_text()) == templates.template(flavour), (
        "python -m ave.lab.stores.elasticsearch etc/elasticsearch"
    )


# The queries of Locust's users


@pytest.fixture
def documents():
    return [json.loads(line) for line in (DATA / "legacy_0.11_docs.jsonl").read_text().splitlines()]


@pytest.fixture
def ask(stores, server, url, documents):
    """Store the documents of the original's run as requests; ask one of the queries by its name."""
    said = json.loads((DATA / "queries.json").read_text())
    template = said["template"]
    assert json.loads(Path("etc/elasticsearch/development.json").read_text()) == template["body"]
    requests.put(server + template["path"], json=template["body"], timeout=10).raise_for_status()
    store = open_store(url.partition("?")[0], "/nowhere", KINDS)
    assert store.put([record(seq, "request", body) for seq, body in enumerate(documents, 1)]) == []
    store.put([record(seq, "shout", {"title": "no request"}) for seq in range(2000, 2005)])
    assert [one.body for one in found(store, kinds=["request"])] == documents
    queries = {query["name"]: query for query in said["queries"]}

    def ask_one(name):
        query = queries[name]
        answer = requests.post(server + query["path"], json=query["body"], timeout=10)
        answer.raise_for_status()
        return answer.json()

    yield ask_one
    store.close()
    requests.delete(server + template["path"], timeout=10)


def close(one, other):
    """Tell whether two answers have the same form and, but for rounding, the same numbers."""
    if isinstance(other, dict):
        return all(close(one[key], value) for key, value in other.items())
    if isinstance(other, list):
        return len(one) == len(other) and all(close(*pair) for pair in zip(one, other, strict=True))
    return one == pytest.approx(other, rel=1e-9) if isinstance(other, float) else one == other


def is_percentile(documents, percent, value):
    """Tell whether a value is within two percent of the ranks of the one asked for: servers estimate percentiles."""
    times = [one["payload"]["response_time"] for one in documents if one["type"] == "success"]
    return abs(sum(time <= value for time in times) / len(times) * 100 - percent) < 2


def test_the_queries_of_locusts_users_run_unchanged_and_give_the_same_answers(ask, documents):
    expected = json.loads((DATA / "legacy_expected_query_results.json").read_text())
    five = ask("any five documents")["hits"]
    assert five["total"] == {"value": expected["total_hits"], "relation": "eq"}
    assert len(five["hits"]) == 5
    assert all({"type", "payload"} <= hit["_source"].keys() for hit in five["hits"])
    slowest = [hit["_source"]["payload"]["response_time"] for hit in ask("five slowest requests")["hits"]["hits"]]
    assert slowest == expected["five_slowest_success"]
    assert close(ask("counts by type and endpoint")["aggregations"], expected["by_type_then_name"])
    for name in (
        "average response time by endpoint",
        "average response time by endpoint (printed under the grouping heading)",
    ):
        assert close(ask(name)["aggregations"], expected["avg_response_time_by_name_success"])
    percentiles = ask("percentiles")["aggregations"]["load_time_outlier"]["values"]
    exact = expected["percentiles_success_linear_interpolation"]["load_time_outlier"]["values"]
    assert percentiles.keys() == exact.keys()
    assert all(is_percentile(documents, float(percent), value) for percent, value in percentiles.items())
    stats = ask("extended stats of one endpoint")["aggregations"]["time_stats"]
    assert close(stats, expected["extended_stats_slow_success"])
