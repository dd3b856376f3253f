"""Where the store of a file is: the URL that its keys say, and the name that follows from it."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ave import home as homes
from ave import urls
from ave.exceptions import ConfigError
from ave.lab.config.files import Problem
from ave.lab.stores import STORES, resolved
from ave.redact import is_secret_name

__all__ = ["DEFAULT_URL", "name_of", "url_of", "wrong"]

#: Where records go when nothing else is said: the embedded store.
DEFAULT_URL = "sqlite:///$HOME/.ave/lab.db"

#: Files in which a URL may be the plain one that the server's own documentation gives.
_PLAIN = ("elasticsearch", "logstash")

#: Schemes of stores that are a file.
_FILES = {"sqlite", "sqlite+tables"}

#: Options that say how the way to a store is protected; files need none.
_PROTECTION = ("tls", "insecure")


def url_of(name: str, settings: Any, scheme: str, home: str) -> str:
    """Return the URL of the store that a file names, by `url`, by `host` or not at all.

    Args:
        name: of the file.
        settings: what is in it.
        scheme: of the URL that its `host`, `port` and `db` make.
        home: as of `ave.home.find`.

    Raises:
        ConfigError: of a `Problem`; it says nothing of a URL that may be a login.
    """
    path, url = homes.config_file(name, home), settings.url
    if url is None and settings.host is None:
        for key in ("port", "db", "user", "password", "api_key"):
            if getattr(settings, key, None) is not None:
                raise Problem(path, key, f'"{key}" is there, but neither "url" nor "host"', "add one").error()
        url = DEFAULT_URL
    elif url is None:
        url = _server(path, settings, scheme)
    elif name in _PLAIN and url.startswith(("http:", "https:")):
        url = f"{scheme}+{url}"
    try:
        if urls.scheme(url) not in _FILES:
            _check(url)
            url = _with_protection(_with_login(url, settings), settings)
        return resolved(url, home)
    except ConfigError as error:
        raise wrong(path, settings, error).error() from error


def wrong(path: str, settings: Any, error: ConfigError) -> Problem:
    """Return what to tell if a store, or the way there, cannot be what a file says it is."""
    by_host = getattr(settings, "host", None) is not None and settings.url is None
    where = ["host", "port", "db"] if by_host else ["url"]
    given = [key for key in (*where, *_PROTECTION, "api_key") if getattr(settings, key, None) not in {None, False}]
    keys = given or where
    cure = "mend " + " or ".join(f'"{key}"' for key in keys) + (', or give "url" instead' if by_host else "")
    return Problem(path, keys[0], str(error), cure)


def name_of(url: str, home: str) -> str:
    """Return the name of the store behind a URL of `url_of`, see `Route`."""
    if url == resolved(DEFAULT_URL, home):
        return "embedded"
    place = _place(url)
    words = "-".join(re.findall(r"[A-Za-z0-9]+", place))
    return f"{words[:60]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


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


def _check(url: str) -> None:
    """Raise a ConfigError if a URL cannot be read, or may have a login where nobody looks for one."""
    if urls.scheme(url).lower() in STORES:
        urls.read(url)
    else:
        urls.check(url)  # the store that some package brings may have URLs of another form


def _with_login(url: str, settings: Any) -> str:
    """Write who logs in into the URL, unless it says that itself."""
    scheme, mark, rest = url.partition("://")
    api_key, user, password = getattr(settings, "api_key", None), settings.user, settings.password
    if "@" in rest or (api_key is None and user is None):
        return url
    if not mark:
        raise ConfigError("in a url that is not scheme://... nothing says where a user or an api_key belongs")
    if api_key is not None:
        return f"{scheme}://:{quote(api_key, safe='')}@{rest}"
    secret = "" if password is None else f":{quote(password, safe='')}"
    return f"{scheme}://{quote(user, safe='')}{secret}@{rest}"


def _with_protection(url: str, settings: Any) -> str:
    """Write `tls` and `insecure` behind the URL, unless it says them itself."""
    given = {"tls": settings.tls, "insecure": "true" if settings.insecure else None}
    said = parse_qsl(url.partition("?")[2])
    query = {key: text for key, text in given.items() if text is not None and key not in dict(said)}
    return f"{url}{'&' if said else '?'}{urlencode(query)}" if query else url


def _place(url: str) -> str:
    """Return what of a URL says which store it is, and nothing that may be a secret."""
    scheme, place = urls.scheme(url), urls.without_login(url)
    if scheme in _FILES:
        return place
    place, _, query = place.partition("?")
    # an option says how to go there, or what to make there; those of a store that some package brings may say where
    options = "" if scheme in STORES else query
    kept = "&".join(option for option in options.split("&") if not _is_aside(option))
    return f"{place}?{kept}" if kept else place


def _is_aside(option: str) -> bool:
    name = unquote(option.partition("=")[0])
    return name in _PROTECTION or is_secret_name(name)
