"""The stores: where records end up. `open_store` chooses one by the scheme of its URL."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

from ave import urls
from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores.base import Rejected, Store, order, unopened
from ave.lab.stores.embedded import EmbeddedStore
from ave.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from importlib.metadata import EntryPoint

__all__ = ["STORES", "Rejected", "Store", "open_store", "order", "resolved"]


def _later(module: str, name: str) -> Callable[..., Store]:
    """Put off loading a module, and its client library, until somebody has such a store."""

    def make(url: str, kinds: Collection[str], *, readonly: bool = False) -> Store:
        made: Store = getattr(import_module(f"ave.lab.stores.{module}"), name)(url, kinds, readonly=readonly)
        return made

    return make


#: Scheme -> what makes the store: called as `(url, kinds, readonly=...)`, opens nothing yet.
STORES: dict[str, Callable[..., Store]] = {
    "ave": _later("panotti_rpc", "PanottiRpcStore"),
    "couchdb": _later("couchdb", "CouchStore"),
    "elasticsearch": _later("elasticsearch", "ElasticsearchStore"),
    "elasticsearch+http": _later("elasticsearch", "ElasticsearchStore"),
    "elasticsearch+https": _later("elasticsearch", "ElasticsearchStore"),
    "logstash": _later("logstash", "LogstashTcpStore"),
    "logstash+http": _later("logstash", "LogstashHttpStore"),
    "logstash+https": _later("logstash", "LogstashHttpStore"),
    "opensearch": _later("elasticsearch", "ElasticsearchStore"),
    "mariadb": _later("sql", "SqlStore"),
    "mysql": _later("sql", "SqlStore"),
    "sqlite": EmbeddedStore,
    "sqlite+tables": _later("sql", "SqlStore"),
}

#: Packages that bring a store of their own name it here: `couchdb = my.package:CouchStore`.
GROUP = "ave.stores"

#: Scheme that somebody may write -> the store that is meant.
_MEANT = {"http": "couchdb", "https": "couchdb"}


def open_store(url: str, home: str, kinds: Collection[str], *, readonly: bool = False) -> Store:
    """Make the store behind a URL. It is reached at its first use, not here.

    Args:
        url: its scheme chooses the store; the path in a `sqlite:` URL may begin with `$HOME` or `~`.
        home: as of `ave.home.find`.
        kinds: the kinds of records it is to take.
        readonly: for asking only; nothing is made or changed, and `put` is a UsageError.

    Raises:
        ConfigError: no store has this scheme (names those there are), the URL cannot be one, or what a package brings
            cannot be used.
    """
    make, place = _maker(url), resolved(url, home)
    try:
        return make(place, kinds, readonly=readonly)
    except (ConfigError, StoreUnavailable):
        raise
    except Exception as error:
        # what somebody else's code says of a URL may have a password in it
        told = redact({"told": str(unopened(f'a store of scheme "{urls.scheme(url)}"', error))})
        raise ConfigError(f"{told['told']}; see what brings it") from error


def resolved(url: str, home: str) -> str:
    """Write the home into a URL of SQLite's, so that the same file has the same URL; others stay as they are.

    ConfigError: such a URL without an absolute path.
    """
    scheme, _, place = url.partition(":")
    if scheme not in {"sqlite", "sqlite+tables"}:
        return url
    first, _, rest = place.lstrip("/").partition("/")
    if first in {"~", "$HOME"}:
        root, path = home.rstrip("/"), rest
    else:
        root, path = "", place.lstrip("/") if place.startswith("///") else ""
    if not path:
        raise ConfigError(f'"{urls.shown(url)}" must be {scheme}:/// and the absolute path of a file')
    return f"{scheme}://{root}/{path}"


def _maker(url: str) -> Callable[..., Store]:
    """Return what makes stores of this scheme; ConfigError if nothing does."""
    scheme = urls.scheme(url)
    if scheme in STORES:
        return STORES[scheme]
    # a third of the time it takes to start `ave`, which it need not cost where no package brings a store
    from importlib.metadata import entry_points  # noqa: PLC0415

    others = entry_points(group=GROUP)
    for entry in others:
        if entry.name == scheme:
            return _loaded(entry)
    raise ConfigError(_unknown(scheme, {*STORES, *others.names}))


def _loaded(entry: EntryPoint) -> Callable[..., Store]:
    try:
        made: Callable[..., Store] = entry.load()
    except Exception as error:
        package = entry.dist.name if entry.dist else entry.module
        why = f"{entry.value} cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigError(
            f'the package {package} brings stores of scheme "{entry.name}", but {why}; mend or remove that package'
        ) from error
    return made


def _unknown(scheme: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = [_MEANT[scheme]] if scheme in _MEANT else difflib.get_close_matches(scheme.lower(), names, 1)
    hint = f"did you mean {near[0]}://host? " if near else ""
    told = f'stores of scheme "{scheme}" need another version or a package that brings them'
    return f"{told}; {hint}known: {', '.join(names)}"
