"""The index template: the types of all fields, for OpenSearch and for Elasticsearch.

`etc/elasticsearch` has the same as files, for labs whose administrators install them; `python -m
ave.lab.stores.elasticsearch DIRECTORY` writes them.
"""

from __future__ import annotations

from typing import Any

from ave.lab.stores.elasticsearch.fields import DETAILS, FIELDS, PAYLOAD

__all__ = ["FLAT", "LOCUST", "VERSION", "mappings", "patterns", "template"]

#: Raised by one whenever fields are added; fields are never removed or changed.
VERSION = 1

#: The alias of the requests of load tests.
LOCUST = "locust"

#: The servers' names for an object of users' keys.
FLAT: dict[str, dict[str, Any]] = {
    "opensearch": {"type": "flat_object"},
    "elasticsearch": {"type": "flattened", "ignore_above": 8191},
}

_KEYWORD = {"type": "keyword", "ignore_above": 8191}
_KEPT = {"type": "object", "enabled": False}

_TYPES: dict[str, dict[str, Any]] = {
    "name": {"type": "text", "fields": {"keyword": _KEYWORD}},
    "word": _KEYWORD,
    "text": {"type": "text"},
    "flag": {"type": "boolean"},
    "whole": {"type": "long"},
    "real": {"type": "double"},
    "date": {"type": "date", "ignore_malformed": True},
    "kept": _KEPT,
}

#: The record's own fields; no limit to their length, for one that is not found by its run is as good as lost.
_WHOLE = {"type": "keyword"}
_OWN = {
    "id": {"type": "keyword", "index": False, "doc_values": False},
    "order": {"type": "keyword", "index": False},
    "kind": _WHOLE,
    "time": {"type": "long"},
    "host": _WHOLE,
    "pid": {"type": "long"},
    "source": _WHOLE,
}


def template(flavour: str, prefix: str = "ave", *, replicas: int | None = None, locust: str = LOCUST) -> dict[str, Any]:
    """Make the body of `PUT _index_template/<prefix>`.

    Args:
        flavour: `opensearch` or `elasticsearch`.
        prefix: indices are named `<prefix>-2026.11`, and all of them together `<prefix>`.
        replicas: copies of each index; None for one as soon as there is a second node.
        locust: the alias of the requests.
    """
    copies = {"auto_expand_replicas": "0-1"} if replicas is None else {"number_of_replicas": replicas}
    return {
        "index_patterns": patterns(prefix),
        "priority": 200,
        "version": VERSION,
        "_meta": {"by": "ave-logging", "locust": locust, "replicas": replicas},
        "template": {
            # what was acknowledged is on the disk
            "settings": {"index": {"number_of_shards": 1, "translog.durability": "request", **copies}},
            "mappings": mappings(flavour),
            "aliases": {prefix: {}, locust: {"filter": {"term": {"ave.kind": "request"}}}},
        },
    }


def patterns(prefix: str) -> list[str]:
    """Return what the names of our indices match (see `documents.month`), and those of the prefix `ave-two` do not."""
    return [f"{prefix}-20*", f"{prefix}-undated"]


def mappings(flavour: str) -> dict[str, Any]:
    """Make the mappings of an index."""
    fields: dict[str, Any] = {
        "@timestamp": {"type": "date"},
        "guid": _WHOLE,
        "ave": {"dynamic": "strict", "properties": _OWN},
        "body": FLAT[flavour],
        "raw": _KEPT,
    }
    for kind, forms in FIELDS.items():
        if kind == "request":
            fields.update(_properties(forms, flavour))
        elif forms:
            fields[kind] = {"dynamic": "strict", "properties": _properties(forms, flavour)}
    return {"dynamic": "strict", "properties": fields}


def _properties(forms: dict[str, str], flavour: str) -> dict[str, Any]:
    return {name: _type(form, flavour) for name, form in forms.items()}


def _type(form: str, flavour: str) -> dict[str, Any]:
    if form == "keys":
        return FLAT[flavour]
    if form in _OBJECTS:
        # a key that is none of ours is kept and not looked at
        return {"dynamic": False, "properties": _properties(_OBJECTS[form], flavour)}
    return _TYPES[form]


_OBJECTS = {"details": DETAILS, "payload": PAYLOAD}
