"""ave-logd: brings what the host's spool keeps into the stores, as often and as long as it takes."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    # they wait until the daemon can take them: a reload just after the start must not end it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1))
    try:
        try:
            from ave.lab.logd.program import run  # noqa: PLC0415 - needs the extra `lab`, which may not be there
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in {"ave", "vcsjob"}:
                raise
            sys.stderr.write("ave-logd needs the lab parts: pip install 'ave-logging[lab]'\n")
            return 2
        return run(sys.argv[1:] if argv is None else argv)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
