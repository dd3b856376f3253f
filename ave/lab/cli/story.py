"""The story of a run: its records in order of time as text, quiet ones counted, and how it ended below.

Between two things worth a line of their own, verdicts are told as totals with the failures behind them, and log
lines, calls and figures as numbers of them. Memory does not grow with the run, but for the names of its cases.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING

from ave.lab.cli.describe import BAD, GOOD, ODD, counted, describe, duration, outcome
from ave.lab.cli.output import Line, many, one_line, seconds
from ave.lab.cli.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ave.record import Record

__all__ = ["Story"]

#: Kinds of which a story tells only how many there were.
_QUIET = {"trace": "call", "request": "request", "metric": "metric", "measurement": "measurement"}

#: Kinds that the last line counts.
_COUNTED = frozenset(("shout", "exception", "artifact", "measurement", "gap"))

#: Kinds that are what something wrote; in a block only the first and the last few records are told, shortly.
_OUTPUT = frozenset(("stderr", "log"))
OUTPUT_MAX = 5
OUTPUT_WIDTH = 200

#: Verdicts told one by one after which a block ends.
FAILURES_MAX = 100

#: Missing cases that are named.
MISSING_MAX = 20

#: Linked runs that are named.
LINKED_MAX = 5

#: Results of a verdict that are told one by one.
_TOLD = frozenset(("failure", "error", "xpassed", "flaky"))


class Story:
    """What is known of a run after `tell` has seen its records.

    Attributes:
        count: the number of records.
        linked: the GUIDs of the runs it is tied to, in order of time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.linked: dict[str, None] = {}
        self._work: dict[str, Record] = {}
        self._outcomes: Counter[str] = Counter()
        self._totals = Totals()
        self._kinds: Counter[str] = Counter()
        self._starts: list[Record] = []
        self._ends: list[Record] = []
        self._first = self._last = 0

    def seen(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records on as they are, taking notice of them."""
        for record in records:
            self._note(record)
            yield record

    def tell(self, records: Iterable[Record]) -> Iterator[Line]:
        """Yield the lines of the story; `records` are in order of time, long bodies put together."""
        block = _Block(self._totals)
        for record in records:
            self._note(record)
            if "_continues" in record.body:
                continue
            if record.kind == "verdict":
                block.verdict(record, self._totals.add(record.body))
            elif record.kind in _QUIET or record.kind in _OUTPUT:
                block.quiet(record)
            else:
                if block.count:
                    yield from block.lines()
                    block = _Block(self._totals)
                yield self._line(record)
            if block.is_full():
                yield from block.lines()
                block = _Block(self._totals)
        yield from block.lines()

    def end(self) -> Iterator[Line]:
        """Yield what is to be said below: cases that never ran, result, duration and totals."""
        missing = self._totals.missing()
        for name in missing[:MISSING_MAX]:
            yield Line(None, "missing", f"{one_line(name)}: collected, but nothing was heard of it", BAD)
        if len(missing) > MISSING_MAX:
            yield Line(None, "missing", f"and {len(missing) - MISSING_MAX} more", BAD)
        if self.linked:
            first = ", ".join(map(one_line, islice(self.linked, LINKED_MAX)))
            more = f" and {len(self.linked) - LINKED_MAX} more" if len(self.linked) > LINKED_MAX else ""
            yield Line(None, "linked", f"{first}{more}; --linked tells of them, too", "dim")
        for record in self._work.values():
            name = one_line(str(record.body.get("work", "?")))
            yield Line(None, "work", f"{name} {_unended(record)}", ODD)
        word, style = self._result()
        counts = self._totals.counts()
        tests = f"{many(sum(counts.values()), 'test')}: {counted(counts)}" if counts else "no tests"
        others = ", ".join(many(count, kind) for kind, count in self._kinds.items())
        work = f"work: {counted(self._outcomes)}" if self._outcomes else ""
        yield Line(None, "", "; ".join(filter(None, (word, tests, others, work))), style)

    def _note(self, record: Record) -> None:
        self.count += 1
        self._first = self._first or record.time
        self._last = record.time
        if "_continues" in record.body:
            return
        if record.kind in _COUNTED:
            self._kinds[record.kind] += 1
        if record.kind == "event":
            self._event(record)

    def _event(self, record: Record) -> None:
        body = record.body
        match body.get("name"):
            case "job.start":
                self._starts.append(record)
            case "job.end":
                self._ends.append(record)
            case "work.start":
                self._work[str(body.get("span"))] = record
            case "work.end":
                self._work.pop(str(body.get("span")), None)
                self._outcomes[one_line(str(body.get("outcome", "?")))] += 1
            case "link":
                self.linked[str(body.get("other"))] = None
            case "collected":
                self._totals.collect(body)

    def _line(self, record: Record) -> Line:
        line = describe(record)
        if line.label == "start":
            return line._replace(text=f"{line.text}\non {record.host}, pid {record.pid}")
        return line

    def _result(self) -> tuple[str, str]:
        """Say how the run ended, or that it did not."""
        if len(self._starts) > len(self._ends):
            return _unended(self._starts[-1]), ODD
        if not self._ends:
            return f"no job, {seconds((self._last - self._first) / 1e9)} from the first record to the last", ""
        words = Counter(outcome(end.body) for end in self._ends)
        word = next(iter(words)) if len(self._ends) == 1 else f"{len(self._ends)} jobs: {counted(words)}"
        took = duration(self._ends[0].body) if len(self._ends) == 1 else None
        if took is None and self._starts:
            took = (self._ends[-1].time - self._starts[0].time) / 1e9
        return word if took is None else f"{word} in {seconds(took)}", GOOD if set(words) == {"OK"} else BAD


class _Block:
    """What happened between two lines that stand for themselves."""

    def __init__(self, totals: Totals) -> None:
        self.count = 0
        self._began: int | None = None
        self._totals = totals
        self._before = totals.results.copy()
        self._told: list[Line] = []
        self._output: list[Record] = []
        self._newest: deque[Record] = deque()
        self._quiet: dict[str, list[int]] = {}

    def is_full(self) -> bool:
        return len(self._told) >= FAILURES_MAX

    def verdict(self, record: Record, result: str) -> None:
        self.count += 1
        self._began = self._began or record.time
        if result in _TOLD:
            line = describe(record)
            self._told.append(line._replace(label="flaky", style=ODD) if result == "flaky" else line)

    def quiet(self, record: Record) -> None:
        self.count += 1
        if record.kind not in _OUTPUT:
            self._leave_out(record)
        elif len(self._output) < OUTPUT_MAX:
            self._output.append(record)
        else:
            self._newest.append(record)
            if len(self._newest) > OUTPUT_MAX:
                self._leave_out(self._newest.popleft())

    def _leave_out(self, record: Record) -> None:
        self._quiet.setdefault(record.kind, [record.time, 0])[1] += 1

    def lines(self) -> Iterator[Line]:
        """Yield what there is, in order of time."""
        lines = []
        results = self._totals.results - self._before
        if results.total() > len(self._told) or len(self._told) > 1:
            lines.append(Line(self._began, "verdicts", counted(results)))
        lines += self._told
        for record in (*self._output, *self._newest):
            line = describe(record)
            lines.append(line._replace(text=one_line(line.text, OUTPUT_WIDTH)))
        for kind, (begin, count) in self._quiet.items():
            lines.append(Line(begin, kind, many(count, _QUIET.get(kind, "more line")), "dim"))
        yield from sorted(lines, key=lambda line: line.time or 0)


def _unended(start: Record) -> str:
    """Say what is known of what has no end: if it was on this host, whether the process that did it is still there."""
    age = max(0.0, (time.time_ns() - start.time) / 1e9)
    began = f"started {seconds(age)} ago by process {start.pid} on {start.host}"
    if start.host != os.uname().nodename:
        return f"not ended, {began}"
    return f"still running, {began}" if _lives(start.pid, age) else f"abandoned, {began}, which is gone"


def _lives(pid: int, age_s: float) -> bool:
    """Tell whether a process is there that is at least so old: numbers of processes are used again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # proc(5), from the third field on
    except OSError:
        return False
    own_age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] not in "ZX" and own_age_s > age_s - 1  # a zombie is dead, though nobody has noticed
