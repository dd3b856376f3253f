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
from ave.lab.config.places import DEFAULT_URL
from ave.lab.config.routes import Route, Routing, wrong_stores

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
    "wrong_stores",
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
    """Look for all that is wrong with the files of `home`, reaching no server; raises nothing."""
    missing = [path for name in _WANTED if not os.path.lexists(path := homes.config_file(name, home))]
    found = [problem for name in SETTINGS for problem in inspect(name, homes.config_file(name, home))[1]]
    # stores are made of files that are right
    stores = () if found else wrong_stores(home)
    found += [Problem(path, "", "is missing", "`ave config --bootstrap` writes one") for path in missing]
    return [*found, *_misnamed(home), *stores]


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
