"""JUnit XML of any dialect, as bytes of any size and cut, into the bodies of `verdict` records.

Nothing is opened, fetched or expanded: a document type declaration of any kind ends the reading. Memory stays
within a few limits below, whatever the input; what a limit cuts off is counted in the body as `left_out`.

How the dialects are read (pytest, GoogleTest, Surefire, ducktape and their like):

* `suite` is `classname`, or else the name of the nearest `testsuite`; `testsuite` the names of those around the
  case, from the outermost on, joined by ` / `. `name` is the whole name, so that no two cases become one;
  `parameters` repeats what is between its brackets, or is GoogleTest's `value_param` or `type_param`.
* `result` is the worst that the elements inside say: failure, error, xpassed, xfailed, skipped. Without any,
  the attributes `status` and `result` count (`notrun`, `suppressed`, `ignore`, `fail`, ...). pytest writes an
  expected failure as skipped with a type, a strict xpass as a failure, and other xpasses as passed.
* One body per attempt. Surefire's `flaky...` come before the case itself and `rerun...` behind it. Elements of
  equal `testsuite`, `suite` and `name` are attempts at one case, adjacent or not. `status="flaky"` stands for one
  failed attempt and the passed one. pytest's error of a teardown behind a failure is told by a body with the
  same `attempt`. The failed attempts of pytest-rerunfailures have no mark in the file: they read as passed.
* `message` is the attribute, or the first line of the text, or the type; `trace` is the text if it says more;
  `type` is the attribute. Several failures in one case are joined. `stdout` and `stderr`, the end of them, are
  kept where the result is failure or error. Colours, which pytest writes where it has a terminal, are left out.
* `duration`: "1,234.5" is 1234.5; what is no number of seconds is left out. `start`: the time stamp as it is
  written. `line`: as the tool counts, pytest from 0. `properties`: text by name, a list where a name comes again;
  attributes without a meaning here are properties, as in older GoogleTest.
"""

from __future__ import annotations

from itertools import chain
from math import inf
from xml.parsers import expat

from ave.exceptions import FormatError
from ave.formats.attempts import Attempts
from ave.formats.junit_case import OUTCOMES, Case, Text, add_more, new, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from ave.formats.junit_case import Outcome

    Body = dict[str, Any]
    Listener = Callable[[str], object] | None

__all__ = ["Parser", "cases", "recognise"]

#: Bytes read, and given to expat, at once.
CHUNK = 64 * 1024

#: Bytes that one tag with its attributes, or one comment, may have. expat holds such a token whole; one of nothing
#: but tiny attributes takes 80 MB.
TOKEN_MAX = 3 << 20

#: Levels of elements, those of cases not counted.
DEPTH_MAX = 64

#: Different names of elements and attributes; expat never forgets one.
NAMES_MAX = 10_000


def recognise(head: bytes) -> bool:
    """Tell whether the beginning of a file may be JUnit XML: whether it is XML at all."""
    text = head.decode("utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8", "replace")
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def cases(file: BinaryIO, name: str = "JUnit XML") -> Iterator[Body]:
    """Return the verdict bodies of the attempts in `file`, in the file's order, each as soon as it is read.

    The iterator raises:
        FormatError: behind the last whole case before the damage. `details` holds `file`, `line` and `column`.
    """
    return chain.from_iterable(_batches(file, Parser(name)))


def _batches(file: BinaryIO, parser: Parser) -> Iterator[list[Body]]:
    while data := file.read(CHUNK):
        yield parser.feed(data)
    while last := parser.close():
        yield last


