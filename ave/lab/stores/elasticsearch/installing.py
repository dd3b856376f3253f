"""What must be there before the first record: the index template, in our version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores.elasticsearch.templates import VERSION, mappings, template
from ave.lab.stores.elasticsearch.wire import reason

if TYPE_CHECKING:
    from ave.lab.stores.elasticsearch.wire import Answer, Cluster

__all__ = ["installed"]

#: The oldest servers with composable templates and an object of users' keys.
_OLDEST = {"opensearch": (2, 7), "elasticsearch": (7, 8)}


class _Inner(msgspec.Struct):
    aliases: dict[str, Any] = {}


class _Template(msgspec.Struct):
    """What we look at in a template."""

    index_patterns: list[str] = []
    version: int = 0
    meta: dict[str, Any] = msgspec.field(name="_meta", default_factory=dict)
    template: _Inner = msgspec.field(default_factory=_Inner)

    @property
    def marks(self) -> tuple[Any, ...]:
        """What differs if it is not to be as this version, and its URL, want it."""
        return self.version, self.meta, self.index_patterns, self.template.aliases.keys()


class _Named(msgspec.Struct):
    index_template: _Template


class _Found(msgspec.Struct):
    index_templates: list[_Named] = []


def installed(cluster: Cluster) -> None:
    """Install the template, or bring it up to date together with the indices that are there.

    Raises:
        ConfigError: the server is too old, or what is there is newer or somebody else's.
        StoreUnavailable: not now.
    """
    flavour = _flavour(cluster)
    place = cluster.place
    if place.keeps_template:
        return
    path = f"/_index_template/{place.prefix}"
    there = _template(cluster, cluster.ask("GET", path))
    if there and there.meta.get("by") != "ave-logging":
        raise ConfigError(f'{place!r} has a template "{place.prefix}" that is not ours; add another prefix to the url')
    if there and there.version > VERSION:
        raise ConfigError(
            f"{place!r} has the template of a newer version of ave-logging ({there.version}, this one knows "
            f"{VERSION}); upgrade this host, or give another prefix"
        )
    wanted = template(flavour, place.prefix, replicas=place.replicas, locust=place.locust)
    if there is None or there.marks != msgspec.convert(wanted, _Template).marks:
        _done(cluster, "PUT", path, wanted)
    if there and there.version < VERSION:
        _done(cluster, "PUT", f"/{place.indices}/_mapping?ignore_unavailable=true", mappings(flavour))


def _flavour(cluster: Cluster) -> str:
    """Return which of the two servers it is; ConfigError if it is neither, or too old."""
    content = cluster.ask("GET", "/").content
    said = content.get("version")
    version = said if isinstance(said, dict) else {}
    number = str(version.get("number", ""))
    flavour = "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"
    parts = re.match(r"(\d+)\.(\d+)", number)
    if not parts:
        raise ConfigError(f"{cluster.place!r} is no OpenSearch or Elasticsearch; give the right url")
    if flavour == "elasticsearch" and "OpenSearch" in str(content.get("tagline")):
        return "opensearch"  # which passes itself off as Elasticsearch 7.10, for clients that ask for that
    oldest = _OLDEST[flavour]
    if (int(parts[1]), int(parts[2])) < oldest:
        wanted = ".".join(map(str, oldest))
        raise ConfigError(f"{cluster.place!r} is {flavour} {number}; {wanted} or newer is needed")
    return flavour


def _template(cluster: Cluster, found: Answer) -> _Template | None:
    """Return the template that is there; None if there is none."""
    if found.status == 404:
        return None
    try:
        templates = msgspec.convert(found.content, _Found).index_templates
    except msgspec.ValidationError as error:
        raise StoreUnavailable(f"{cluster.place!r} does not say which template it has: {error}") from error
    return templates[0].index_template if templates else None


def _done(cluster: Cluster, method: str, path: str, body: dict[str, Any]) -> None:
    answer = cluster.ask(method, path, body)
    if answer.status == 404 and "_mapping" in path:
        return  # no index yet
    if answer.status != 200:
        raise ConfigError(f"{cluster.place!r} does not take our template: {reason(answer.content.get('error'))}")
    if not answer.content.get("acknowledged"):
        raise StoreUnavailable(f"{cluster.place!r} has not taken our template yet")
