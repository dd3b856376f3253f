"""Where the servers are and how to speak to them, as a URL says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from ave import urls
from ave.exceptions import ConfigError
from ave.lab.stores.elasticsearch.templates import LOCUST, patterns
from ave.tls import client_context, is_loopback

if TYPE_CHECKING:
    from ave.urls import Url

__all__ = ["PORT", "Place"]

#: Where such servers listen unless a URL says it; and where those do that are given as `https://` without a port.
PORT = 9200
HTTPS_PORT = 443

_OPTIONS = ("insecure", "locust", "replicas", "template", "tls")

#: What the names of indices and aliases may be.
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")

_FORM = "elasticsearch://[user:password@]host[:port][,host...][/prefix]"


class Place(msgspec.Struct, frozen=True):
    """The servers of one cluster.

    Attributes:
        nodes: their URLs, `https://host:port`.
        user, password: for basic authentication; without a user, the password is an API key.
        verify: what `requests` calls so: whether, and by which file, certificates are checked.
        prefix: of the indices, and the alias of all of them.
        locust: the alias of the requests.
        replicas: copies of each index; None for one as soon as there is a second node.
        keeps_template: whether the template is somebody else's to install.
        insecure: whether what is sent can be read on the way, or the servers are not checked.
    """

    nodes: tuple[str, ...]
    user: str
    password: str
    verify: bool | str
    prefix: str
    locust: str
    replicas: int | None
    keeps_template: bool
    insecure: bool

    @classmethod
    def of(cls, url: str) -> Place:
        """Read a URL; ConfigError says what it must be, without its secrets."""
        said = urls.read(url)
        options = said.options
        usual = HTTPS_PORT if said.scheme.endswith("+https") else PORT
        hosts = [(f"[{name}]" if ":" in name else name) + f":{port or usual}" for name, port in said.hosts]
        shown = f"{said.scheme}://{','.join(hosts)}/{said.path}"
        _check_options(shown, options)
        insecure = options.get("insecure") == "true"
        secure = _is_secure(shown, said, insecure=insecure)
        ca = options.get("tls", "system")
        if ca != "system":
            client_context(ca)  # what is wrong with it is to be told before the first use
        return cls(
            nodes=tuple(f"http{'s' if secure else ''}://{host}" for host in hosts),
            user=said.user or "",
            password=said.password or "",
            verify=not insecure if ca == "system" or insecure else ca,
            prefix=_name(shown, "prefix", said.path or "ave"),
            locust=_name(shown, "locust", options.get("locust", LOCUST)),
            replicas=_count(shown, options.get("replicas")),
            keeps_template=options.get("template") == "keep",
            insecure=insecure,
        )

    @property
    def indices(self) -> str:
        """What means all our indices in a path."""
        return ",".join(patterns(self.prefix))

    def __repr__(self) -> str:
        return f"{','.join(self.nodes)}/{self.prefix}"


def _check_options(shown: str, options: dict[str, str]) -> None:
    if not set(options) <= set(_OPTIONS):
        raise ConfigError(f"{shown} must be {_FORM}, with none but the options {', '.join(_OPTIONS)}")
    for name, allowed in (("insecure", ("true", "false")), ("template", ("keep",))):
        if name in options and options[name] not in allowed:
            raise ConfigError(f'{shown}: {name} must be {" or ".join(allowed)}, found "{options[name]}"')


def _is_secure(shown: str, said: Url, *, insecure: bool) -> bool:
    """Tell whether TLS is to be spoken: always, but to this machine, or where a URL says that it may be without."""
    is_local = all(is_loopback(name) for name, _ in said.hosts)
    if said.scheme.endswith("+https") or "tls" in said.options:
        return True
    if said.scheme.endswith("+http") and not is_local and not insecure:
        raise ConfigError(f"{shown} would be sent in clear text to another machine; use https, or add ?insecure=true")
    return not (said.scheme.endswith("+http") or is_local or insecure)


def _name(shown: str, what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f'{shown}: the {what} must be of small letters, digits, "-", "_" and ".", found "{name}"')
    return name


def _count(shown: str, text: str | None) -> int | None:
    if text is None or re.fullmatch("[0-9]", text):
        return None if text is None else int(text)
    raise ConfigError(f'{shown}: replicas must be from 0 to 9, found "{text}"')
