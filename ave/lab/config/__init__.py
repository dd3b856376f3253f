"""The lab's configuration: every file typed and checked, the routes that follow, and defaults that work.

One JSON file per concern in `<home>/.ave/config`, each optional. They hold passwords, so nobody but their owner may
read them. Read once, at start; nobody opens them afterwards.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING, Any

from ave import home as homes
from ave import io
from ave.exceptions import ConfigError
from ave.lab.config.files import SETTINGS, Problem, Settings, inspect, load
from ave.lab.config.routes import DEFAULT_URL, Route, Routing
from ave.lab.stores import store_class

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_URL",
    "SETTINGS",
    "Problem",
    "Route",
    "Routing",
    "Settings",
    "bootstrap",
    "check",
    "load",
    "unknown_stores",
]

#: What `bootstrap` writes.
_FIRST: dict[str, dict[str, Any]] = {
    "panotti": {"enabled": True, "url": DEFAULT_URL},
    "workspace": {"root": "$HOME/workspaces", "tools": {}},
    "decibel": {"enabled": True, "url": DEFAULT_URL},
    "mysql": {"enabled": True, "url": DEFAULT_URL},
    "logd": {key: default for key, (_, default) in SETTINGS["logd"].items() if default is not None},
}

#: What somebody may call a file -> what it is called.
_MEANT = {"couchdb": "panotti", "mariadb": "mysql", "opensearch": "elasticsearch"}

#: Files whose lack is told: without the one shouts are dropped, without the other there is no workspace.
_WANTED = ("panotti", "workspace")


def bootstrap(home: str) -> list[str]:
    """Write the files that a host without servers needs, mode 0600, where there are none; change no other.

    Returns:
        The paths of those written: none at the second call.

    Raises:
        ConfigError: one cannot be written.
    """
    written = []
    for name, content in _FIRST.items():
        path = homes.config_file(name, home)
        if os.path.lexists(path):
            continue
        try:
            io.make_dirs(os.path.dirname(path))
            io.replace_file(path, json.dumps(content, indent=4).encode() + b"\n")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}; make {home} writable") from error
        written.append(path)
    return written


def check(home: str) -> list[Problem]:
    """Look for all that is wrong with the files of `home`; raises nothing."""
    found: list[Problem] = []
    for name in SETTINGS:
        path = homes.config_file(name, home)
        if name in _WANTED and not os.path.lexists(path):
            found.append(Problem(path, "", "is missing", "`ave config --bootstrap` writes one"))
        found += inspect(name, path)[1]
    # routes are made of files that are right
    is_right = not any(os.path.lexists(problem.file) for problem in found)
    return [*found, *_misnamed(home), *(_check_routes(home) if is_right else ())]


def _misnamed(home: str) -> Iterator[Problem]:
    """Give a problem for each file that nobody reads though it seems to be meant for us."""
    directory = os.path.dirname(homes.config_file("panotti", home))
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return  # told by all that should be in it
    for name in (entry.removesuffix(".json") for entry in names if entry.endswith(".json")):
        near = difflib.get_close_matches(name, SETTINGS, 1, 0.75)
        meant = _MEANT.get(name) or "".join(near)
        if meant and name not in SETTINGS:
            yield Problem(os.path.join(directory, f"{name}.json"), "", "is read by nobody", f"call it {meant}.json")


def _check_routes(home: str) -> Iterator[Problem]:
    try:
        routing = Routing.read(home)
    except ConfigError as error:
        yield Problem(*(error.details[field] for field in Problem.__struct_fields__))
        return
    yield from unknown_stores(routing, home)


def unknown_stores(routing: Routing, home: str) -> Iterator[Problem]:
    """Give a problem for each route to a store that nothing installed here can reach."""
    for route in routing.routes:
        try:
            store_class(route.url)
        except ConfigError as error:
            path = homes.config_file(route.files[0], home)
            yield Problem(path, "url", str(error), "give another url")
