"""The story of a run: its records in order of time as text, quiet ones counted, and how it ended below.

Between two things worth a line of their own, verdicts are told as totals with the failures behind them, and log
lines, calls and figures as numbers of them. Memory does not grow with the run, but for the names of its cases.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from ave.lab.cli.course import Course
from ave.lab.cli.describe import BAD, ODD, counted, describe, label_of
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

#: Results of a verdict that are told one by one.
_TOLD = frozenset(("failure", "error", "xpassed", "flaky"))


class Story:
    """What is known of a run after `tell` has seen its records.

    Attributes:
        count: the number of records.
        course: which jobs and work there were, and links to other runs.
    """

    def __init__(self) -> None:
        self.count = 0
        self.course = Course()
        self._totals = Totals()
        self._kinds: Counter[str] = Counter()
        self._first = self._last = 0

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
        yield from self.course.left()
        result, style = self._result()
        counts = self._totals.counts()
        tests = f"{many(sum(counts.values()), 'test')}: {counted(counts)}" if counts else "no tests"
        others = ", ".join(many(count, kind) for kind, count in self._kinds.items())
        yield Line(None, "", "; ".join(filter(None, (result, tests, others, self.course.work()))), style)

    def _result(self) -> tuple[str, str]:
        word, style = self.course.jobs()
        if word:
            return word, style
        return f"no job, {seconds((self._last - self._first) / 1e9)} from the first record to the last", ""

    def _note(self, record: Record) -> None:
        self.count += 1
        self._first = self._first or record.time
        self._last = record.time
        if "_continues" in record.body:
            return
        if record.kind in _COUNTED:
            self._kinds[record.kind] += 1
        if record.kind == "event":
            self.course.note(record)
            if record.body.get("name") == "collected":
                self._totals.collect(record.body)

    def _line(self, record: Record) -> Line:
        line = describe(record)
        if line.label == "start":
            return line._replace(text=f"{line.text}\non {record.host}, pid {record.pid}")
        if depth := self.course.depth(record) if line.label == "work" else 0:
            indent = "  " * depth
            return line._replace(text=indent + line.text.replace("\n", f"\n{indent}"))
        return line


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
            lines.append(Line(begin, label_of(kind), many(count, _QUIET.get(kind, "more line")), "dim"))
        yield from sorted(lines, key=lambda line: line.time or 0)
