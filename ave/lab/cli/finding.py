"""What a look at a host can find."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OK", "WARNING", "WRONG", "Finding"]

OK, WARNING, WRONG = "ok", "warning", "WRONG"


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        state: `ok`, `warning` (works, but a person should know) or `WRONG`.
        subject: what was looked at.
        what: what was found.
        mend: how to mend it.
    """

    state: str
    subject: str
    what: str
    mend: str = ""
