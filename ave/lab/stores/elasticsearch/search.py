"""The search of a query: what is asked of the index, one page after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ave.lab.stores.base import results

if TYPE_CHECKING:
    from collections.abc import Collection

    from ave.record import Query

__all__ = ["PAGE", "counting", "page", "runs"]

#: Records of one page; with bodies of 64 KiB that is 32 MiB.
PAGE = 500

#: Runs, or kinds, that one answer counts.
BUCKETS = 1000

_ORDER = ("ave.time", "ave.order")


def page(query: Query, guids: Collection[str] | None, behind: list[Any] | None, size: int = PAGE) -> dict[str, Any]:
    """Make the search for the page behind the sort values `behind`, of these runs, or of all.

    `text` is not among its conditions, for an index knows words, not parts of them.
    """
    way = "desc" if query.newest else "asc"
    search: dict[str, Any] = {
        "query": {"bool": {"filter": [{"exists": {"field": "ave.time"}}, *_conditions(query, guids)]}},
        "sort": [{field: {"order": way, "unmapped_type": "long"}} for field in _ORDER],
        "size": size,
        "track_total_hits": False,
    }
    if behind is not None:
        search["search_after"] = behind
    return search


def runs(query: Query, after: dict[str, Any] | None) -> dict[str, Any]:
    """Make the search for the runs of a job, those behind the key `after`."""
    conditions = [
        {"term": {"ave.kind": "event"}},
        {"term": {"event.name.keyword": "job.start"}},
        {"wildcard": {"event.exe.keyword": {"value": f"*{_escaped(query.job or '')}*"}}},
    ]
    if query.guid is not None:
        conditions.append({"term": {"guid": query.guid}})
    grouped: dict[str, Any] = {"size": BUCKETS, "sources": [{"guid": {"terms": {"field": "guid"}}}]}
    if after:
        grouped["after"] = after
    return {"query": {"bool": {"filter": conditions}}, "size": 0, "aggs": {"runs": {"composite": grouped}}}


def counting(guid: str, hosts: Collection[str]) -> dict[str, Any]:
    """Make the search that counts the records of a run by kind."""
    conditions: list[dict[str, Any]] = [{"term": {"guid": guid}}]
    if hosts:
        conditions.append({"terms": {"ave.host": list(hosts)}})
    kinds = {"terms": {"field": "ave.kind", "size": BUCKETS}}
    return {"query": {"bool": {"filter": conditions}}, "size": 0, "aggs": {"kinds": kinds}}


def _conditions(query: Query, guids: Collection[str] | None) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = []
    if guids is not None:
        conditions.append({"terms": {"guid": list(guids)}})
    if query.kinds:
        conditions.append({"terms": {"ave.kind": sorted(query.kinds)}})
    times = {"gte": query.since, "lt": query.until}
    if query.since is not None or query.until is not None:
        conditions.append({"range": {"ave.time": {sign: time for sign, time in times.items() if time is not None}}})
    for field, value in (("ave.host", query.host), ("ave.source", query.source)):
        if value is not None:
            conditions.append({"term": {field: value}})
    if query.result is not None:
        either = [{"terms": {f"{kind}.result.keyword": list(results(query.result))}} for kind in ("verdict", "event")]
        conditions.append({"bool": {"should": either, "minimum_should_match": 1}})
    return conditions


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\*?" else character for character in text)
