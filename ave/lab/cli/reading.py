"""`ave show`, `ave find` and `ave tail`: records, as a story, as a list, or as they come."""

from __future__ import annotations

import sys
import time
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from ave.exceptions import StoreUnavailable
from ave.lab.cli import guids
from ave.lab.cli.context import POLL_S, No, Run, as_json_option, pass_run, warn
from ave.lab.cli.course import Course
from ave.lab.cli.describe import describe
from ave.lab.cli.moment import moment
from ave.lab.cli.output import Line, Screen, day, one_line, tell, write_json, zone
from ave.lab.cli.story import Story
from ave.lab.query import Follower, story
from ave.record import KINDS, RESULTS, Query, Record
from vcsjob import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ave.lab.query import Stores

__all__ = ["COMMANDS"]

#: What `--result` takes: what a case, and what a job can end as.
_RESULTS = (*RESULTS, *(codes.exit_to_str(code).removeprefix("vcsjob.") for code in range(codes.TIMEOUT + 1)))

#: What a number of records can be asked for at most.
COUNT_MAX = 10**9

#: Linked runs of which is said what became of them.
LINKED_MAX = 10

_KINDS_HELP = f"Of this kind; may be given again: {', '.join(sorted(KINDS))}."
_RESULTS_HELP = f"What a case ended as, or a job: {', '.join(_RESULTS)}."


@click.command()
@click.argument("guid", shell_complete=guids.complete)
@click.option("--linked", is_flag=True, help="Then tell those of the runs that are linked with it.")
@as_json_option
@pass_run
def show(run: Run, guid: str, linked: bool, as_json: bool) -> None:
    """Tell the story of a run, in order of time.

    \b
    Examples:
      ave show 20261122-nightly-17
      ave show 20261122-nightly-17 --linked
      ave show 20261122-nightly-17 --json | jq 'select(.kind == "shout")'

    With --json, one record per line, as they were made. A run that nothing is known of, or a store that cannot be
    asked, so that the story may lack something: exit code 1.
    """
    with run.stores() as stores:
        count, links = _show(run, stores, guid, as_json=as_json, summed_up=not linked)
        for other in links if linked else ():
            if not as_json:
                sys.stdout.write("\n")
            if not _show(run, stores, other, as_json=as_json)[0]:
                tell(f"nothing is stored of {other}, which is linked with it")
    if not count:
        audit = f"`ave audit {guid}` tells whether something of it waits in the spool"
        raise No(f"nothing is stored of {guid}; {guids.hint(run.home, guid) or audit}")


def _show(
    run: Run, stores: Stores, guid: str, *, as_json: bool, summed_up: bool = False
) -> tuple[int, dict[str, Record]]:
    """Write what there is of a run; return the number of records, and the links to other runs by their GUIDs.

    The answer is no where a store could not be asked.

    Args:
        summed_up: say of linked runs what became of them.
    """
    records = stores.find(Query(guid=guid))
    if as_json:
        course = Course()
        count = write_json(course.seen(records))
        _warn(run, stores)
        return count, course.linked
    screen, teller = Screen(), Story()
    _write_story(screen, guid, teller.tell(story(records)))
    _warn(run, stores)
    if teller.count:
        screen.text("")
        for line in chain(_linked(stores, teller.course) if summed_up else (), teller.end()):
            screen.text(f"{line.label}: {line.text}" if line.label else line.text, line.style)
    return teller.count, teller.course.linked


def _warn(run: Run, stores: Stores) -> None:
    warn(stores)
    if stores.failed:
        run.code = 1


def _write_story(screen: Screen, guid: str, lines: Iterable[Line]) -> None:
    today = ""
    for line in lines:
        if line.time is not None and day(line.time) != today:
            if not today:
                screen.text(f"GUID: {guid}", "bold")
            today = day(line.time)
            screen.text(f"\n{today} ({zone(line.time)})", "dim")
        screen.line(line)


