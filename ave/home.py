"""Where things are, and the settings a job reads: the only part of a job's process that opens configuration.

Each file is read once per process. One table, `SETTINGS`, gives every key its type and default; the lab side
builds its typed configuration from the same table.
"""

from __future__ import annotations

import json
import os

from ave.exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SETTINGS", "USER_FILE", "ave", "config_file", "find", "forget", "load", "named"]

#: Names the home of the lab's user on a host where jobs run as somebody else: JSON {name, home, uid}.
USER_FILE = "/etc/ave/user"

#: file -> key -> (type, default). A default of None means: not set. `(bool, dict)` allows either.
SETTINGS: dict[str, dict[str, tuple[type | tuple[type, ...], Any]]] = {
    "panotti": {
        "enabled": (bool, False),
        "url": (str, None),
        "host": (str, None),
        "port": (int, None),
        "db": (str, None),
        "rpc": (str, "http"),
        "user": (str, None),
        "password": (str, None),
        "tls": (str, None),
        "insecure": (bool, False),
        "required": (bool, True),
        "spool": (dict, {}),
        "stderr": (bool, False),
        "trace": ((bool, dict), False),
        "console": ((bool, dict), False),
    },
    "workspace": {
        "root": (str, None),
        "tools": (dict, {}),
        "pretty": (str, None),
        "jenkins": (str, None),
        "wlan": (dict, None),
        "wifi-capable": (bool, None),
        "flocker": (dict, None),
        "proxy": (dict, None),
    },
    "mysql": {
        "enabled": (bool, True),
        "url": (str, None),
        "host": (str, None),
        "port": (int, None),
        "db": (str, None),
        "user": (str, None),
        "password": (str, None),
        "tls": (str, None),
        "insecure": (bool, False),
        "required": (bool, True),
    },
}

#: What `"spool": {...}` of panotti.json may hold. Policies: see ave.spool.
SPOOL: dict[str, tuple[type, Any]] = {"policy": (str, "host"), "quota_bytes": (int, None)}
POLICIES = ("host", "class", "always", "none")

#: How the contract's messages write the wanted form of a value.
_FORMS = {bool: "<bool>", str: "<string>", int: "<integer>", dict: "<dictionary>", list: "<list>"}

_loaded: dict[tuple[str, str], dict[str, Any]] = {}
_user_home: list[str] = []


# CPython's own table behind os.environ. The way through os.environ decodes the value anew at every call, which
# takes a tenth of the time of a shout; where there is no such table, that way has to do.
_table = getattr(os.environ, "_data", None)
_decoded: dict[Any, str] = {None: ""}


def named() -> str:
    """Return what `$AVE_HOME` says at this moment; empty if it is not set."""
    if _table is None:
        return os.environ.get("AVE_HOME", "")
    raw = _table.get(b"AVE_HOME")
    name = _decoded.get(raw)
    if name is None:
        name = _decoded[raw] = os.fsdecode(raw)
    return name


def find(home: str | None = None) -> str:
    """Return the home below which `.ave` lies: `home`, `$AVE_HOME`, `home` in `/etc/ave/user`, or `~`.

    ConfigError: /etc/ave/user is there but unusable, or nothing names a home at all.
    """
    if home:
        return os.path.abspath(home)
    if named():
        return os.path.abspath(named())
    if not _user_home:
        _user_home.append(_lab_user_home() or os.path.expanduser("~"))
    if not _user_home[0].startswith("/"):
        raise ConfigError("there is no home directory: set AVE_HOME to the directory that holds .ave")
    return _user_home[0]


def ave(home: str, *parts: str) -> str:
    """Return a path below `<home>/.ave`."""
    return os.path.join(home, ".ave", *parts)


def config_file(name: str, home: str) -> str:
    """Return the path of a configuration file: `config_file("panotti", home)`."""
    return ave(home, "config", f"{name}.json")


def load(name: str, home: str) -> dict[str, Any]:
    """Read a file of `SETTINGS`, check it and fill in the defaults; unknown keys are kept.

    Read once per process; the same object comes back every time, so do not change it.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: unreadable, no JSON object, or a value of the wrong type; names file, key and both forms.
    """
    path = config_file(name, home)
    settings = _loaded.get((path, name))
    if settings is None:
        settings = _loaded[path, name] = check(name, read(path), path)
    return settings


def read(path: str) -> dict[str, Any]:
    """Read a JSON object from a file; ConfigError says what is wrong, FileNotFoundError that it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, object_pairs_hook=_object)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be loaded: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a JSON object {{...}}, found {type(content).__name__}")
    return content


def check(name: str, content: dict[str, Any], path: str) -> dict[str, Any]:
    """Check the types of `content` against `SETTINGS[name]` and return it with the defaults filled in."""
    settings = {key: default for key, (_, default) in SETTINGS[name].items()} | content
    for key, (wanted, default) in SETTINGS[name].items():
        _check_type(name, key, wanted, default, settings[key], path)
    if name == "panotti":
        spool = settings["spool"] = {key: default for key, (_, default) in SPOOL.items()} | settings["spool"]
        for key, (wanted, default) in SPOOL.items():
            _check_type(name, key, wanted, default, spool[key], path)
        if spool["policy"] not in POLICIES:
            raise ConfigError(f"{path}: spool policy must be one of {', '.join(POLICIES)}, found {spool['policy']!r}")
        if spool["quota_bytes"] is not None and spool["quota_bytes"] <= 0:
            raise ConfigError(f"{path}: spool quota_bytes must be more than 0, found {spool['quota_bytes']}")
        _check_trace(settings["trace"], path)
        _check_console(settings["console"], path)
    return settings


def _check_trace(trace: bool | dict[str, Any], path: str) -> None:
    share = trace if isinstance(trace, bool) else trace.get("sample")
    if not isinstance(share, (bool, int, float)) or not 0 <= share <= 1 or (trace is not share and len(trace) > 1):  # type: ignore[arg-type]
        raise ConfigError(f'{path}: trace must be true, false or {{"sample": 0.0 to 1.0}}, found {trace!r}')


def _check_console(console: bool | dict[str, Any], path: str) -> None:
    if isinstance(console, bool):
        return
    rate = console.get("rate")
    # true is an int to Python; 0 lines per second are `false`
    if set(console) != {"rate"} or type(rate) not in {int, float} or not 0 < rate <= 100_000:  # type: ignore[operator]
        raise ConfigError(f'{path}: console must be true, false or {{"rate": lines per second}}, found {console!r}')


def forget() -> None:
    """Read everything anew at the next use."""
    _loaded.clear()
    _user_home.clear()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of a JSON object's pairs; of two equal keys readers would keep one or the other."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return content


def _check_type(name: str, key: str, wanted: Any, default: Any, value: Any, path: str) -> None:
    allowed = wanted if isinstance(wanted, tuple) else (wanted,)
    # bool is a subclass of int, but true is no port number
    if type(value) in allowed or (value is None and default is None):
        return
    form = " or ".join(_FORMS[kind] for kind in allowed)
    shown = "***" if key in {"password", "url"} else value
    attribute = "attribute" if name == "workspace" else "attribute in config"
    raise ConfigError(
        f'{name} {attribute} "{key}" must be on the form {{"{key}":{form}}}. '
        f"current value={shown} (type={type(value)}) in {path}"
    )


def _lab_user_home() -> str | None:
    try:
        user = read(USER_FILE)
    except FileNotFoundError:
        return None
    home = user.get("home")
    if not isinstance(home, str) or not home.startswith("/"):
        raise ConfigError(f'{USER_FILE}: "home" must be an absolute path, found {home!r}')
    return home
