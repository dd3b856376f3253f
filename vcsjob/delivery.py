"""Waits until ave-logd has brought a run into its stores, by asking the program that knows: `ave wait`."""

from __future__ import annotations

import os
import sys

from ave.record import GUID_MIN
from vcsjob.joblog import tell

__all__ = ["wait"]

#: Seconds that the program itself may take besides.
EXTRA_S = 10.0


def wait(guid: str, seconds: float) -> bool:
    """Wait until everything of a run that is on this host is stored, for at most so many seconds.

    Returns:
        Whether it is. If not, stderr tells why.
    """
    if len(guid) < GUID_MIN:
        return False  # nothing of it is recorded, as was told when it began
    from subprocess import DEVNULL, PIPE, SubprocessError, run  # noqa: PLC0415 - for those who wait only

    command = [_ave(), "wait", "--timeout", f"{seconds:.3f}", "--", guid]
    try:
        ended = run(  # noqa: S603 - our own program, and no shell
            command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, timeout=seconds + EXTRA_S, check=False
        )
    except (OSError, ValueError, SubprocessError) as exc:
        why = f"`ave wait` cannot be asked: {exc}"
    except KeyboardInterrupt:
        why = "interrupted"
    else:
        if ended.returncode == 0:
            return True
        why = ended.stderr.decode(errors="backslashreplace").strip() or f"`ave wait` ended with {ended.returncode}"
    tell(f"it is not known to be delivered: {why}")
    return False


def _ave() -> str:
    """Return the program `ave` that belongs to this Python, or else the one that PATH finds."""
    beside = os.path.join(os.path.dirname(sys.executable), "ave")
    return beside if os.access(beside, os.X_OK) else "ave"
