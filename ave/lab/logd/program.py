"""The command line and the signals of ave-logd; what it does is in `ave.lab.logd.daemon`."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ave import __version__, io
from ave import home as homes
from ave.exceptions import AveException, ConfigError
from ave.lab.config import Routing
from ave.lab.logd.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run"]

log = logging.getLogger(__name__)

#: Seconds after which a thread that computes lets another one go on, a tenth of Python's own: a shipper that has its
#: server's answer should not wait for the books before it sends the next batch.
SWITCH_S = 0.0005

#: What ends the daemon, and what makes it read its configuration again.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

EXAMPLES = """\
examples:
  ave-logd                 serve until SIGTERM; SIGHUP reads the configuration again
  ave-logd --once          bring what is in the spool to the stores, then end
  ave-logd --home /srv/ave another home than that of this user
"""


def run(argv: list[str]) -> int:
    """Run ave-logd. 0: ended as asked; 1: something could not be delivered, or another one runs; 2: usage."""
    options = _parser().parse_args(argv)
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s ave-logd %(levelname)s: %(message)s", stream=sys.stderr, force=True
    )
    try:
        home = homes.find(options.home)
        routing = Routing.read(home)
        with _alone(home):
            daemon = Daemon(home, routing)
            with _obeying(daemon):
                return daemon.drain() if options.once else daemon.serve()
    except ConfigError as error:
        return _fail(str(error), 2)
    except AveException as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(f"{error.filename or home}: {error.strerror}; `ave doctor` tells the mend", 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ave-logd",
        description="Bring what the host's spool keeps into the stores that the configuration names.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="end as soon as the spool is drained")
    parser.add_argument("--foreground", action="store_true", help="serve in the foreground, as it always does")
    parser.add_argument("--home", metavar="DIR", help="the directory that holds .ave (default: $AVE_HOME, ~)")
    parser.add_argument("--version", action="version", version=f"ave-logd {__version__}")
    return parser


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"ave-logd: {message}\n")
    return code


@contextmanager
def _obeying(daemon: Daemon) -> Iterator[None]:
    """Let signals reach the daemon, those that came since `main` began included."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # it ends already, and its exit code is to say how


@contextmanager
def _alone(home: str) -> Iterator[None]:
    """Hold the lock that makes this the only ave-logd of the home."""
    path = homes.ave(home, "run", "ave-logd.lock")
    io.make_dirs(os.path.dirname(path))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            raise AveException(f"another ave-logd serves {home} already (pid {pid}); stop that one first") from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(fd)