def _linked(stores: Stores, course: Course) -> Iterator[Line]:
    """Say what became of the runs that a run is linked with."""
    for guid, link in islice(course.linked.items(), LINKED_MAX):
        other = Course()
        for event in stores.find(Query(guid=guid, kinds=("event",))):
            other.note(event)
        yield Line(None, "linked", f"{one_line(describe(link).text)}: {other.summary()}")
    if (more := len(course.linked) - LINKED_MAX) > 0:
        yield Line(None, "linked", f"and {more} more; --linked tells of all")


@click.command()
@click.option(
    "--since",
    metavar="TIME",
    callback=moment,
    help="From this time on: 2026-11-22, 2026-11-22T14:30, 45s, 30m, 2h, 7d.",
)
@click.option("--until", metavar="TIME", callback=moment, help="Before this time; written like --since.")
@click.option("--kind", "kinds", type=click.Choice(sorted(KINDS)), metavar="KIND", multiple=True, help=_KINDS_HELP)
@click.option("--guid", help="Of this run.")
@click.option("--host", help="Of this host.")
@click.option("--source", help="Of this speaker: vcsjob, panotti, ...")
@click.option("--job", help="Of runs whose job's path has this in it.")
@click.option("--result", type=click.Choice(_RESULTS), metavar="RESULT", help=_RESULTS_HELP)
@click.option("--text", help="With this somewhere in it, upper and lower case alike.")
@click.option("--limit", type=click.IntRange(1, COUNT_MAX), help="At most so many.")
@click.option("--oldest", is_flag=True, help="The oldest first; else the newest.")
@as_json_option
@pass_run
def find(run: Run, /, as_json: bool, oldest: bool, **conditions: Any) -> None:
    """Find records, the newest first. All conditions must hold.

    \b
    Examples:
      ave find --kind verdict --result failure --since 2h
      ave find --job nightly/radio --result KILLED --since 7d
      ave find --text "no route to host" --limit 20
      ave find --kind gap --json | jq .body.reason

    Times without a zone are local. None found: exit code 1.
    """
    with run.stores() as stores:
        records = stores.find(Query(newest=not oldest, **conditions))
        count = write_json(records) if as_json else _write_list(records, with_guid=not conditions["guid"])
        warn(stores)
    if not count:
        raise No("no record is like that")


@click.command()
@click.argument("guid", required=False, shell_complete=guids.complete)
@click.option(
    "--lines", type=click.IntRange(0, COUNT_MAX), default=10, show_default=True, help="Begin with so many old ones."
)
@as_json_option
@pass_run
def tail(run: Run, guid: str | None, lines: int, as_json: bool) -> None:
    """Write records as they come, until Ctrl-C.

    \b
    Examples:
      ave tail
      ave tail 20261122-nightly-17 --lines 100
      ave tail --lines 0 --json | jq --unbuffered .body
    """
    try:
        with run.stores() as stores:
            for records in _polled(stores, Follower(stores, guid), lines):
                if as_json:
                    write_json(records)
                else:
                    _write_list(records, with_guid=not guid)
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


def _polled(stores: Stores, follower: Follower, lines: int) -> Iterator[list[Record]]:
    """Yield what is new, for ever. A store that is away is waited for, and told of once each time."""
    look: Callable[[], list[Record]] = partial(follower.last, lines)
    told: set[str] = set()
    while True:
        began = time.monotonic()
        try:
            yield look()
            look = follower.new
        except StoreUnavailable:
            pass  # as told below
        for name in stores.failed.keys() - told:
            tell(f"the store {name} does not answer, trying on: {stores.failed[name]}")
        told = set(stores.failed)
        time.sleep(max(POLL_S, time.monotonic() - began))


def _write_list(records: Iterable[Record], *, with_guid: bool) -> int:
    screen, count = Screen(), 0
    for record in records:
        fields = (record.guid or "-", record.host) if with_guid else (record.host,)
        screen.row(describe(record), *fields)
        count += 1
    return count


COMMANDS = (show, find, tail)
