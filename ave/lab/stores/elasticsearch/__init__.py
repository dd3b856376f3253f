"""OpenSearch and Elasticsearch, for every kind of record."""

from __future__ import annotations

from ave.lab.stores.elasticsearch.store import ElasticsearchStore

__all__ = ["ElasticsearchStore"]
