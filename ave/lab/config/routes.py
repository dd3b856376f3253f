"""The routes: which kinds of records go to which store, as the files say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.config.files import Problem, load
from ave.lab.config.places import DEFAULT_URL, name_of, url_of, wrong
from ave.lab.stores import open_store, resolved
from ave.record import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.stores import Store

__all__ = ["Route", "Routing", "wrong_stores"]

_PANOTTI = frozenset({"shout", "exception", "trace", "stderr", "log", "event", "gap", "request", "metric"})

#: file -> what it routes, and the scheme of the URL that its host, port and db make.
_ROUTED = {
    "panotti": (_PANOTTI, "couchdb"),
    "decibel": (frozenset({"verdict"}), "decibel"),
    "mysql": (frozenset({"measurement"}), "mysql"),
    "elasticsearch": (KINDS, "elasticsearch"),
    "logstash": (KINDS, "logstash"),
}

#: These take everything besides, so without a URL or host they are not there at all.
_BESIDES = {"elasticsearch", "logstash"}

#: Panotti leaves these to Elasticsearch as soon as there is one.
_BULK = {"request", "metric"}

#: URLs of stores that acknowledge nothing, and so are never required, nor the only ones of a kind.
_BLIND = ("logstash:", "tcp:")


class Route(msgspec.Struct, frozen=True):
    """One store, and what goes to it.

    Attributes:
        url: of the store, with user and password; `$HOME` is written out.
        name: short, fit for a file name, and for ever the same for the same store, whoever logs in.
        kinds: of the records that go there.
        required: whether a record counts as stored only when it is there too.
        files: the configuration files that say so.
    """

    url: str
    name: str
    kinds: frozenset[str]
    required: bool
    files: tuple[str, ...]

    def open(self, home: str, *, readonly: bool = False) -> Store:
        """Make the store, see `open_store`; ConfigError names file, key, what is wrong and the cure."""
        try:
            return open_store(self.url, home, self.kinds, readonly=readonly)
        except ConfigError as error:
            file = self.files[0]
            raise wrong(homes.config_file(file, home), load(file, home), error).error() from error

    def __repr__(self) -> str:
        return f"Route({self.name}, {sorted(self.kinds)}, required={self.required}, files={self.files})"


class Routing(msgspec.Struct, frozen=True):
    """All routes, one per store."""

    routes: tuple[Route, ...]

    @classmethod
    def read(cls, home: str) -> Routing:
        """Read them from the files of `home`; ConfigError names file, key, what is wrong and the cure.

        Makes no store: what only a store knows of its URLs, `Route.open` and `wrong_stores` tell.
        """
        routes: dict[str, Route] = {}
        for new in _targets(home):
            old = routes.get(new.name, new)
            files = tuple(dict.fromkeys((*old.files, *new.files)))
            routes[new.name] = Route(old.url, old.name, old.kinds | new.kinds, old.required or new.required, files)
        routing = cls(tuple(routes.values()))
        _check_blind(routing, home)
        return routing

    def of(self, kind: str) -> tuple[Route, ...]:
        """Return the routes of a kind; none means that such records are dropped and counted."""
        return tuple(route for route in self.routes if kind in route.kinds)

    @property
    def takers(self) -> dict[str, list[str]]:
        """The kinds that some store takes, each with the names of those that are required."""
        kinds = sorted(KINDS - self.unrouted)
        return {kind: [route.name for route in self.of(kind) if route.required] for kind in kinds}

    def unrouted_by(self) -> dict[str, list[str]]:
        """Return the files that would give the `unrouted` kinds a store, with those kinds."""
        usual = ((name, sorted(kinds & self.unrouted)) for name, (kinds, _) in _ROUTED.items() if name not in _BESIDES)
        return {name: kinds for name, kinds in usual if kinds}

    @property
    def unrouted(self) -> frozenset[str]:
        """The kinds that no store takes."""
        return KINDS.difference(*(route.kinds for route in self.routes))


def wrong_stores(home: str) -> Iterator[Problem]:
    """Give what is wrong with the store of each file, as far as that can be told without reaching it.

    ConfigError: a file cannot be read.
    """
    is_right = True
    files = _files(home)
    for name in files:
        try:
            _target(name, files, home).open(home, readonly=True).close()
        except StoreUnavailable:
            pass  # one that a package brings may try at once: that passes
        except ConfigError as error:
            is_right = False
            yield Problem.of(error)
    if is_right:
        try:
            Routing.read(home)
        except ConfigError as error:
            yield Problem.of(error)


def _files(home: str) -> dict[str, Any]:
    """Read the files that ask for a store."""
    files = {name: load(name, home) for name in _ROUTED}
    return {name: settings for name, settings in files.items() if _takes_part(name, settings)}


def _target(name: str, files: dict[str, Any], home: str) -> Route:
    """Return what one file asks for."""
    kinds, scheme = _ROUTED[name]
    url = url_of(name, files[name], scheme, home)
    if name == "panotti" and "elasticsearch" in files:
        kinds = kinds - _BULK
    return Route(url, name_of(url, home), kinds, files[name].required and not url.startswith(_BLIND), (name,))


def _targets(home: str) -> Iterator[Route]:
    """Give what each file asks for, in the order of the files; several may name the same store."""
    files = _files(home)
    yield from (_target(name, files, home) for name in files)
    # artifacts are files of a workspace; without a Flocker only their records are kept
    url = resolved(DEFAULT_URL, home)
    yield Route(url, name_of(url, home), frozenset({"artifact"}), required=True, files=("workspace",))


def _check_blind(routing: Routing, home: str) -> None:
    """Raise if a store that acknowledges nothing is the only one of a kind."""
    for route in routing.routes:
        if not route.url.startswith(_BLIND):
            continue
        alone = sorted(kind for kind in route.kinds if all(other.url.startswith(_BLIND) for other in routing.of(kind)))
        if alone:
            path = homes.config_file(route.files[0], home)
            what = f"is the only store of {' '.join(alone)}, though it acknowledges nothing"
            cure = "enable the files of other stores, or use the HTTP input: logstash+http://host:port"
            raise Problem(path, "url", what, cure).error()


def _takes_part(name: str, settings: Any) -> bool:
    there = name not in _BESIDES or settings.url is not None or settings.host is not None
    return bool(settings.enabled) and there
