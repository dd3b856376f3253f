"""`ave up`, `ave down` and `ave status`: all services of a home at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from ave.exceptions import AveException, ConfigError, UsageError
from ave.lab.cli.contents import look
from ave.lab.cli.context import Run, as_json_option, pass_run
from ave.lab.cli.output import Screen, columns, seconds, shortened, size, tell, write_json
from ave.lab.config import Routing
from ave.lab.daemon import command, user
from ave.lab.logd.program import LogdService, served

if TYPE_CHECKING:
    from ave.lab.daemon import Service

__all__ = ["COMMANDS", "failures", "outdated", "services"]

#: What is under way to the stores is only safe with the one that brings it there: it is first up, and last down.
_KINDS: tuple[type[Service], ...] = (LogdService,)

_STYLES = {"running": "green", "stopped": "yellow"}


def services(home: str) -> list[Service]:
    """Return the services of a home, in the order in which they are started."""
    return [kind(home) for kind in _KINDS]


def failures(said: dict[str, str]) -> dict[str, str]:
    """Return per store why nothing goes there, of what ave-logd says about its stores."""
    return {store: why for store, why in said.items() if why != "ok"}


def outdated(home: str, said: dict[str, Any]) -> str:
    """Return how the configuration that a service says it `serves` differs from the files; empty if it does not."""
    before = said.get("serves")
    if before is None:
        return ""
    try:
        now = served(Routing.read(home))
    except ConfigError:
        return ""  # what is in the files cannot be served
    differing = [name for name in {**now, **before} if now.get(name) != before.get(name)]
    return f"serves an older configuration than the files have, of {', '.join(differing)}" if differing else ""


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
    _show(_judged(run), as_json=as_json)


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

    And for each store: what waits for it, how long, its dead letters, and why it takes nothing. And whether a service
    goes by older files than there are.

    \b
    Examples:
      ave status
      ave status --json | jq '.delivery[] | {store, lag_s, dead, failure}'

    One does not run, or does not answer: exit code 1.
    """
    states = _judged(run)
    for state in states:
        if state["service"] == LogdService.name:
            state["delivery"] = _delivery(run.home, state.get("stores", {}))
    _show(states, as_json=as_json)


def _states(run: Run) -> list[dict[str, Any]]:
    states = [command.state(service)[1] for service in services(run.home)]
    for state in states:
        if how := outdated(run.home, state):
            state["outdated"] = how
    return states


def _judged(run: Run) -> list[dict[str, Any]]:
    """Return how all services are; the answer is no if one does not run."""
    states = _states(run)
    run.code = 0 if all(state["state"] == "running" for state in states) else 1
    return states


def _delivery(home: str, said: dict[str, str]) -> list[dict[str, Any]]:
    """Return the way to each store, and why nothing goes there, if ave-logd has `said` so."""
    try:
        ways = look(home).stores
    except (AveException, OSError) as error:
        tell(str(error))
        return []
    why = failures(said)
    return [{**msgspec.to_builtins(way), "failure": why.get(way.store)} for way in ways]


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
        if "outdated" in state:
            screen.text(f"    {state['outdated']}; mend: {state['service']} --restart", "bold red")
        if "delivery" in state:
            _show_delivery(screen, state["delivery"])


def _show_delivery(screen: Screen, ways: list[dict[str, Any]]) -> None:
    heads = ("", "WAITS", "FOR", "DEAD LETTERS", "STORE")
    title, *rows = columns([heads, *(_way(way) for way in ways)])
    screen.text(title)
    for way, row in zip(ways, rows, strict=True):
        screen.text(row, "bold red" if way["failure"] else "yellow" if way["dead"] else "")
        if way["failure"]:
            screen.text(f"    takes nothing: {way['failure']}", "bold red")
        for why, count in way["rejects"].items():
            screen.text(f"    rejected {count}: {why}", "yellow")


def _way(way: dict[str, Any]) -> tuple[object, ...]:
    lag = "-" if way["lag_s"] is None else seconds(way["lag_s"])
    return ("", size(way["waiting_bytes"]), lag, way["dead"], shortened(way["store"]))


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
    said = {} if "delivery" in state else failures(state.get("stores", {}))
    found = [f"{name}: {why}" for name, why in said.items()]
    if state.get("books", "ok") != "ok":
        found.append(f"the books: {state['books']}")
    return [*found, *([state["error"]] if "error" in state else [])]


COMMANDS = (up, down, status)