class Parser:
    """Bytes in by `feed`, verdict bodies out; then `close`.

    Both give what is whole, and raise only when they have nothing to give: FormatError comes with the call after
    the one that returned the last whole cases, and with every later one. Not for several threads at once.

    Args:
        name: how messages call the file.
    """

    def __init__(self, name: str = "JUnit XML") -> None:
        self._name = name
        self._error: FormatError | None = None
        self._closed = False
        self._fed = 0
        self._read: list[Body] = []  # not numbered yet
        self._failures: list[Body] = []  # those of them that are one
        self._done: list[Body] = []
        self._attempts = Attempts()

        self._depth = 0
        self._suites: list[str] = []
        self._blank = new([])  # of the cases of the innermost suite
        self._body: Body | None = None  # the case that is open
        self._case: Case | None = None  # made when something inside it counts
        self._outcome: Outcome | None = None
        self._property: tuple[str, Text] | None = None
        self._listeners: list[Listener] = [None]

        self._xml = xml = expat.ParserCreate()
        xml.buffer_text = True
        xml.buffer_size = CHUNK
        xml.StartElementHandler = self._start
        xml.EndElementHandler = self._end
        xml.StartDoctypeDeclHandler = self._refuse

    def feed(self, data: bytes) -> list[Body]:
        """Take more bytes; return the cases that they complete."""
        for at in range(0, len(data), CHUNK):
            self._parse(data[at : at + CHUNK], False)
        return self._give()

    def close(self) -> list[Body]:
        """Say that there are no more bytes. To be called until it returns nothing: then the file was whole."""
        if not self._closed:
            self._closed = True
            self._parse(b"", True)
            # expat's handlers are our methods: without this cycle all memory goes with the last reference
            self._xml.StartElementHandler = self._xml.EndElementHandler = None
            self._xml.StartDoctypeDeclHandler = self._xml.CharacterDataHandler = None
        return self._give()

    def _give(self) -> list[Body]:
        done, self._done = self._done, []
        if self._error and not done:
            raise self._error
        return done

    def _parse(self, data: bytes, is_last: bool) -> None:
        if self._error:
            return
        self._fed += len(data)
        try:
            self._xml.Parse(data, is_last)
            if self._fed - self._xml.CurrentByteIndex > TOKEN_MAX:
                raise self._damage(f"a tag or comment is longer than {TOKEN_MAX >> 20} MiB")
            if len(self._xml.intern) > NAMES_MAX:
                raise self._damage(f"more than {NAMES_MAX:,} different names of elements and attributes")
        except FormatError as error:
            self._error = error
        except expat.ExpatError as error:
            self._error = self._damage(self._reason(error.code, is_last))
        except (LookupError, ValueError) as error:
            self._error = self._damage(f"its encoding cannot be read: {error}")
        self._attempts.number(self._read, self._failures)
        self._done += self._read
        self._read, self._failures = [], []

    def _reason(self, code: int, is_last: bool) -> str:
        if not self._fed:
            return "it is empty (0 bytes)"
        if is_last and not self._depth:
            return "there is no element in it"
        if is_last:
            return "it ends too early: its writer was stopped or is still writing"
        return expat.ErrorString(code) or f"expat error {code}"

    def _damage(self, reason: str) -> FormatError:
        line, column = self._xml.CurrentLineNumber, self._xml.CurrentColumnNumber + 1
        message = f"{self._name}: line {line}, column {column}: {reason}"
        return FormatError({"message": message, "file": self._name, "line": line, "column": column})

    # expat calls the following

    def _refuse(self, *_: object) -> None:
        raise self._damage("document types and entities are refused: they can read files and fill the memory")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag != "testcase" or self._body is not None or not self._suites:
            self._enter(tag, attributes)
            return
        # Half of the time that a file takes goes by in this function: a copy, look-ups that succeed, and no calls of
        # other functions are the fastest ways. A case is spared the table below, and counted in no depth.
        self._body = body = self._blank.copy()
        body["properties"] = {}
        try:
            suite, name, duration = attributes["classname"], attributes["name"], float(attributes["time"])
            has_more = len(attributes) > 3
        except (KeyError, ValueError):
            suite, name = attributes.get("classname", ""), attributes.get("name", "")
            duration = seconds(attributes.get("time", ""))
            has_more = True
        body["name"] = name
        if suite:
            body["suite"] = suite
        if 0 <= duration < inf:
            body["duration"] = duration
        if "[" in name and name.endswith("]"):
            body["parameters"] = name[name.index("[") + 1 : -1]
        if has_more:
            add_more(body, attributes)
            if body["result"] != "passed":
                self._case = Case()

    def _enter(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._damage(f"elements are nested deeper than {DEPTH_MAX} levels")
        if self._depth == 1 and tag not in {"testsuites", "testsuite"}:
            raise self._damage(f"the root element must be testsuites or testsuite, found {tag[:100]}")
        enter = _ENTER.get(tag)
        if enter:
            enter(self, tag, attributes)

    def _end(self, tag: str) -> None:
        body = self._body
        if tag == "testcase" and body is not None:
            if self._case is None:
                self._read.append(body)
                self._body = None
            else:
                self._end_case(body)
            return
        self._depth -= 1
        leave = _LEAVE.get(tag)
        if leave:
            leave(self)

    def _end_case(self, body: Body) -> None:
        attempts = (self._case or Case()).attempts(body)
        self._read += attempts
        self._failures += [attempt for attempt in attempts if attempt["result"] == "failure"]
        self._body = self._case = self._outcome = self._property = None

    def _enter_case(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin a case inside another, which is over with that; the end that is left over is counted in the depth."""
        if self._body is not None:
            self._end_case(self._body)
            self._start(tag, attributes)

    def _enter_suite(self, tag: str, attributes: dict[str, str]) -> None:
        self._suites.append(attributes.get("name", "") if tag == "testsuite" else "")
        self._blank = new(self._suites)

    def _leave_suite(self) -> None:
        self._suites.pop()
        self._blank = new(self._suites)

    # Elements inside a case. Each one that may hold text has a listener for it, None if nobody wants it.

    def _listen(self, listener: Listener) -> None:
        self._listeners.append(listener)
        self._xml.CharacterDataHandler = listener

    def _unlisten(self) -> None:
        self._listeners.pop()
        self._xml.CharacterDataHandler = self._listeners[-1]

    def _inside(self) -> Case | None:
        if self._case is None and self._body is not None:
            self._case = Case()
        return self._case

    def _enter_outcome(self, tag: str, attributes: dict[str, str]) -> None:
        case = self._inside()
        self._outcome = outcome = case.add_outcome(tag, attributes) if case else None
        self._listen(outcome.text.add if outcome else None)

    def _leave_outcome(self) -> None:
        if self._case and self._outcome and self._outcome.outputs:
            self._case.end_outcome(self._outcome)
        self._outcome = None
        self._unlisten()

    def _enter_stack(self, _tag: str, _attributes: dict[str, str]) -> None:
        """Surefire puts the text of other attempts into an element of its own; around it is nothing but blanks."""
        if self._outcome:
            self._outcome.text.pieces.clear()
            self._listeners[-1] = None
        self._listen(self._outcome.text.add if self._outcome else None)

    def _enter_output(self, tag: str, _attributes: dict[str, str]) -> None:
        speaker = self._outcome or self._inside()
        self._listen(speaker.output(tag).add if speaker else None)

    def _enter_property(self, _tag: str, attributes: dict[str, str]) -> None:
        name, value, case = attributes.get("name"), attributes.get("value"), self._inside()
        self._property = None
        if case and name:
            if value is None:
                self._property = name, Text(case)
            else:
                case.add_property(name, value)
        self._listen(self._property[1].add if self._property else None)

    def _leave_property(self) -> None:
        self._unlisten()
        if self._case and self._property:
            name, text = self._property
            self._case.add_property(name, "".join(text.pieces))
        self._property = None


_ENTER: dict[str, Callable[[Parser, str, dict[str, str]], None]] = {
    "testsuites": Parser._enter_suite,
    "testsuite": Parser._enter_suite,
    "testcase": Parser._enter_case,
    "property": Parser._enter_property,
    "stackTrace": Parser._enter_stack,
    "system-out": Parser._enter_output,
    "system-err": Parser._enter_output,
    **dict.fromkeys(OUTCOMES, Parser._enter_outcome),
}
_LEAVE: dict[str, Callable[[Parser], None]] = {
    "testsuites": Parser._leave_suite,
    "testsuite": Parser._leave_suite,
    "property": Parser._leave_property,
    "stackTrace": Parser._unlisten,
    "system-out": Parser._unlisten,
    "system-err": Parser._unlisten,
    **dict.fromkeys(OUTCOMES, Parser._leave_outcome),
}
