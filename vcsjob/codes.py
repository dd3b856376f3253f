"""The results a run can have. A job may end with any of 0..255; these ten have a meaning agreed on."""

from __future__ import annotations

from ave.exceptions import UsageError

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
    "exit_to_str",
]

OK = 0  #: all went well
ERROR = 1  #: the job crashed
NORUN = 2  #: no job was run
BLOCKED = 3  #: what the job needs beforehand is not there
BUSY = 4  #: the equipment the job needs is taken
FAILURES = 5  #: tests of the job failed
NOLIST = 6  #: the jobs could not be listed
KILLED = 7  #: a signal ended the job
NOFETCH = 8  #: the jobs could not be fetched
TIMEOUT = 9  #: the job's time ran out and it was ended

_NAMES = ("OK", "ERROR", "NORUN", "BLOCKED", "BUSY", "FAILURES", "NOLIST", "KILLED", "NOFETCH", "TIMEOUT")


def exit_to_str(code: int) -> str:
    """Return the name of a result: `exit_to_str(5)` is `"vcsjob.FAILURES"`.

    Raises:
        UsageError: `code` is none of the ten.
    """
    if code not in range(len(_NAMES)):
        raise UsageError(f"unknown exit code: {code}")
    return f"vcsjob.{_NAMES[code]}"
