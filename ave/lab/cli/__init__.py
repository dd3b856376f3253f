"""The program `ave`. This module can be imported, and says what to install, where the lab parts are missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NEEDS = b"ave needs the lab parts: pip install 'ave-logging[lab]'\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ave` with these arguments (default: those of the process) and return its exit code."""
    try:
        from ave.lab.cli.program import run  # noqa: PLC0415 - needs click and more

        return run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"", "ave", "vcsjob"}:
            raise
        os.write(2, _NEEDS)
        return 2
    except KeyboardInterrupt:  # before click, which answers it with the same code, was there
        return 130
