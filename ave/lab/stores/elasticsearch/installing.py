"""What must be there before the first record: the index template, in our version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores.elasticsearch.templates import VERSION, mappings, template
from ave.lab.stores.elasticsearch.wire import reason

if TYPE_CHECKING:
    from ave.lab.stores.elasticsearch.wire import Answer, Cluster

__all__ = ["installed"]

#: The oldest servers with composable templates and an object of users' keys.
_OLDEST = {"opensearch": (2, 7), "elasticsearch": (7, 8)}


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
    found = cluster.ask("GET", path)
    there = _template(found)
    version = there.get("version") or 0
    if there and there.get("_meta", {}).get("by") != "ave-logging":
        raise ConfigError(f'{place!r} has a template "{place.prefix}" that is not ours; add another prefix to the url')
    if version > VERSION:
        raise ConfigError(
            f"{place!r} has the template of a newer version of ave-logging ({version}, this one knows {VERSION}); "
            "upgrade this host, or give another prefix"
        )
    wanted = template(flavour, place.prefix, replicas=place.replicas, locust=place.locust)
    if (
        version == VERSION
        and there.get("template", {}).get("aliases", {}).keys() == wanted["template"]["aliases"].keys()
    ):
        return
    _done(cluster, "PUT", path, wanted)
    if there:
        _done(cluster, "PUT", f"/{place.prefix}-*/_mapping?ignore_unavailable=true", mappings(flavour))


def _flavour(cluster: Cluster) -> str:
    """Return which of the two servers it is; ConfigError if it is neither, or too old."""
    said = cluster.ask("GET", "/").content.get("version")
    version = said if isinstance(said, dict) else {}
    number = str(version.get("number", ""))
    flavour = "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"
    parts = re.match(r"(\d+)\.(\d+)", number)
    if not parts:
        raise ConfigError(f"{cluster.place!r} is no OpenSearch or Elasticsearch; give the right url")
    oldest = _OLDEST[flavour]
    if (int(parts[1]), int(parts[2])) < oldest:
        wanted = ".".join(map(str, oldest))
        raise ConfigError(f"{cluster.place!r} is {flavour} {number}; {wanted} or newer is needed")
    return flavour


def _template(found: Answer) -> dict[str, Any]:
    templates = found.content.get("index_templates") if found.status == 200 else None
    return templates[0]["index_template"] if templates else {}


def _done(cluster: Cluster, method: str, path: str, body: dict[str, Any]) -> None:
    answer = cluster.ask(method, path, body)
    if answer.status == 404 and "_mapping" in path:
        return  # no index yet
    if answer.status != 200:
        raise ConfigError(f"{cluster.place!r} does not take our template: {reason(answer.content.get('error'))}")
    if not answer.content.get("acknowledged"):
        raise StoreUnavailable(f"{cluster.place!r} has not taken our template yet")
