"""The files: one table of keys, and the structs, checks and messages that are made from it."""

from __future__ import annotations

import difflib
import json
import operator
import os
import stat
from functools import reduce
from typing import TYPE_CHECKING, Any

import msgspec

from ave import home as homes
from ave import urls
from ave.exceptions import ConfigError
from ave.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SETTINGS", "Problem", "Settings", "inspect", "load"]

_STORE: dict[str, tuple[Any, Any]] = {
    "enabled": (bool, True),
    "url": (str, None),
    "host": (str, None),
    "port": (int, None),
    "user": (str, None),
    "password": (str, None),
    "tls": (str, None),
    "insecure": (bool, False),
    "required": (bool, True),
}

#: file -> key -> (type, default): those of `ave.home.SETTINGS`, and the files that no job reads.
SETTINGS: dict[str, dict[str, tuple[Any, Any]]] = {
    "decibel": _STORE,
    "mysql": homes.SETTINGS["mysql"],
    "elasticsearch": {**_STORE, "api_key": (str, None)},
    "logstash": _STORE,
    "logd": {
        "batch_records": (int, 1000),
        "retry_max_s": (int, 60),
        "logs_quota_bytes": (int, None),
        "log_rotate_bytes": (int, 16 << 20),
        "log_rotate_s": (int, 86_400),
    },
    **homes.SETTINGS,
}

#: key -> what its value may be, besides the type.
_VALUES: dict[str, range | tuple[str, ...]] = {
    "port": range(1, 65536),
    "batch_records": range(1, 10_001),
    "retry_max_s": range(1, 3601),
    "logs_quota_bytes": range(100_000, 1 << 50),
    "log_rotate_bytes": range(10_000, 1 << 40),
    "log_rotate_s": range(1, 366 * 86_400),
    "rpc": ("http", "ave"),
}

_SECRETS = ("password", "api_key")

#: Files that the original had, too: what is wrong with them is told in its words.
_ORIGINALS = ("panotti", "workspace")

_FORMS = {bool: "true or false", int: "a whole number", str: "a string", dict: "an object {...}", list: "a list [...]"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one file, an attribute per key (`wifi-capable` is `wifi_capable`); its repr shows no secret."""

    def __repr__(self) -> str:
        shown = redact({name: getattr(self, name) for name in self.__struct_fields__})
        if shown.get("url"):
            shown["url"] = urls.shown(shown["url"])
        # what an object holds is the user's to name: {"ssid": ..., "auth": ...}
        texts = (f"{name}={'{...}' if isinstance(value, dict) else repr(value)}" for name, value in shown.items())
        return f"{type(self).__name__}({', '.join(texts)})"


class Problem(msgspec.Struct, frozen=True):
    """Something to mend: where, what is wrong, and how to mend it. `key` is empty if it is the whole file."""

    file: str
    key: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.cure}"

    def error(self) -> ConfigError:
        """Return the error that tells it; its details have our fields."""
        return ConfigError({"message": str(self), **msgspec.structs.asdict(self)})

    @classmethod
    def of(cls, error: ConfigError) -> Problem:
        """Return the problem that an error of `Problem.error` tells."""
        return cls(*(error.details[field] for field in cls.__struct_fields__))


def load(name: str, home: str) -> Any:
    """Read one file; where there is none, all defaults hold.

    Returns:
        A `Settings` with one attribute per key of `SETTINGS[name]`.

    Raises:
        ConfigError: the first of the problems that `inspect` finds.
    """
    path = homes.config_file(name, home)
    content, problems = inspect(name, path)
    if problems:
        raise problems[0].error()
    if name in homes.SETTINGS:
        content = homes.check(name, content, path)
    return _STRUCTS[name](**{_attribute(key): value for key, value in content.items()})


def inspect(name: str, path: str) -> tuple[dict[str, Any], list[Problem]]:
    """Read a file; return its content, empty if there is none, and all that is wrong with it."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            return {}, [Problem(path, "", "is not a file", "move it away")]
        if mode & 0o077:
            what = f"others than its owner may read or change it (mode {mode & 0o777:03o})"
            return {}, [Problem(path, "", what, f"chmod 600 {path}")]
        content = homes.read(path)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [Problem(path, "", f"cannot be read: {error.strerror}", "see who owns it and its directory")]
    except ConfigError as error:
        return {}, [Problem(path, "", str(error).removeprefix(f"{path}: "), "mend it")]
    return content, [problem for item in content.items() if (problem := _problem(name, path, *item))]


def _problem(name: str, path: str, key: str, value: Any) -> Problem | None:
    if key not in SETTINGS[name]:
        return _unknown(path, key, SETTINGS[name])
    if key == "spool" and isinstance(value, dict):
        for inner in value.keys() - homes.SPOOL.keys():
            return _unknown(path, inner, homes.SPOOL)
    what = _wrong_type(name, path, key, value) or _wrong_value(key, value)
    return Problem(path, key, what, "mend the value") if what else None


def _unknown(path: str, key: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(key, known, n=1)
    cure = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
    return Problem(path, key, f'unknown key "{key}"', cure)


def _wrong_type(name: str, path: str, key: str, value: Any) -> str:
    if name in _ORIGINALS and key not in _SECRETS:
        try:
            homes.check(name, {key: value}, path)
        except ConfigError as error:
            # the contract's text; the path is told before it
            return str(error).removeprefix(f"{path}: ").removesuffix(f" in {path}")
        return ""
    wanted, default = SETTINGS[name][key]
    if type(value) is wanted or (value is None and default is None):
        return ""
    shown = "a secret" if key in {*_SECRETS, "url"} else json.dumps(value)
    return f'"{key}" must be {_FORMS[wanted]}, found {shown} ({type(value).__name__})'


def _wrong_value(key: str, value: Any) -> str:
    if isinstance(value, str) and not value.isprintable():
        return f'"{key}" has characters that cannot be printed'
    allowed = _VALUES.get(key)
    if allowed is None or value is None or value in allowed:
        return ""
    form = f"from {allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else f"one of {', '.join(allowed)}"
    return f'"{key}" must be {form}, found {json.dumps(value)}'


def _attribute(key: str) -> str:
    return key.replace("-", "_")


def _struct(name: str) -> Any:
    fields: list[tuple[str, Any, Any]] = []
    for key, (wanted, default) in SETTINGS[name].items():
        types = reduce(operator.or_, wanted) if isinstance(wanted, tuple) else wanted
        fields.append((_attribute(key), types if default is not None else types | None, default))
    return msgspec.defstruct(name.capitalize(), fields, bases=(Settings,), frozen=True, kw_only=True)


_STRUCTS = {name: _struct(name) for name in SETTINGS}
