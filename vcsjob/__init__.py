"""Runs test jobs: each on a terminal of its own, with a white-listed environment, a log file and a GUID.

Inside a job, `get_guid()`, `get_profiles()` and `get_log_path()` say what the run is about.
"""

from vcsjob.codes import (
    BLOCKED,
    BUSY,
    ERROR,
    FAILURES,
    KILLED,
    NOFETCH,
    NOLIST,
    NORUN,
    OK,
    TIMEOUT,
    exit_to_str,
)
from vcsjob.execute import execute_job
from vcsjob.fetching import fetch
from vcsjob.tags import execute_single, execute_tags
from vcsjob.tree import list_jobs, load_jobs
from vcsjob.variables import get_guid, get_log_path, get_profiles, set_guid, set_log_path, set_profiles

__all__ = [
    "BLOCKED",
    "BUSY",
    "ERROR",
    "FAILURES",
    "KILLED",
    "NOFETCH",
    "NOLIST",
    "NORUN",
    "OK",
    "TIMEOUT",
    "execute_job",
    "execute_single",
    "execute_tags",
    "exit_to_str",
    "fetch",
    "get_guid",
    "get_log_path",
    "get_profiles",
    "list_jobs",
    "load_jobs",
    "set_guid",
    "set_log_path",
    "set_profiles",
]
