"""One case of JUnit XML, which becomes one body per attempt; `ave.formats.junit` says by which rules.

Bounded: of what the elements inside a case hold, so much is kept, and what is not is counted.
"""

from __future__ import annotations

import re
from collections import deque
from math import inf, nan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]

__all__ = ["OUTCOMES", "Case", "Outcome", "Text", "begin", "new"]

#: Characters kept of the texts and properties of one case together.
CASE_MAX = 1 << 20

#: What a piece of text, a property or an attempt counts beyond its characters.
PIECE = 64

#: Characters kept of each output of one attempt: the last ones, which are next to the failure.
OUTPUT_MAX = 64 * 1024

#: How bad a result is; what is not here is passed or flaky.
SEVERITY = {"failure": 5, "error": 4, "xpassed": 3, "xfailed": 2, "skipped": 1}
FAILED = frozenset(("failure", "error"))

BEFORE, OWN, AFTER = range(3)

#: element -> result, and which attempt it is about: the case's own, or one before or after it.
OUTCOMES = {
    "failure": ("failure", OWN),
    "error": ("error", OWN),
    "skipped": ("skipped", OWN),
    "flakyFailure": ("failure", BEFORE),
    "flakyError": ("error", BEFORE),
    "rerunFailure": ("failure", AFTER),
    "rerunError": ("error", AFTER),
}

#: element -> key
OUTPUTS = {"system-out": "stdout", "system-err": "stderr"}

#: Words of the attributes `status` and `result`; any other means passed.
WORDS = {
    **dict.fromkeys(("notrun", "suppressed", "disabled", "skip", "skipped", "ignore", "ignored"), "skipped"),
    **dict.fromkeys(("fail", "failed", "failure"), "failure"),
    "error": "error",
    "flaky": "flaky",
}

#: GoogleTest's time stamp of a case that did not run.
NEVER = "1970-01-01T00:00:00"

#: pytest's message for what it calls skipped and means to be an xpass.
XPASS = "xfail-marked test passes unexpectedly"

#: What is known of the failed attempt before a case whose status is flaky.
FLAKY = "an earlier attempt failed; the report says no more of it"

#: What the attempts at one case have in common.
IDENTITY = ("suite", "testsuite", "name", "parameters", "file", "line", "origin")

_GROUPED = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")


def seconds(text: str) -> float:
    """Return a duration of at least 0, also from "1,234.5"; NaN for anything else."""
    try:
        value = float(text)
    except ValueError:
        # any other comma may be a decimal point: "0,123"
        value = float(text.replace(",", "")) if _GROUPED.fullmatch(text) else nan
    return value if 0 <= value < inf else nan


def new(suites: list[str]) -> Body:
    """Return what `begin` copies for the cases of a suite; `suites`: the names of it and those around it, or ""."""
    named = [name for name in suites if name]
    body: Body = {"suite": named[-1] if named else "", "testsuite": " / ".join(named), "name": ""}
    return body | {"result": "passed", "attempt": 1, "properties": {}, "origin": "junit"}


def begin(attributes: dict[str, str], blank: Body) -> Body:
    """Begin the body of a case, a copy of `blank`, with what its attributes say; the result may be `flaky`."""
    # much of the time that a file takes goes by here: a copy, and look-ups that succeed, are the fastest ways
    body = blank.copy()
    body["properties"] = {}
    try:
        suite, name, duration = attributes["classname"], attributes["name"], float(attributes["time"])
        has_more = len(attributes) > 3
    except (KeyError, ValueError):
        has_more = True
        suite, name = attributes.get("classname", ""), attributes.get("name", "")
        duration = seconds(attributes.get("time", ""))
    body["name"] = name
    if suite:
        body["suite"] = suite
    if 0 <= duration < inf:
        body["duration"] = duration
    if "[" in name and name.endswith("]"):
        body["parameters"] = name[name.index("[") + 1 : -1]
    if has_more:
        _add_more(body, attributes)
    return body


def _add_more(body: Body, attributes: dict[str, str]) -> None:
    """Add the attributes that only some dialects have."""
    for key, value in attributes.items():
        if key == "file":
            body["file"] = value
        elif key == "line":
            if value.isdecimal() and len(value) < 10:
                body["line"] = int(value)
        elif key == "timestamp":
            if value and not value.startswith(NEVER):
                body["start"] = value
        elif key in {"value_param", "type_param"}:
            body["parameters"] = value
        elif key in {"status", "result"}:
            body["result"] = WORDS.get(value.lower(), body["result"])
        elif value and key not in {"classname", "name", "time"}:
            body["properties"][key] = value


class Tail:
    """The last OUTPUT_MAX characters of a text; `length` is that of the whole."""

    __slots__ = ("_kept", "_pieces", "length")

    def __init__(self) -> None:
        self.length = 0
        self._kept = 0
        self._pieces: deque[str] = deque()

    def add(self, piece: str) -> None:
        """Go on with the text."""
        self._pieces.append(piece)
        self.length += len(piece)
        self._kept += len(piece)
        while self._kept - len(self._pieces[0]) >= OUTPUT_MAX:
            self._kept -= len(self._pieces.popleft())

    def whole(self) -> str:
        """Return what was kept."""
        return "".join(self._pieces)[-OUTPUT_MAX:]


