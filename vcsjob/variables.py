"""What a job is told through its environment, and how it asks for it.

`get_*` and `set_*` work on the environment of the calling process: a job asks, a shell-like caller sets.
`execute_job` never sets anything there; it hands `for_job()` to the job, so several threads may execute at once.
"""

from __future__ import annotations

import json
import os

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "check_guid",
    "for_job",
    "get_guid",
    "get_log_path",
    "get_profiles",
    "set_guid",
    "set_log_path",
    "set_profiles",
    "white_listed",
]

GUID = "VCSJOB_GUID"
PROFILES = "VCSJOB_PROFILES"
LOG_PATH = "VCSJOB_LOG_PATH"

#: Handed on without being asked for and without a word in the log: with another home the job's own records
#: would land in another spool, without its trace context in another trace.
HANDED_ON = ("AVE_HOME", "TRACEPARENT")


def set_guid(guid: str | None) -> None:
    """Set the GUID this process and its children work for; None or empty takes it away.

    Raises:
        UsageError: `guid` is not text.
    """
    check_guid(guid)
    # As bytes: the variable is UTF-8 whatever the locale says.
    if guid:
        os.environb[GUID.encode()] = guid.encode()
    else:
        os.environ.pop(GUID, None)


def get_guid() -> str:
    """Return the GUID this job runs under.

    Raises:
        UsageError: none is set, or it is not UTF-8.
    """
    guid = os.environb.get(GUID.encode(), b"")
    if not guid:
        raise UsageError("guid not set")
    try:
        return guid.decode()
    except UnicodeDecodeError as exc:
        raise UsageError(f"Wrong format of guid ({guid!r}): {exc}") from exc


def check_guid(guid: object) -> None:
    """Raise UsageError if `guid` is neither text nor left out."""
    if guid and not isinstance(guid, str):
        raise UsageError(f"guid is not a string: {guid}")


def set_log_path(path: str | None) -> None:
    """Set the path of the job's log; None or empty takes it away."""
    if path:
        os.environ[LOG_PATH] = path
    else:
        os.environ.pop(LOG_PATH, None)


def get_log_path() -> str:
    """Return the path of the file this job is logged to.

    Raises:
        UsageError: the job is not logged to a named file.
    """
    if LOG_PATH not in os.environ:
        raise UsageError("no log path set")
    return os.environ[LOG_PATH]


def set_profiles(profiles: list[Any] | None) -> None:
    """Set the profiles of the equipment this job wants; None takes them away.

    Args:
        profiles: a list; each item is a dict with the text `type`, or a list of such dicts.

    Raises:
        UsageError: `profiles` is anything else.
    """
    if profiles is None:
        os.environ.pop(PROFILES, None)
    else:
        os.environ[PROFILES] = _encoded(profiles)


def get_profiles() -> list[Any]:
    """Return the profiles given to this job: dicts, and tuples of dicts for items that are lists.

    Raises:
        UsageError: none are set, or they are not JSON.
    """
    if PROFILES not in os.environ:
        raise UsageError("no profiles set")
    try:
        profiles = json.loads(os.environ[PROFILES])
    except ValueError as exc:
        raise UsageError(f"{PROFILES} is not JSON: {exc}") from exc
    return [tuple(item) if isinstance(item, list) else item for item in profiles]


def _encoded(profiles: object) -> str:
    if not isinstance(profiles, list):
        raise UsageError(f"profiles must be a list of dictionaries: {profiles}")
    for item in profiles:
        for profile in item if isinstance(item, list) else [item]:
            _check_profile(profile)
    return json.dumps(profiles)


def _check_profile(profile: object) -> None:
    if not isinstance(profile, dict):
        raise UsageError(f"profile is not a dictionary or list: {profile}")
    if "type" not in profile:
        raise UsageError(f'"type" field is missing in profile": {profile}')
    if not isinstance(profile["type"], str):
        raise UsageError(f'"type" field is not a string: {profile}')


def white_listed(names: Iterable[str] | None) -> dict[str, str]:
    """Return the caller's variables that a job may see: those named, and LANG if there is one.

    Raises:
        UsageError: a named variable is not set.
    """
    kept = {}
    for name in names or ():
        if not isinstance(name, str) or name not in os.environ:
            raise UsageError(f'environment variable "{name}" is not set')
        kept[name] = os.environ[name]
    if "LANG" in os.environ:
        kept["LANG"] = os.environ["LANG"]
    return kept


def for_job(
    white_list: dict[str, str], guid: str | None, profiles: list[Any] | None, log_path: str | None
) -> dict[bytes, bytes]:
    """Return the whole environment of a job: `white_list`, its own three variables, and what is handed on.

    Raises:
        UsageError: the profiles are not in the form `set_profiles()` describes.
    """
    passed = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    environment = {os.fsencode(name): os.fsencode(value) for name, value in {**passed, **white_list}.items()}
    own = {
        GUID: guid.encode() if guid else None,
        PROFILES: None if profiles is None else _encoded(profiles).encode(),
        LOG_PATH: os.fsencode(log_path) if log_path else None,
    }
    for name, value in own.items():
        # A variable of the caller's own run, even a white-listed one, says nothing about this job.
        environment.pop(name.encode(), None)
        if value is not None:
            environment[name.encode()] = value
    return environment
