"""An index before its first record: made by us, and looked at, so that no document can ever add a field to it.

By itself a server makes an index as its template says, and where that is gone, with a field for every key that comes.
Enough keys, and the index takes and finds nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ave.exceptions import ConfigError
from ave.lab.stores.elasticsearch.installing import installed
from ave.lab.stores.elasticsearch.wire import NotLetError, cure, reason

if TYPE_CHECKING:
    from ave.lab.stores.elasticsearch.wire import Cluster

__all__ = ["check_all", "check_template", "ready"]

#: What an index is made with, besides what its template says. More, such as an alias, would need more rights.
_STRICT = {"mappings": {"dynamic": "strict"}}

#: Given up before we give up.
_MAKING = "?timeout=20s"


def ready(cluster: Cluster, index: str) -> None:
    """Make an index, if it is not there, and see that it has our fields and takes no others.

    Raises:
        ConfigError: there is none, or one that would take others; with the cure.
        StoreUnavailable: not now.
    """
    if _is_there(cluster, index):
        return
    # a month or more after it was installed the template may be gone
    installed(cluster)
    if cluster.place.keeps_template:
        check_template(cluster, index)
    made = cluster.ask("PUT", f"/{quote(index)}{_MAKING}", _STRICT)
    # another host may have been faster
    if not _is_there(cluster, index):
        words = f"status {made.status}, {reason(made.content.get('error'))}"
        raise ConfigError(f"{cluster.place!r} has no index {index}, and we cannot make it: {words}; {cure(words)}")


def check_all(cluster: Cluster) -> None:
    """Look at all indices there are; raises as `ready`."""
    _is_there(cluster, cluster.place.indices, "?ignore_unavailable=true")


def check_template(cluster: Cluster, index: str) -> None:
    """See that there is a template for an index, and a strict one; raises as `ready`.

    Who is not let look at templates sees only after the index is made whether it is right.
    """
    try:
        answer = cluster.ask("POST", f"/_index_template/_simulate_index/{quote(index)}")
    except NotLetError:
        return
    made = answer.content.get("template")
    if not _is_strict(made):
        place = cluster.place
        raise ConfigError(
            f"{place!r} has no template that gives {index} our fields and no others; install the file of "
            f"etc/elasticsearch by PUT _index_template/{place.prefix}, or remove template=keep from the url"
        )


def _is_there(cluster: Cluster, indices: str, options: str = "") -> bool:
    """Tell whether there are indices of this name; ConfigError if one of them would take any field."""
    answer = cluster.ask("GET", f"/{quote(indices, safe='*,')}/_mapping{options}")
    if answer.status == 404:
        return False
    if answer.status != 200:
        words = f"status {answer.status}, {reason(answer.content.get('error'))}"
        raise ConfigError(f"{cluster.place!r} does not show {indices}: {words}; {cure(words)}")
    wrong = sorted(name for name, made in answer.content.items() if not _is_strict(made))
    if wrong:
        raise ConfigError(
            f"{cluster.place!r}: the index {wrong[0]} was made without our template: it has not our fields, or takes "
            f"any others; see that the template is there, reindex {wrong[0]} if there is anything in it, and delete it"
        )
    return True


def _is_strict(made: Any) -> bool:
    """Tell whether mappings have our fields and let no document add others."""
    mappings = made.get("mappings") if isinstance(made, dict) else None
    if not isinstance(mappings, dict):
        return False
    return mappings.get("dynamic") == "strict" and "ave" in mappings.get("properties", {})
