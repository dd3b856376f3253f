"""What a scheduler does for a run besides executing its job: preparatory work, and links to other runs.

All of it is told in `event` and `log` records under the run's GUID. Whoever prepares a job is never hindered by that:
a spool that takes nothing is told once on stderr, and the work goes on.
"""

from __future__ import annotations

import os
import time

from ave import context, spool
from ave.exceptions import UsageError, described
from ave.record import GUID_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any

__all__ = ["Work", "link", "new_guid", "work"]

#: What the records say they come from.
SOURCE = "scheduler"

#: What was told on stderr already.
_told: set[str] = set()


def new_guid(name: str = "") -> str:
    """Return a GUID that nobody else has: `20261122-070147-5c1f3ad09b7e4466` in UTC, behind `name-` if given."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{name}{'-' if name else ''}{stamp}-{os.urandom(8).hex()}"


def work(guid: str | None, name: str, /, *, home: str | None = None, **dimensions: Any) -> Work:
    """Do something on behalf of a run: enter the returned object, and its start, end and outcome are recorded.

    In the block the run is the current one: what is shouted with `shout(None, ...)` and every call of a
    `RemoteControl` belong to it. A thread that is started there is not in the block: give it the `guid`. A program
    joins in by `Work.environment`. An exception that leaves the block makes the outcome `failed`, is recorded, and
    goes on.

    Args:
        guid: the run; None for the one whose call is being served, whose work this is a part of, or that this process
            works for. Without any, and with fewer than ten characters, the work is done but not recorded.
        name: what is done: `flash`, `install`.
        home: as for `ave.home.find`.
        dimensions: what it is done to and with; values may be anything, as in a shout.

    Raises:
        UsageError: `guid` or `name` is not text.

    Example:
        >>> with work(guid, "flash", handset="yuga", build=1234) as flash:
        ...     done = subprocess.run(command, env=flash.environment(), stdout=PIPE, stderr=STDOUT)
        ...     flash.log(done.stdout)
        ...     done.check_returncode()
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"the name of work must be a text, found {name!r}")
    return Work(_run(guid), name, dimensions, home)


def link(guid: str | None, other: str, relation: str, *, home: str | None = None) -> None:
    """Tie two runs together, so that the story of either names the other; best before the job starts.

    For work that was done before a job's GUID was known, or that serves several jobs: do it under a GUID of its own.

    Args:
        guid: the run that says it; None as for `work`.
        other: the run it is tied to.
        relation: reads well between the two: `flashed by`, `repeats`.
        home: as for `ave.home.find`.

    Raises:
        UsageError: one of them is not text, or both runs are the same.

    Example:
        >>> flash = new_guid("flash")
        >>> with work(flash, "flash", handset="yuga"):
        ...     ...
        >>> link(guid, flash, "flashed by")
    """
    for value in (other, relation):
        if not isinstance(value, str) or not value:
            raise UsageError(f"a link needs the GUID of another run and a relation to it, found {value!r}")
    this, other = _run(guid), _run(other)
    if not this or not other:
        return
    if this == other:
        raise UsageError(f"a run cannot be linked to itself: {this}")
    # under each of them, so that no store has to be searched for the way back
    body = {"name": "link", "other": other, "relation": relation}
    _keep("event", this, [body], home)
    _keep("event", other, [{**body, "other": this, "inverse": True}], home)


