"""`ave up`, `ave down` and `ave status`: all services of a home at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ave.exceptions import AveException, UsageError
from ave.lab.cli.context import Run, as_json_option, pass_run
from ave.lab.cli.output import Screen, columns, seconds, tell, write_json
from ave.lab.daemon import command, user
from ave.lab.logd.program import LogdService

if TYPE_CHECKING:
    from ave.lab.daemon import Service

__all__ = ["COMMANDS", "services"]

#: What is under way to the stores is only safe with the one that brings it there: it is first up, and last down.
_KINDS: tuple[type[Service], ...] = (LogdService,)

_STYLES = {"running": "green", "stopped": "yellow"}


def services(home: str) -> list[Service]:
    """Return the services of a home, in the order in which they are started."""
    return [kind(home) for kind in _KINDS]


@click.command()
@as_json_option
@pass_run
def up(run: Run, as_json: bool) -> None:
    """Start all services that do not run.

    \b
    Examples:
      ave up
      ave up --json

    Returns when they answer. One does not start: exit code 1.
    """
    user.become("a service of AVE")
    for service in services(run.home):
        try:
            if command.state(service)[0] != command.RUNNING:
                service.start()
        except AveException as error:
            tell(f"{service.name}: {error}")
    _judge(run, as_json=as_json)


@click.command()
@click.option(
    "--grace", type=float, default=command.GRACE_S, show_default=True, help="Seconds from SIGTERM to SIGKILL."
)
@as_json_option
@pass_run
def down(run: Run, grace: float, as_json: bool) -> None:
    """Stop all services.

    \b
    Examples:
      ave down
      ave down --grace 2

    What is in the spool stays there, and is brought to the stores after the next start. One does not end: exit code 1.
    """
    for service in reversed(services(run.home)):
        try:
            command.stop(service, grace)
        except UsageError:
            raise
        except AveException as error:
            tell(f"{service.name}: {error}")
            run.code = 1
    _show(_states(run), as_json=as_json)


@click.command()
@as_json_option
@pass_run
def status(run: Run, as_json: bool) -> None:
    """Show how all services are.

    \b
    Examples:
      ave status
      ave status --json | jq .stores

    One does not run, or does not answer: exit code 1.
    """
    _judge(run, as_json=as_json)


def _states(run: Run) -> list[dict[str, Any]]:
    return [command.state(service)[1] for service in services(run.home)]


def _judge(run: Run, *, as_json: bool) -> None:
    """Show how all services are; the answer is no if one does not run."""
    states = _states(run)
    run.code = 0 if all(state["state"] == "running" for state in states) else 1
    _show(states, as_json=as_json)


def _show(states: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        write_json(states)
        return
    screen = Screen()
    heads = ("SERVICE", "STATE", "PID", "UP", "VERSION", "")
    title, *rows = columns([heads, *(_row(state) for state in states)])
    screen.text(title)
    for state, row in zip(states, rows, strict=True):
        screen.text(row, _STYLES.get(state["state"], "bold red"))


def _row(state: dict[str, Any]) -> tuple[str, ...]:
    uptime = seconds(int(state["uptime"])) if "uptime" in state else ""
    return (
        *(str(state.get(key) or "") for key in ("service", "state", "pid")),
        uptime,
        str(state.get("version", "")),
        "; ".join(_complaints(state)),
    )


def _complaints(state: dict[str, Any]) -> list[str]:
    """Return what is not well with a service, of what it says."""
    stores = state.get("stores", {})
    found = [f"{name}: {what}" for name, what in stores.items() if what != "ok"]
    return [*found, *([state["error"]] if "error" in state else [])]


COMMANDS = (up, down, status)
