"""The routes: which kinds of records go to which store, as the files say."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from ave import home as homes
from ave import urls
from ave.exceptions import ConfigError
from ave.lab.config.files import Problem, load
from ave.lab.stores import resolved
from ave.record import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_URL", "Route", "Routing"]

#: Where records go when nothing else is said: the embedded store.
DEFAULT_URL = "sqlite:///$HOME/.ave/lab.db"

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

#: Files in which a URL may be the plain one that the server's own documentation gives.
_PLAIN = ("elasticsearch", "logstash")


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

    def __repr__(self) -> str:
        return f"Route({self.name}, {sorted(self.kinds)}, required={self.required}, files={self.files})"


class Routing(msgspec.Struct, frozen=True):
    """All routes, one per store."""

    routes: tuple[Route, ...]

    @classmethod
    def read(cls, home: str) -> Routing:
        """Read them from the files of `home`; ConfigError names file, key, what is wrong and the cure."""
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


def _targets(home: str) -> Iterator[Route]:
    """Give what each file asks for, in the order of the files; several may name the same store."""
    files = {name: load(name, home) for name in _ROUTED}
    bulk = _BULK if _takes_part("elasticsearch", files["elasticsearch"]) else set()
    for name, (kinds, scheme) in _ROUTED.items():
        if _takes_part(name, files[name]):
            url = _url(homes.config_file(name, home), files[name], scheme, home)
            if name in _PLAIN and url.startswith(("http:", "https:")):
                url = f"{scheme}+{url}"
            required = files[name].required and not url.startswith(_BLIND)
            yield Route(url, _name(url, home), kinds - bulk if name == "panotti" else kinds, required, (name,))
    # artifacts are files of a workspace; without a Flocker only their records are kept
    url = resolved(DEFAULT_URL, home)
    yield Route(url, _name(url, home), frozenset({"artifact"}), required=True, files=("workspace",))


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


def _url(path: str, settings: Any, scheme: str, home: str) -> str:
    """Return the URL of the store that a file names, in one of the two ways or not at all."""
    url = settings.url
    if url is None and settings.host is None:
        for key in ("port", "db", "user", "password", "api_key"):
            if getattr(settings, key, None) is not None:
                raise Problem(path, key, f'"{key}" is there, but neither "url" nor "host"', "add one").error()
        url = DEFAULT_URL
    elif url is None:
        url = _server(path, settings, scheme)
    try:
        if not url.startswith("sqlite") and ("://" in url or not urls.scheme(url)):
            urls.check(url)  # the store that some package brings may have URLs of another form
        return resolved(_with_protection(_with_user(url, settings), settings), home)
    except ConfigError as error:
        raise Problem(path, "url", str(error), "mend the url").error() from error


def _server(path: str, settings: Any, scheme: str) -> str:
    """Make a URL of the original's keys; a port or db that is not given is for the store to know."""
    host = settings.host
    if not re.fullmatch(r"[\w.:-]+", host):
        # behind an @, for a login may stand before it
        what = f'"host" must be a name or an address, found "{host.rpartition("@")[2]}"'
        raise Problem(path, "host", what, "mend the value").error()
    if getattr(settings, "rpc", "http") == "ave":
        scheme = "ave"
    where = f"[{host}]" if ":" in host else host
    port = "" if settings.port is None else f":{settings.port}"
    db = getattr(settings, "db", None)
    return f"{scheme}://{where}{port}" + (f"/{quote(db, safe='')}" if db else "")


def _with_user(url: str, settings: Any) -> str:
    scheme, mark, rest = url.partition("://")
    if "@" in rest:
        return url
    if getattr(settings, "api_key", None) is not None:
        return f"{scheme}{mark}:{quote(settings.api_key, safe='')}@{rest}"
    if settings.user is None:
        return url
    password = "" if settings.password is None else f":{quote(settings.password, safe='')}"
    return f"{scheme}{mark}{quote(settings.user, safe='')}{password}@{rest}"


def _with_protection(url: str, settings: Any) -> str:
    """Write `tls` and `insecure` behind the URL, unless it says them itself; files need neither."""
    given = {"tls": settings.tls, "insecure": "true" if settings.insecure else None}
    said = parse_qsl(url.partition("?")[2])
    query = {key: text for key, text in given.items() if text is not None and key not in dict(said)}
    if not query or url.startswith("sqlite"):
        return url
    return f"{url}{'&' if said else '?'}{urlencode(query)}"


def _name(url: str, home: str) -> str:
    if url == resolved(DEFAULT_URL, home):
        return "embedded"
    # neither how the way there is protected nor what is to be made there makes it another store
    place = re.sub(r"[?&](tls|insecure|locust|replicas|template)=[^&]*", "", urls.without_login(url))
    words = "-".join(re.findall(r"[A-Za-z0-9]+", place))
    return f"{words[:60]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