class Work:
    """Work that `work` began or is about to begin; a context manager, to be entered once.

    Attributes:
        guid: the run; empty if there is none, and then nothing is recorded.
        name: what is done.
        span: 16 hexadecimal digits, the same in all records of this work; the `parent` of work that is a part of it.
        dimensions: may be added to while it goes on; the end has what was added.
        outcome: `ok` unless an exception leaves the block, then `failed`. Any other word may be set.
    """

    def __init__(self, guid: str, name: str, dimensions: dict[str, Any], home: str | None) -> None:
        self.guid = guid
        self.name = name
        self.span = context.new_span()
        self.dimensions = dimensions
        self.outcome = "ok"
        self._home = home
        self._pid = 0

    def __enter__(self) -> Work:
        if self._pid:
            raise UsageError(f"the work {self.name!r} has begun before; call work() again")
        self._pid = os.getpid()
        trace, self._parent = _surroundings()
        self._trace = trace or context.new_trace()
        self._token = context.enter(context.Call(self.guid, self._trace, self.span))
        self._record("work.start")
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            context.leave(self._token)
        except ValueError:
            pass  # another task than the one that entered: its own context is over, or soon will be
        if os.getpid() != self._pid:
            return  # the child of a fork leaves the block, too, but the work goes on
        facts: dict[str, Any] = {"duration": round(time.monotonic() - self._began, 6)}
        if error is not None:
            self.outcome = "failed"
            facts["exception"] = described(error)
        self._record("work.end", outcome=self.outcome, **facts)

    def log(self, text: str | bytes | None) -> None:
        """Keep what the work has to say, a record per line; bytes are UTF-8. Safe in threads and in forked children."""
        if text and self.guid:
            _keep("log", self.guid, self._lines(text), self._home)

    def environment(self) -> dict[str, str]:
        """Return this process's environment for a program that does a part of the work, and speaks for the same run.

        There `vcsjob.get_guid()` is the run, every `RemoteControl` carries it, and `work(None, ...)` is a part of
        this work.

        Raises:
            UsageError: the work has not begun.
        """
        if not self._pid:
            raise UsageError(f"the work {self.name!r} has not begun; enter it first")
        environment = {**os.environ, "TRACEPARENT": f"00-{self._trace}-{self.span}-01"}
        environment.pop("VCSJOB_GUID", None)
        if self.guid:
            # the variable is UTF-8 whatever the locale says
            environment["VCSJOB_GUID"] = os.fsdecode(self.guid.encode())
        if self._home:
            environment["AVE_HOME"] = os.path.abspath(self._home)
        return environment

    def _lines(self, text: str | bytes) -> Iterator[dict[str, Any]]:
        text = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)
        for line in text.removesuffix("\n").split("\n"):
            yield {"stream": self.name, "text": line.removesuffix("\r"), "span": self.span}

    def _record(self, event: str, **facts: Any) -> None:
        if not self.guid:
            return
        body = {"name": event, "work": self.name, "span": self.span, **facts}
        if self._parent:
            body["parent"] = self._parent
        if self.dimensions:
            body["dimensions"] = self.dimensions
        _keep("event", self.guid, [body], self._home)


def _surroundings() -> tuple[str, str]:
    """Return the trace and the span in which new work begins; empty where there are none."""
    call = context.current()
    if call is not None and call.span:
        return call.trace, call.span
    return context.parse_traceparent(os.environ.get("TRACEPARENT"))


def _run(guid: str | None) -> str:
    """Return the run that is meant, empty if there is none to keep records of; UsageError if it is not text."""
    if guid is None:
        guid = context.current_guid() or _job_guid()
    if not isinstance(guid, str):
        raise UsageError(f"a GUID is a text of at least {GUID_MIN} characters, found {guid!r}")
    if guid and len(guid) < GUID_MIN:
        _tell(f"nothing is kept of the run {guid!r}: its GUID has fewer than {GUID_MIN} characters")
        return ""
    return guid


def _job_guid() -> str:
    from vcsjob.variables import get_guid  # noqa: PLC0415 - a scheduler may execute its jobs by other means

    try:
        return get_guid()
    except UsageError:
        return ""


def _keep(kind: str, guid: str, bodies: Iterable[dict[str, Any]], home: str | None) -> None:
    try:
        spool.append_all(kind, guid, bodies, source=SOURCE, home=home)
    except Exception as error:  # noqa: BLE001 - the border to the work: nothing here may keep it from being done
        _tell(f"not kept: {error}")


def _tell(text: str) -> None:
    """Say on stderr, once, what is not recorded."""
    line = f"ave.scheduler: {' '.join(text.split())}\n"
    if line not in _told:
        _told.add(line)
        try:
            os.write(2, line.encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # stderr is closed or full: there is nobody left to tell
