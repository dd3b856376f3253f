"""The file `.vcsjob` of a job tree: which jobs there are, and which of them are wanted.

Loading judges types only. Whether a job's file is there, may run and lies inside the tree is asked when it runs.
"""

from __future__ import annotations

import json
import os

from ave.exceptions import UsageError
from vcsjob import jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["has_all", "list_jobs", "load_jobs", "locate_all", "tags_list"]

NAME = ".vcsjob"


def load_jobs(jobs_dir: str, job_tags: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the entries of a tree's `.vcsjob` that have all the wanted tags, in the file's order.

    Args:
        jobs_dir: the job tree.
        job_tags: the wanted tags; `[]` and None want every entry.

    Returns:
        The entries as in the file, with the defaults of the attributes they lack.

    Raises:
        UsageError: there is no such tree or list, or an entry is not well-formed; the message names file, entry, key.
    """
    jobs.check_directory(jobs_dir)
    wanted = tags_list(job_tags)
    path = _path(jobs_dir)
    entries = _read(path)
    for number, job in enumerate(entries, 1):
        jobs.check(job, f"{path}, entry #{number}")
    return [job for job in entries if has_all(wanted, job)]


def list_jobs(jobs_dir: str, job_tags: list[str] | None = None) -> list[str]:
    """Return the paths of the entries that `load_jobs` returns, and raise what it raises."""
    return [job["path"] for job in load_jobs(jobs_dir, job_tags)]


def locate_all(jobs_dir: str, entries: list[dict[str, Any]]) -> list[str]:
    """Return the real path of the file that each of all entries of a tree runs.

    Raises:
        UsageError: as `jobs.locate`; the message names file, entry and key.
    """
    exes = []
    for number, job in enumerate(entries, 1):
        try:
            exes.append(jobs.locate(jobs_dir, job))
        except UsageError as exc:
            raise UsageError(f'{exc} ({_path(jobs_dir)}, entry #{number}, key "path")') from exc
    return exes


def tags_list(job_tags: list[str] | None) -> list[str]:
    """Return the wanted tags as a list.

    Raises:
        UsageError: they are neither a list nor None.
    """
    if job_tags is not None and not isinstance(job_tags, list):
        raise UsageError(f"not a tags list: {job_tags}")
    return job_tags or []


def has_all(wanted: list[str], job: dict[str, Any]) -> bool:
    """Say whether a job has every wanted tag."""
    return all(tag in job["tags"] for tag in wanted)


def _path(jobs_dir: str) -> str:
    return os.path.join(os.path.realpath(jobs_dir), NAME)


def _read(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, "rb", opener=_open) as file:
            content = json.loads(file.read())
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"could not load {path}: {exc}") from exc
    if not isinstance(content, dict) or not isinstance(content.get("executables"), list):
        raise UsageError(f'could not load {path}: it is not an object with a list "executables"')
    entries: list[dict[str, Any]] = content["executables"]
    return entries


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe of this name must not keep anybody waiting
