"""`ave audit` and `ave wait`: that nothing of a run is lost, and when all of it is stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ave.exceptions import StoreUnavailable
from ave.lab.audit import audit as ask
from ave.lab.cli import guids
from ave.lab.cli.context import POLL_S, No, Run, as_json_option, pass_run, patience
from ave.lab.cli.course import Course
from ave.lab.cli.output import Progress, Screen, columns, seconds, tell, write_json
from ave.lab.cli.running import not_running
from ave.lab.logd.program import LogdService
from ave.record import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.audit import Audit
    from ave.lab.balance import Row

__all__ = ["COMMANDS"]

#: Seconds after which a difference that stays the same, with nothing waiting any more, is taken for a loss; a job
#: whose process has gone may have told its end last, and that be on its way.
LOST_S = 5.0


@click.command()
@click.argument("guid", shell_complete=guids.complete)
@as_json_option
@pass_run
def audit(run: Run, guid: str, as_json: bool) -> None:
    """Prove that no record of a run is lost.

    For each kind of record and each required store: emitted = stored + dead + refused + waiting.

    \b
    Examples:
      ave audit 20261122-nightly-17
      ave audit 20261122-nightly-17 --json | jq .gaps

    Not balanced, a store is away, or nothing is known of the run: exit code 1, and the gaps say what is missing.
    """
    found = ask(run.home, guid, patience)
    run.code = 0 if found.ok else 1
    if as_json:
        write_json([found.as_dict()])
    elif found.rows:
        _write_audit(found)
    if not found.rows:
        raise No(f"nothing is known of {guid} on this host")


def _write_audit(found: Audit) -> None:
    screen = Screen()
    stores = sorted({store for row in found.rows for store in row.stored})
    # names of several stores beside each other are wider than a terminal
    marks = stores if len(stores) == 1 else [f"({number})" for number in range(1, len(stores) + 1)]
    table: list[list[object]] = [["kind", "emitted", *(f"stored in {mark}" for mark in marks), *_REST]]
    for row in found.rows:
        counts = [row.stored.get(store, "-") for store in stores]
        table.append([row.kind, row.emitted, *("?" if count is None else count for count in counts)])
        table[-1] += [getattr(row, name) for name in _REST]
    for line in columns(table):
        screen.text(line)
    for mark, store in zip(marks, stores, strict=True):
        if mark != store:
            screen.text(f"{mark} {store}")
    for line in _remarks(found.rows):
        screen.text(line)
    for gap in found.gaps:
        screen.text("gap: " + ", ".join(f"{key} {value}" for key, value in gap._asdict().items()), "bold red")
    for line in _differences(found.rows):
        screen.text(line, "bold red")
    for store, why in found.away.items():
        screen.text(f"? {store} is away: {why}", "yellow")
    screen.text(*_judgement(found))


def _judgement(found: Audit) -> tuple[str, str]:
    """Return the last line, and its style."""
    if found.gaps or not all(row.ok for row in found.rows):
        return "NOT BALANCED: records are missing, or more than were emitted", "bold red"
    if found.away:
        return "NOT PROVED: ask again when the stores are back that are away", "bold red"
    if found.waiting:
        return f"balanced so far: {found.waiting} records wait in the spool", "yellow"
    return "balanced: every record is accounted for", "green"


def _remarks(rows: list[Row]) -> Iterator[str]:
    """Say which records a store is not asked for, though it takes their kind, and which no store has."""
    for row in rows:
        for store, count in row.earlier.items():
            yield f"{row.kind}: {count} delivered while ave-logd did not serve {store}"
        for store, count in row.elsewhere.items():
            yield f"{row.kind}: {count} delivered to {store}, which no file names now"
    yield from _dropped(rows)


def _dropped(rows: list[Row]) -> Iterator[str]:
    """Say which records are nowhere, for a reason that makes the books balance."""
    for row in rows:
        if row.dropped:
            yield f"{row.kind}: {row.dropped} dropped: no store took that kind; `ave doctor` tells whether one does now"


def _differences(rows: list[Row]) -> Iterator[str]:
    """Say for which kind a store's count does not fit."""
    for row in rows:
        for store, lack in row.missing.items():
            yield f"{row.kind}: {abs(lack)} {'missing' if lack > 0 else 'too many'} in {store}"


_REST = ("dead", "refused", "waiting")


@click.command()
@click.argument("guid", shell_complete=guids.complete)
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after so long. Default: never."
)
@pass_run
def wait(run: Run, guid: str, timeout: float | None) -> None:
    """Wait until all of a run is stored.

    If it has a job, that must have ended, too.

    \b
    Examples:
      ave wait 20261122-nightly-17 --timeout 60 && ave show 20261122-nightly-17

    A run that nothing is known of yet is waited for. Time-out, a loss, or a job that was abandoned: exit code 1.
    Records that were dropped, for no store took their kind, are told.
    """
    began = looked = time.monotonic()
    state = _State(run, guid)
    is_complete = state.look()
    if not is_complete and (lack := not_running(LogdService(run.home))):
        tell(lack)
    with Progress() as progress:
        while not is_complete:
            if timeout is not None and time.monotonic() - began >= timeout:
                doctor = "" if "`ave doctor`" in state.why else "; `ave doctor` may tell why"
                raise No(f"{guid} is not complete after {seconds(timeout)}: {state.why}{doctor}")
            progress.show(f"{seconds(int(time.monotonic() - began))}: {state.why}")
            # a look at very large books takes its time; half of it is left to others
            time.sleep(max(POLL_S, time.monotonic() - looked))
            looked = time.monotonic()
            is_complete = state.look()
    for line in _dropped(state.rows):
        tell(line)


class _State:
    """What a run lacks, looked at again and again.

    Attributes:
        why: what is not complete, in words.
        rows: the books, as they were at the last look.
    """

    def __init__(self, run: Run, guid: str) -> None:
        self._run = run
        self._guid = guid
        self._last: Audit | None = None
        self._since = time.monotonic()
        self.why = ""
        self.rows: list[Row] = []

    def look(self) -> bool:
        """Tell whether the run is complete; No: it never will be."""
        try:
            found = ask(self._run.home, self._guid)
            self.why = self._lack(found)
        except StoreUnavailable as error:
            self.why = str(error)
            return False
        self.rows = found.rows
        if found != self._last:
            self._last, self._since = found, time.monotonic()
        if self.why in _IN_VAIN and time.monotonic() - self._since > LOST_S:
            raise No(f"{self._guid} {_IN_VAIN[self.why].format(guid=self._guid)}")
        return not self.why

    def _lack(self, found: Audit) -> str:
        if not found.rows:
            return "nothing is known of it yet"
        if found.waiting:
            return f"{found.waiting} of {sum(row.emitted for row in found.rows)} records wait in the spool"
        if found.away:
            return "; ".join(f"{store} is away: {why}" for store, why in found.away.items())
        course = Course()
        with self._run.stores() as stores:
            for event in stores.find(Query(guid=self._guid, kinds=("event",))):
                course.note(event)
        if not course.has_ended():
            return _ABANDONED if course.is_abandoned() else "its job has not ended"
        return "" if found.ok else _LOST


_LOST = "it does not balance"
_ABANDONED = "its job has not ended, but its process is gone"

#: What lasts for ever if it lasts for LOST_S, and how it is told then.
_IN_VAIN = {
    _LOST: "does not balance, records of it are lost; `ave audit {guid}` names them",
    _ABANDONED: "will never be complete, its job was abandoned; `ave show {guid}` has its story",
}

COMMANDS = (audit, wait)
