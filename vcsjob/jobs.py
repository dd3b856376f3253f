"""One entry of a job tree: is it well-formed, and which file may run for it."""

from __future__ import annotations

import os
import stat
from functools import partial

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["check", "check_directory", "locate"]


def check_directory(jobs_dir: str) -> None:
    """Raise UsageError if `jobs_dir` is not a directory."""
    if not jobs_dir or not os.path.isdir(jobs_dir):
        raise UsageError(f"not a jobs directory: {jobs_dir}")


def locate(jobs_dir: str, job: dict[str, Any]) -> str:
    """Return the real path of the file to run for `job`.

    Raises:
        UsageError: there is no such directory or file, it is not executable, or it is not inside the tree
            once every `..` and symbolic link is followed.
    """
    check_directory(jobs_dir)
    path = _path(job)
    if path.startswith("/"):
        raise UsageError(f"job path is not relative: {path}")
    tree = os.path.realpath(jobs_dir)
    try:
        exe = _followed(tree, path)
    except ValueError as exc:  # a NUL or a lone surrogate: no file has such a name
        raise UsageError(f"no such file: {path!r}") from exc
    if exe != tree and not exe.startswith(os.path.join(tree, "")):
        raise UsageError(f"job path is not inside the job tree: {exe}")
    if not os.path.isfile(exe):
        raise UsageError(f"no such file: {exe}")
    if not os.access(exe, os.X_OK):
        raise UsageError(f"file is not executable: {exe}")
    return exe


def _followed(tree: str, path: str) -> str:
    """Return the real path of what lies below a real path; ValueError if no file has such a name."""
    exe = os.path.join(tree, path)
    # nearly every job is a file in the tree itself: then nothing above it is to be looked at once more
    try:
        is_plain = "/" not in path and path not in {"", ".", ".."} and not stat.S_ISLNK(os.lstat(exe).st_mode)
    except OSError:
        is_plain = False
    return exe if is_plain else os.path.realpath(exe)


def check(job: dict[str, Any], where: str = "") -> None:
    """Check the attributes of `job` and add the default of each that is missing, in place.

    False, 0, "" and [] are kept where `coverage`, `dirty` or `virgin` are concerned; unknown keys are kept.

    Args:
        job: the entry.
        where: the place it comes from, e.g. `/tree/.vcsjob, entry #2`; told, with the key, by what is raised.

    Raises:
        UsageError: an attribute is not of its type.
    """
    for key, look in _CHECKS.items():
        try:
            look(job)
        except UsageError as exc:
            if where:
                raise UsageError(f'{exc} ({where}, key "{key}")') from exc
            raise


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


def _check_banner(job: dict[str, Any]) -> None:
    if not isinstance(job.setdefault("banner", ""), str):
        raise UsageError(f'job\'s "banner" attribute must be a string: {job}')


def _check_profiles(job: dict[str, Any]) -> None:
    profiles = job.setdefault("profiles", None)
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


def _check_coverage(job: dict[str, Any]) -> None:
    coverage = job.setdefault("coverage", None)
    if coverage and not (isinstance(coverage, list) and all(isinstance(item, str) for item in coverage)):
        raise UsageError(f'job\'s "coverage" attribute is not a list of strings: {job}')


def _check_duration(job: dict[str, Any]) -> None:
    # `type is int`, because True is an int too and no duration.
    if "duration" in job and type(job["duration"]) is not int:
        raise UsageError(f'job\'s "duration" attribute is not an integer: {job}')


def _check_flag(key: str, job: dict[str, Any]) -> None:
    if job.setdefault(key, False) and not isinstance(job[key], bool):
        raise UsageError(f'job\'s "{key}" attribute is not a boolean value: {job}')


#: What is wrong with an entry is looked for in this order.
_CHECKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "path": _path,
    "tags": _check_tags,
    "banner": _check_banner,
    "profiles": _check_profiles,
    "coverage": _check_coverage,
    "dirty": partial(_check_flag, "dirty"),
    "duration": _check_duration,
    "virgin": partial(_check_flag, "virgin"),
}
