"""Shouting to Panotti: a structured entry under a run's GUID, kept before the call returns."""

from __future__ import annotations

import os

from ave import context, spool
from ave import home as homes
from ave.exceptions import AveException, ConfigError, SpoolError
from ave.record import GUID_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["keep", "keep_later", "shout"]

#: What was told on stderr already.
_told: set[str] = set()

#: home -> whether entries are wanted there, read once per process.
_enabled: dict[str, bool] = {}


def shout(guid: str | None, json_data: dict[Any, Any], home: str | None = None, print_errors: bool = False) -> None:
    """Keep an entry for the run `guid`; ave-logd brings it to the store that panotti.json names.

    Silent without a GUID (or None outside such a call or work), without panotti.json, when that says `"enabled":
    false`, and on bad input. Never raises, blocks, forks or starts a thread, and never changes `json_data`. When it
    returns, the entry survives the death of this process, unless the disk or the quota is full: that is told once on
    stderr, and counted.

    Args:
        guid: the run, at least 10 characters; None for the one whose call is being served, or in whose `work` (of
            `ave.scheduler`) this is said.
        json_data: the entry. With a key `exception` it becomes a record of that kind. Values that are not JSON
            become strings, and are marked.
        home: the directory that holds `.ave`; as for `ave.home.find`.
        print_errors: print one line to stderr for every entry that is not kept, with the reason.

    Example:
        >>> shout("20261122-nightly-17", {"title": "flashing", "handset": "yuga"})
    """
    try:
        if guid is None:
            guid = context.current_guid()
        if guid:
            _shout(guid, json_data, homes.named() if home is None else home)
    except Exception as error:  # noqa: BLE001 - the border to somebody's test: nothing may leave here
        try:
            _tell(error, print_errors)
        except Exception:  # noqa: BLE001, S110 - even an error may be unprintable
            pass


def keep(kind: str, guid: str, body: dict[str, Any], *, source: str, home: str | None = None) -> None:
    """Keep a record of what panotti.json turns on and off; as silent, and as harmless, as `shout`."""
    _keep(spool.append, kind, guid, body, source, home)


def keep_later(kind: str, guid: str, body: Callable[[], str], *, source: str, home: str | None = None) -> None:
    """Do as `keep`, with a body as of `spool.append_later`."""
    _keep(spool.append_later, kind, guid, body, source, home)


def _keep(append: Callable[..., object], kind: str, guid: str, body: Any, source: str, home: str | None) -> None:
    try:
        if _is_enabled(os.environ.get("AVE_HOME", "") if home is None else home):
            append(kind, guid, body, source=source, home=home)
    except Exception as error:  # noqa: BLE001 - as above
        try:
            _tell(error, print_errors=False)
        except Exception:  # noqa: BLE001, S110 - as above
            pass


def _shout(guid: str, json_data: dict[Any, Any], home: str) -> None:
    _check(guid, json_data)
    if _is_enabled(home):
        kind = "exception" if dict.__contains__(json_data, "exception") else "shout"
        spool.append(kind, guid, json_data, source="panotti", home=home)


def _is_enabled(home: str) -> bool:
    """Tell whether panotti.json is there and says so; ConfigError if it is broken."""
    enabled = _enabled.get(home)
    if enabled is None:
        enabled = _enabled[home] = _read_enabled(home)
    return enabled


def _read_enabled(home: str) -> bool:
    try:
        found = homes.find(home)
    except ConfigError as error:
        raise SpoolError(str(error)) from error
    try:
        return bool(homes.load("panotti", found)["enabled"])
    except FileNotFoundError:
        return False


def _check(guid: str, json_data: dict[Any, Any]) -> None:
    if not isinstance(guid, str) or len(guid) < GUID_MIN:
        raise AveException(
            f'"guid" must be a string of {GUID_MIN} or more characters, current value: "{guid}" (type: {type(guid)})'
        )
    if not isinstance(json_data, dict):
        raise AveException(f'"json_data" must be a dictionary, current value: "{json_data}" (type: {type(json_data)})')


def _tell(error: Exception, print_errors: bool) -> None:
    """Print an error if that is wanted, and one of the spool, which is nobody's bad input, once in any case."""
    text = str(error)
    if isinstance(error, SpoolError) and text not in _told:
        _told.add(text)
    elif not print_errors:
        return
    message = " ".join(f"ave.panotti: not kept: {text}".split())
    try:
        os.write(2, message.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        pass  # stderr is closed or full: there is nobody left to tell
