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

__all__ = ["OUTCOMES", "Case", "Outcome", "Text", "add_more", "new", "seconds"]

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

#: A colour, or another wish to a terminal, as pytest writes it where XML has no such character.
_COLOUR = re.compile(r"#x1B\[[0-9;]*[A-Za-z]")

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
    """Return what the bodies of a suite's cases are copies of; `suites`: the names of it and those around it, or ""."""
    named = [name for name in suites if name]
    body: Body = {"suite": named[-1] if named else "", "testsuite": " / ".join(named), "name": ""}
    return body | {"result": "passed", "attempt": 1, "properties": {}, "origin": "junit"}


def add_more(body: Body, attributes: dict[str, str]) -> None:
    """Add to a body the attributes that only some dialects have; the result may be `flaky` then."""
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


class Speaker:
    """What may have outputs: by their elements, of which each may come in several."""

    __slots__ = ("outputs",)

    outputs: dict[str, Tail]

    def output(self, tag: str) -> Tail:
        """Return what takes the next piece of an output."""
        tail = self.outputs.get(tag)
        if tail is None:
            tail = self.outputs[tag] = Tail()
        return tail


class Outcome(Speaker):
    """One element of OUTCOMES; the text of it is the trace."""

    __slots__ = ("duration", "kind", "message", "place", "result", "start", "text")

    def __init__(self, result: str, place: int, message: str, kind: str, text: Text) -> None:
        self.result = result
        self.place = place
        self.message = message
        self.kind = kind
        self.text = text
        self.duration = nan
        self.start = ""
        self.outputs = {}


class Case(Speaker):
    """What the elements inside a case say."""

    __slots__ = ("_has_others", "_left_out", "_outcomes", "_properties", "_room", "_worst")

    def __init__(self) -> None:
        self.outputs = {}
        self._room = CASE_MAX
        self._left_out = 0
        self._worst = ""
        self._outcomes: list[Outcome] = []
        self._has_others = False
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
        if place != OWN:
            self._has_others = True
        elif not self._worst or SEVERITY[result] > SEVERITY[self._worst]:
            self._worst = result
        if self._room <= 0:
            self._left_out += len(message)
            return None
        outcome = Outcome(result, place, message and self.take(message), kind and self.take(kind), Text(self))
        if place != OWN:
            outcome.duration, outcome.start = seconds(attributes.get("time", "")), attributes.get("timestamp", "")
        self._outcomes.append(outcome)
        return outcome

    def end_outcome(self, outcome: Outcome) -> None:
        """Count the outputs of another attempt, now that they grow no more, as texts of the case."""
        self._room -= sum(min(tail.length, OUTPUT_MAX) for tail in outcome.outputs.values())

    def attempts(self, body: Body) -> list[Body]:
        """Complete the body of the case; return it among those of the other attempts, in their order."""
        if self._worst:
            body["result"] = self._worst
        elif body["result"] == "flaky":
            body["result"] = "passed"
            self._outcomes.append(Outcome("failure", BEFORE, FLAKY, "", Text(self)))
            self._has_others = True
        outcomes, result = self._outcomes, body["result"]
        if len(outcomes) > 1 or self._has_others:
            alike = FAILED if result in FAILED else (result,)
            outcomes = [outcome for outcome in outcomes if outcome.place == OWN and outcome.result in alike]
        if outcomes:
            _tell(body, outcomes)
        if self.outputs and result in FAILED:
            self._add_outputs(body, self.outputs)
        if self._properties:
            self._add_properties(body["properties"])
        bodies = self._among_others(body) if self._has_others else [body]
        if self._left_out:
            body["left_out"] = self._left_out
        return bodies

    def _among_others(self, body: Body) -> list[Body]:
        before, _, after = ([one for one in self._outcomes if one.place == place] for place in (BEFORE, OWN, AFTER))
        return [*(self._attempt(body, one) for one in before), body, *(self._attempt(body, one) for one in after)]

    def _attempt(self, case: Body, outcome: Outcome) -> Body:
        body = {key: case[key] for key in IDENTITY if key in case}
        body |= {"result": outcome.result, "attempt": 1, "properties": {}}
        if outcome.duration >= 0:
            body["duration"] = outcome.duration
        if outcome.start:
            body["start"] = outcome.start
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

    def _add_outputs(self, body: Body, outputs: dict[str, Tail]) -> None:
        for tag, tail in outputs.items():
            text = _colourless(tail.whole())
            if text.strip():
                body[OUTPUTS[tag]] = text
                self._left_out += max(0, tail.length - OUTPUT_MAX)


def _tell(body: Body, outcomes: list[Outcome]) -> None:
    """Put into a body what outcomes say; several are joined."""
    messages, traces, kinds = [], [], []
    for outcome in outcomes:
        trace = _colourless("".join(outcome.text.pieces))
        told = trace.strip()
        message = _colourless(outcome.message) or told.partition("\n")[0].strip() or outcome.kind
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


def _colourless(text: str) -> str:
    return _COLOUR.sub("", text) if "#x1B[" in text else text
