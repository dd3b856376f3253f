"""The course of a run: which jobs and which work began, which of them ended and how, and which are left."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from ave.lab.cli.describe import BAD, GOOD, ODD, counted, duration, outcome
from ave.lab.cli.output import Line, many, one_line, seconds
from ave.lab.processes import start_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ave.record import Record

__all__ = ["Course"]

#: Levels of work that is a part of other work.
DEPTH_MAX = 8

ABANDONED = "abandoned"


class Course:
    """What the events of a run say of it, noted in order of time.

    Attributes:
        linked: GUID of a run that this one is tied to -> the link.
    """

    def __init__(self) -> None:
        self.linked: dict[str, Record] = {}
        self._began: list[Record] = []
        self._ended: list[Record] = []
        self._left: list[Record] = []
        self._work: dict[str, Record] = {}
        self._first_done = ""
        self._outcomes: Counter[str] = Counter()

    def seen(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records on as they are, taking notice of the events among them."""
        for record in records:
            if record.kind == "event":
                self.note(record)
            yield record

    def note(self, record: Record) -> None:
        """Take notice of an event."""
        match record.body.get("name"):
            case "job.start":
                self._began.append(record)
                self._left.append(record)
            case "job.end":
                self._ended.append(record)
                self._close(record)
            case "work.start":
                self._work[_span(record)] = record
            case "work.end":
                self._work.pop(_span(record), None)
                self._first_done = self._first_done or _done(record)
                self._outcomes[_name(record, "outcome")] += 1
            case "link":
                self.linked.setdefault(str(record.body.get("other")), record)

    def _close(self, end: Record) -> None:
        """Find the job that ends: the newest of its process that is left."""
        for start in reversed(self._left):
            if (start.host, start.pid) == (end.host, end.pid):
                self._left.remove(start)
                return

    def depth(self, record: Record) -> int:
        """Tell of how much other work that goes on the work of this event is a part."""
        depth, parent = 0, record.body.get("parent")
        while depth < DEPTH_MAX and (around := self._work.get(str(parent))) is not None:
            depth, parent = depth + 1, around.body.get("parent")
        return depth

    def jobs(self) -> tuple[str, str]:
        """Say how the jobs of the run ended, or that they did not; empty if there was none. And in which style."""
        words = Counter(outcome(end.body) for end in self._ended)
        if not words and len(self._left) == 1:
            return ", ".join(_left(self._left[0])), ODD
        words.update(_left(start)[0] for start in self._left)
        if not words:
            return "", ""
        word = next(iter(words)) if words.total() == 1 else f"{many(words.total(), 'job')}: {counted(words)}"
        style = ODD if self._left else GOOD if set(words) == {"OK"} else BAD
        took = self._took()
        return word if took is None else f"{word} in {seconds(took)}", style

    def has_ended(self) -> bool:
        """Tell whether no job is left that began."""
        return not self._left

    def is_abandoned(self) -> bool:
        """Tell whether jobs are left, and the processes of all of them are gone."""
        return bool(self._left) and all(_left(start)[0] == ABANDONED for start in self._left)

    def _took(self) -> float | None:
        """Return the seconds from the first start to the last end."""
        if self._left or not self._ended:
            return None
        took = duration(self._ended[0].body) if len(self._ended) == 1 else None
        if took is None and self._began:
            took = (self._ended[-1].time - self._began[0].time) / 1e9
        return took

    def work(self) -> str:
        """Say how the work for the run ended; empty if there was none."""
        if self._outcomes.total() == 1 and not self._work:
            return f"work: {self._first_done}"
        words = self._outcomes.copy()
        words.update(_left(start)[0] for start in self._work.values())
        return f"work: {counted(words)}" if words else ""

    def summary(self) -> str:
        """Say in a few words what became of the run."""
        return "; ".join(filter(None, (self.jobs()[0], self.work()))) or "no job yet"

    def left(self) -> Iterator[Line]:
        """Say of each job, if there are several, and of all work what has no end."""
        if len(self._began) > 1:
            for start in self._left:
                yield Line(None, "job", f"{_name(start, 'exe')} {', '.join(_left(start))}", ODD)
        for start in self._work.values():
            yield Line(None, "work", f"{_name(start, 'work')} {', '.join(_left(start))}", ODD)


def _done(end: Record) -> str:
    took = duration(end.body)
    return f"{_name(end, 'work')} {_name(end, 'outcome')}" + ("" if took is None else f" after {seconds(took)}")


def _name(record: Record, key: str) -> str:
    return one_line(str(record.body.get(key, "?")))


def _span(record: Record) -> str:
    return str(record.body.get("span"))


def _left(start: Record) -> tuple[str, str]:
    """Say of what has no end whether it is still going on, and what is known of it: of other hosts that is little."""
    age = max(0.0, (time.time_ns() - start.time) / 1e9)
    began = f"started {seconds(age)} ago by process {start.pid} on {start.host}"
    if start.host != os.uname().nodename:
        return "not ended", began
    return ("still running", began) if _lives(start.pid, age) else (ABANDONED, f"{began}, which is gone")


def _lives(pid: int, age_s: float) -> bool:
    """Tell whether a process is there that is at least so old: numbers of processes are used again."""
    try:
        ticks = start_of(pid)
    except PermissionError:
        return True  # it is there, and another user's, of which this host tells nothing (hidepid, proc(5))
    if ticks is None:
        return False
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK") > age_s - 1