class Outputs(dict[str, Tail]):
    """The outputs of an attempt by their elements; each may come in several."""

    __slots__ = ()

    def __missing__(self, tag: str) -> Tail:
        tail = self[tag] = Tail()
        return tail


class Text:
    """The text of an element, as far as its case has room."""

    __slots__ = ("case", "pieces")

    def __init__(self, case: Case) -> None:
        self.case = case
        self.pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Go on with the text."""
        piece = self.case.take(piece)
        if piece:
            self.pieces.append(piece)


class Outcome(Text):
    """One element of OUTCOMES; the text is the trace."""

    __slots__ = ("attributes", "kind", "message", "outputs", "result")

    def __init__(self, case: Case, result: str, message: str, kind: str, attributes: dict[str, str]) -> None:
        self.case = case
        self.pieces = []
        self.result = result
        self.message = message
        self.kind = kind
        self.attributes = attributes
        self.outputs = Outputs()


class Case:
    """What the elements inside a case say."""

    __slots__ = ("_left_out", "_outcomes", "_properties", "_room", "_worst", "outputs")

    def __init__(self) -> None:
        self.outputs = Outputs()
        self._room = CASE_MAX
        self._left_out = 0
        self._worst = ""
        self._outcomes: tuple[list[Outcome], list[Outcome], list[Outcome]] = ([], [], [])
        self._properties: list[tuple[str, str]] = []

    def take(self, text: str) -> str:
        """Return what of `text` there is still room for."""
        length, room = len(text), self._room
        self._room = room - length - PIECE
        if length <= room:
            return text
        text = text[: max(room, 0)]
        self._left_out += length - len(text)
        return text

    def add_property(self, name: str, value: str) -> None:
        """Add a property."""
        if self._room > 0:
            self._properties.append((self.take(name), self.take(value)))
        else:
            self._left_out += len(name) + len(value)

    def add_outcome(self, tag: str, attributes: dict[str, str]) -> Outcome | None:
        """Add what an element of OUTCOMES says; None if there is no room for its text."""
        result, place = OUTCOMES[tag]
        message, kind = attributes.get("message", ""), attributes.get("type", "")
        if result == "skipped":
            result = "xfailed" if kind == "pytest.xfail" else "xpassed" if message == XPASS else "skipped"
        if place == OWN and (not self._worst or SEVERITY[result] > SEVERITY[self._worst]):
            self._worst = result
        if self._room <= 0:
            self._left_out += len(message)
            return None
        outcome = Outcome(self, result, self.take(message), self.take(kind), attributes)
        self._outcomes[place].append(outcome)
        return outcome

    def attempts(self, body: Body) -> list[Body]:
        """Complete a body of `begin`; return it among those of the other attempts, in their order."""
        before, own, after = self._outcomes
        if self._worst:
            body["result"] = self._worst
        elif body["result"] == "flaky":
            body["result"] = "passed"
            before.append(Outcome(self, "failure", FLAKY, "", {}))
        if own:
            alike = FAILED if self._worst in FAILED else (self._worst,)
            _tell(body, [outcome for outcome in own if outcome.result in alike])
        if body["result"] in FAILED:
            self._add_outputs(body, self.outputs)
        if self._properties:
            self._add_properties(body["properties"])
        bodies = [body]
        if before or after:
            bodies = [self._attempt(body, one) for one in before] + bodies + [self._attempt(body, one) for one in after]
        if self._left_out:
            body["left_out"] = self._left_out
        return bodies

    def _attempt(self, case: Body, outcome: Outcome) -> Body:
        body = {key: case[key] for key in IDENTITY if key in case}
        body |= {"result": outcome.result, "attempt": 1, "properties": {}}
        duration, start = seconds(outcome.attributes.get("time", "")), outcome.attributes.get("timestamp")
        if duration >= 0:
            body["duration"] = duration
        if start:
            body["start"] = start
        _tell(body, [outcome])
        self._add_outputs(body, outcome.outputs)
        return body

    def _add_properties(self, properties: dict[str, Any]) -> None:
        for name, value in self._properties:
            if name not in properties:
                properties[name] = value
            elif isinstance(properties[name], list):
                properties[name].append(value)
            else:
                properties[name] = [properties[name], value]

    def _add_outputs(self, body: Body, outputs: Outputs) -> None:
        for tag, tail in outputs.items():
            text = tail.whole()
            if text.strip():
                body[OUTPUTS[tag]] = text
                self._left_out += tail.length - len(text)


def _tell(body: Body, outcomes: list[Outcome]) -> None:
    """Put into a body what outcomes say; several are joined."""
    messages, traces, kinds = [], [], []
    for outcome in outcomes:
        trace = "".join(outcome.pieces)
        told = trace.strip()
        message = outcome.message or told.partition("\n")[0].strip() or outcome.kind
        if message:
            messages.append(message)
        if told and told != message.strip():
            traces.append(trace)
        if outcome.kind and outcome.kind not in kinds:
            kinds.append(outcome.kind)
    if messages:
        body["message"] = "\n".join(messages)
    if traces:
        body["trace"] = "\n\n".join(traces)
    if kinds:
        body["type"] = ", ".join(kinds)
