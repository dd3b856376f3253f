"""`ave spool status`, `cat`, `letters` and `retry`: what waits on this host, and what a store refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ave import home as homes
from ave.lab.cli.contents import look, records
from ave.lab.cli.context import Group, No, Run, as_json_option, pass_run
from ave.lab.cli.describe import describe
from ave.lab.cli.letters import complete, dead_letters
from ave.lab.cli.letters import retry as offer
from ave.lab.cli.output import Screen, columns, many, seconds, shortened, size, tell, write_json
from ave.spool import reader

if TYPE_CHECKING:
    from ave.lab.cli.contents import Contents

__all__ = ["COMMANDS"]

_NO_LETTERS = "there are no dead letters"


@click.group(cls=Group)
def spool() -> None:
    """Look into the spool of this host.

    \b
    Examples:
      ave spool status
      ave spool cat 20261122-nightly-17
      ave spool letters
      ave spool retry
    """


@spool.command()
@as_json_option
@pass_run
def status(run: Run, as_json: bool) -> None:
    """Tell what waits, for which store, how long.

    \b
    Examples:
      ave spool status
      ave spool status --json | jq '.stores[] | {store, lag_s}'
    """
    found = look(run.home)
    if as_json:
        write_json([found.as_dict()])
    else:
        _write_status(found)


def _write_status(found: Contents) -> None:
    screen = Screen()
    lags = [way.lag_s for way in found.stores if way.lag_s is not None]
    screen.text(f"spool {found.spool}")
    screen.text(f"{many(found.segments, 'segment')}, {size(found.bytes)} of {size(found.quota_bytes)} allowed")
    screen.text(f"oldest record that waits: {f'{seconds(max(lags))} old' if lags else 'none'}")
    if found.newer:
        screen.text(f"{many(len(found.newer), 'segment')} of a newer version wait for an upgrade", "yellow")
    if found.damaged_files:
        screen.text(
            f"damaged: {many(found.damaged_files, 'piece')}, {size(found.damaged_bytes)}, in damaged/", "yellow"
        )
    table: list[list[object]] = [["store", "waits", "segments", "for", "dead"]]
    for way in found.stores:
        lag = "-" if way.lag_s is None else seconds(way.lag_s)
        table.append([shortened(way.store), size(way.waiting_bytes), way.waiting_segments, lag, way.dead])
    for line in columns(table):
        screen.text(line)
    for way in found.stores:
        for why, count in way.rejects.items():
            screen.text(f"{way.store} rejected {count}: {why}", "yellow")


@spool.command()
@click.argument("which", metavar="[SEGMENT|GUID]", required=False)
@pass_run
def cat(run: Run, which: str | None) -> None:
    """Write records in the spool as JSON lines.

    All of them, those of a segment, or those of a run.

    \b
    Examples:
      ave spool cat | jq .kind | sort | uniq -c
      ave spool cat 20261122-nightly-17

    None found for a segment or run: exit code 1.
    """
    directory = homes.ave(run.home, "spool")
    if which in reader.list_segments(directory):
        found = records(directory, which)
    else:
        found = (record for record in records(directory) if which in {None, record.guid})
    count = write_json(found)
    if which and not count:
        raise No(f"nothing of {which} is in the spool; `ave show {which}` tells what is stored")


@spool.command()
@click.argument("store", required=False, shell_complete=complete)
@as_json_option
@pass_run
def letters(run: Run, store: str | None, as_json: bool) -> None:
    """Show dead letters: what a store can never store, and why.

    Those of one store, or all.

    \b
    Examples:
      ave spool letters
      ave spool letters embedded
      ave spool letters --json | jq -r '[.store, .reason, .record.guid] | @tsv'

    With --json, an object a letter: store, reason, and the whole record.
    """
    found = dead_letters(run.home, store)
    if as_json:
        write_json(
            {"store": name, "reason": letter.reason, "record": letter.record.as_dict()} for name, letter in found
        )
        return
    screen, is_some = Screen(), False
    for name, letter in found:
        is_some = True
        screen.row(describe(letter.record), letter.record.guid or "-", letter.record.host)
        screen.text(f"  {name}: {letter.record.id}: {letter.reason}", "yellow")
    if not is_some:
        screen.text(_NO_LETTERS)


@spool.command()
@click.argument("store", required=False, shell_complete=complete)
@pass_run
def retry(run: Run, store: str | None) -> None:
    """Offer dead letters to their stores again.

    Those of one store, or all. What is refused again stays a dead letter.

    \b
    Examples:
      ave spool retry
      ave spool retry embedded

    Refused again, or not to be offered now: exit code 1.
    """
    screen, count = Screen(), 0
    for tried in offer(run.home, store):
        count += 1
        screen.text(f"{tried.store}: {tried.delivered} delivered, {tried.refused} refused")
        for letter in tried.some:
            screen.text(f"  {letter.record.id}: {letter.reason}", "yellow")
        if tried.refused > len(tried.some):
            screen.text(f"  and {tried.refused - len(tried.some)} more", "yellow")
        if tried.why_not:
            tell(f"{tried.store}: {tried.why_not}")
        if tried.refused or tried.why_not:
            run.code = 1
    if not count:
        screen.text(_NO_LETTERS)


COMMANDS = (spool,)
