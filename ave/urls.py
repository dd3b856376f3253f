"""A server's URL, `scheme://[user:password@]host[:port][/path][?option=value]`: one reading, for the lab and for jobs.

A password with a `/`, `#` or `?` that is not written as `%2F`, `%23` or `%3F` ends up in the port, the path or behind
them. So what is wrong there is told without a word of the URL but its scheme. Where `://` is missing or mistyped, even
what looks like a scheme may be a user: then not a word is told.
"""

from __future__ import annotations

from ave.exceptions import ConfigError

__all__ = ["Url", "check", "read", "scheme", "shown", "without_login"]

CURE = 'write / # ? @ of a user or password as %2F %23 %3F %40, or give them by the keys "user" and "password"'

_FORM = "a url must be scheme://[user:password@]host[:port][/name]"

_HOST = r"[\w.-]+|\[[0-9A-Fa-f:.]+(%\w+)?\]"

#: The URL of a file, and one of a server that says nothing but where it is.
_PLAIN = r"sqlite[+\w]*:[^@?#]*|[\w+.-]+://[\w.-]*(:\d+)?(/[^@?#:]*)?"


class Url:
    """What a URL says, nothing of it quoted any more.

    Attributes:
        scheme: before the `://`.
        user, password: as whom; None if it does not say.
        hosts: name or address, and port or None; more than one if they are divided by commas.
        path: without slashes around it.
        options: what is behind the `?`.
    """

    __slots__ = ("hosts", "options", "password", "path", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        login: tuple[str | None, str | None],
        hosts: tuple[tuple[str, int | None], ...],
        path: str,
        options: dict[str, str],
    ) -> None:
        self.scheme = scheme
        self.user, self.password = login
        self.hosts = hosts
        self.path = path
        self.options = options

    def __repr__(self) -> str:
        return f"Url({self.scheme}://, {self.hosts}, {self.path!r})"


def read(url: str) -> Url:
    """Read a URL; ConfigError if it is not of this form, see the module."""
    from urllib.parse import parse_qsl, unquote  # noqa: PLC0415 - for those jobs alone that want SQL

    check(url)
    if "://" not in url:
        raise ConfigError(_FORM)
    name, login, hosts, path, query = _divided(url)
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ConfigError(f"{name}://...: behind the ? must be name=value, more of them behind a &; {CURE}") from None
    user, mark, password = login[:-1].partition(":")
    return Url(
        name,
        (unquote(user) if login else None, unquote(password) if mark else None),
        tuple(_host(name, host) for host in hosts.split(",")),
        unquote(path.strip("/")),
        options,
    )


def check(url: str) -> None:
    """Raise a ConfigError if a URL has no scheme, or if a login may be where nobody looks for one.

    That is so in the port and behind it, and wherever there is an `@` in a URL of another form, `scheme:rest`, as the
    store that some package brings may have.
    """
    name, _, hosts, path, query = _divided(url)
    if not name or ("@" in url and "://" not in url):
        raise ConfigError(_FORM)
    if "://" not in url:
        return
    if "@" in path + query or "#" in url:
        raise ConfigError(f"{name}://...: there is a # in it, or an @ behind the host; {CURE}")
    for text in hosts.split(","):
        _parted(name, text)


def scheme(url: str) -> str:
    """Return what is before the first colon; empty if that is no scheme."""
    import re  # noqa: PLC0415 - as above

    name = url.partition(":")[0]
    return name if re.fullmatch("[A-Za-z][A-Za-z0-9+._-]*", name) else ""


def shown(url: str) -> str:
    """Return a URL of any form as messages may show it: no more than the scheme if it may hold a secret."""
    import re  # noqa: PLC0415 - as above

    if re.fullmatch(_PLAIN, url):
        return url
    return f"{scheme(url)}://..." if "://" in url else "..."


def without_login(url: str) -> str:
    """Return a URL that `check` lets pass without its user and password."""
    name, _, hosts, path, query = _divided(url)
    return f"{name}://{hosts}{path}" + (f"?{query}" if query else "") if "://" in url else url


def _divided(url: str) -> tuple[str, str, str, str, str]:
    """Return scheme, login with its `@`, hosts, path with its slash and query, all as they are written."""
    rest, _, query = url.partition("://")[2].partition("?")
    where, slash, path = rest.partition("/")
    login, mark, hosts = where.rpartition("@")
    return scheme(url), login + mark, hosts, slash + path, query


def _host(name: str, text: str) -> tuple[str, int | None]:
    import re  # noqa: PLC0415 - as above

    host, port = _parted(name, text.lower())
    try:
        # what makes a socket raise something else than an OSError
        host.strip("[]").encode("idna")
    except UnicodeError:
        host = ""
    if not re.fullmatch(_HOST, host):
        raise ConfigError(f"{name}://...: it must be {name}://[user:password@]host[:port][/name]; {CURE}")
    return host.strip("[]"), port


def _parted(name: str, text: str) -> tuple[str, int | None]:
    """Return host and port of `host[:port]`; ConfigError if that cannot be the port."""
    is_plain = ":" not in text or text.endswith("]")
    host, _, port = (text, "", "") if is_plain else text.rpartition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{name}://...: the port must be a number from 1 to 65535; {CURE}")
    return host, int(port) if port else None
