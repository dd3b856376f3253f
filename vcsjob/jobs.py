"""One entry of a job tree: is it well-formed, and which file may run for it."""

from __future__ import annotations

import os

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["check", "locate"]

_DEFAULTS: dict[str, Any] = {"banner": "", "profiles": None, "coverage": None, "dirty": False, "virgin": False}


def locate(jobs_dir: str, job: dict[str, Any]) -> str:
    """Return the real path of the file to run for `job`.

    Raises:
        UsageError: there is no such directory or file, it is not executable, or it is not inside the tree
            once every `..` and symbolic link is followed.
    """
    if not jobs_dir or not os.path.isdir(jobs_dir):
        raise UsageError(f"not a jobs directory: {jobs_dir}")
    path = _path(job)
    if path.startswith("/"):
        raise UsageError(f"job path is not relative: {path}")
    tree = os.path.realpath(jobs_dir)
    try:
        exe = os.path.realpath(os.path.join(tree, path))
    except ValueError as exc:  # a NUL or a lone surrogate: no file has such a name
        raise UsageError(f"no such file: {path!r}") from exc
    if os.path.commonpath([tree, exe]) != tree:
        raise UsageError(f"job path is not inside the job tree: {exe}")
    if not os.path.isfile(exe):
        raise UsageError(f"no such file: {exe}")
    if not os.access(exe, os.X_OK):
        raise UsageError(f"file is not executable: {exe}")
    return exe


def check(job: dict[str, Any]) -> None:
    """Check the attributes of `job` and add the default of each that is missing, in place.

    False, 0, "" and [] are kept where `coverage`, `dirty` or `virgin` are concerned; unknown keys are kept.

    Raises:
        UsageError: an attribute is not of its type.
    """
    _path(job)
    _check_tags(job)
    for key, value in _DEFAULTS.items():
        job.setdefault(key, value)
    if not isinstance(job["banner"], str):
        raise UsageError(f'job\'s "banner" attribute must be a string: {job}')
    _check_profiles(job)
    if job["coverage"] and not _is_list_of_text(job["coverage"]):
        raise UsageError(f'job\'s "coverage" attribute is not a list of strings: {job}')
    _check_flag(job, "dirty")
    # `type is int`, because True is an int too and no duration.
    if "duration" in job and type(job["duration"]) is not int:
        raise UsageError(f'job\'s "duration" attribute is not an integer: {job}')
    _check_flag(job, "virgin")


def _path(job: dict[str, Any]) -> str:
    if not isinstance(job, dict) or "path" not in job:
        raise UsageError(f'job does not have the "path" attribute: {job}')
    if not isinstance(job["path"], str):
        raise UsageError(f'"path" attribute is not a string: {job}')
    return job["path"]


def _check_tags(job: dict[str, Any]) -> None:
    tags = job.setdefault("tags", [])
    if not isinstance(tags, list):
        raise UsageError(f'"tags" attribute is not a list: {tags}')
    for number, tag in enumerate(tags, 1):
        if not isinstance(tag, str):
            raise UsageError(f"tag #{number} is not a string: {job}")


def _check_profiles(job: dict[str, Any]) -> None:
    profiles = job["profiles"]
    if profiles is None:
        return
    if not isinstance(profiles, list):
        raise UsageError(f'"profiles" attribute is not a list: {job}')
    for number, profile in enumerate(profiles, 1):
        if not isinstance(profile, dict | list):
            raise UsageError(f"profile #{number} is not a dictionary or dict list: {job}")
        for item in profile if isinstance(profile, list) else [profile]:
            if isinstance(item, dict) and not all(isinstance(key, str) for key in item):
                raise UsageError(f"profile #{number} contains non-string keys: {job}")


def _check_flag(job: dict[str, Any], key: str) -> None:
    if job[key] and not isinstance(job[key], bool):
        raise UsageError(f'job\'s "{key}" attribute is not a boolean value: {job}')


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
