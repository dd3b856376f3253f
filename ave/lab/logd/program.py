"""ave-logd as a service: its command line, and how the framework's steps become those of the daemon."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ave.exceptions import UsageError
from ave.lab import config, daemon
from ave.lab.config import Routing
from ave.lab.daemon.command import ACTIONS
from ave.lab.logd.daemon import Daemon

if TYPE_CHECKING:
    import argparse
    from typing import Self

__all__ = ["LogdService", "run", "served"]

#: Seconds after which a thread that computes lets another one go on, a tenth of Python's own: a shipper that has its
#: server's answer should not wait for the books before it sends the next batch.
SWITCH_S = 0.0005

EXAMPLES = """\
examples:
  ave-logd --start         become a daemon; it logs to .ave/logs/ave-logd.log
  ave-logd --restart       replace it by what is installed and configured now
  ave-logd                 serve in the foreground until SIGTERM
  ave-logd --once          bring what is in the spool to the stores, then end
  ave-logd --home /srv/ave another home than that of this user

SIGHUP makes it read the configuration again.
"""


def run(argv: list[str]) -> int:
    """Run ave-logd. 0: ended as asked; 1: something could not be delivered, or another one runs; 2: usage."""
    about = "Bring what the host's spool keeps into the stores that the configuration names."
    sys.setswitchinterval(SWITCH_S)
    return daemon.run(LogdService, argv, about=about, examples=EXAMPLES)


class LogdService(daemon.Service):
    """The service: it has no clients, all it does is work.

    Args:
        once: end as soon as the spool is drained.
    """

    name = "ave-logd"
    default_action = "foreground"

    def __init__(self, home: str, *, once: bool = False, **streams: Any) -> None:
        super().__init__(home, **streams)
        self._once = once
        self._routing = Routing(())
        self._daemon: Daemon | None = None

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add `--once`."""
        parser.add_argument("--once", action="store_true", help="end as soon as the spool is drained")

    @classmethod
    def made(cls, home: str, options: argparse.Namespace) -> Self:
        """Make the service; UsageError: `--once` is no way to do anything else."""
        others = [action for action in ACTIONS if getattr(options, action) and action != cls.default_action]
        if options.once and others:
            raise UsageError(f"cannot combine --once and --{others[0]}")
        return cls(home, once=options.once)

    def prepare(self) -> None:
        """Read the configuration."""
        self._routing = Routing.read(self.home)
        config.load("logd", self.home)
        for problem in config.wrong_stores(self.home):
            raise problem.error()

    def begin(self) -> None:
        """Open the books."""
        self._daemon = Daemon(self.home, self._routing)

    def work(self) -> int:
        """Ship."""
        assert self._daemon is not None
        return self._daemon.drain() if self._once else self._daemon.serve()

    def rest(self) -> None:
        """Ship no more after the batches that are under way."""
        super().rest()
        if self._daemon is not None:
            self._daemon.stop()

    def reload(self) -> None:
        """Read the configuration again."""
        if self._daemon is not None:
            self._daemon.reload()

    def gauges(self) -> dict[str, float]:
        """Return how many bytes wait for each store."""
        if self._daemon is None:
            return {}
        waiting = {f"waiting_bytes.{one.store_name}": one.waiting() for one in self._daemon.shippers}
        return {"segments": len(self._daemon.watch.segments), **waiting}

    def health(self) -> dict[str, Any]:
        """Return what each store, and the books, have to complain about, and what it `serves`."""
        if self._daemon is None:
            return {}
        stores = {one.store_name: one.failure or "ok" for one in self._daemon.shippers}
        return {"stores": stores, "books": self._daemon.failure or "ok", "serves": served(self._daemon.routing)}


def served(routing: Routing) -> dict[str, str]:
    """Return which kinds go to which store: what another process compares with the files as they are now."""
    return {
        route.name: " ".join(sorted(route.kinds)) + ("" if route.required else " (not required)")
        for route in routing.routes
    }
