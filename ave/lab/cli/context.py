"""What the commands share: the run of the program they belong to, and the answer no."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

import click

from ave import home as homes
from ave.lab.cli.output import tell
from ave.lab.query import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.query import Stores

__all__ = ["POLL_S", "Group", "No", "Run", "as_json_option", "pass_run", "patience", "warn"]

#: Seconds between two looks at what is expected to change.
POLL_S = 0.2

#: Seconds after which a person is told what is waited for.
PATIENCE_S = 5.0


class No(Exception):  # noqa: N818 - an answer
    """The answer is no: the message goes to stderr, the exit code is 1."""


class Run:
    """One run of the program.

    Attributes:
        code: its exit code, if nothing else goes wrong. A command sets it before it writes, for the reader of
            what it writes may go away.
    """

    def __init__(self) -> None:
        self.code = 0
        self.home_option: str | None = None

    @property
    def home(self) -> str:
        """The home this run is about; ConfigError if there is none."""
        return homes.find(self.home_option)

    def stores(self) -> Stores:
        """Open the stores of the home for reading."""
        return open_stores(self.home, patience)


class Group(click.Group):
    """Lists its commands in the order in which they were added: the one a person needs first comes first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; nothing at all is answered by the help, and exit code 2."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(self.commands)


@contextmanager
def patience(store: str) -> Iterator[None]:
    """Say what is waited for, if it takes long: a server that hangs is given up after a minute or so."""
    timer = Timer(PATIENCE_S, tell, [f"waiting for the store {store}, which has not answered for {PATIENCE_S:g} s"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def warn(stores: Stores) -> None:
    """Tell which stores could not be asked."""
    for name, why in stores.failed.items():
        tell(f"warning: what is in the store {name} is not shown: {why}")


pass_run = click.make_pass_decorator(Run, ensure=True)

as_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, one object per line.")
