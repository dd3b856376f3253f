"""One record in words: what `ave show`, `find` and `tail` write for each kind.

Bodies come from jobs, so nothing in them has to be there or to have the type it should.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ave.context import parse_traceparent
from ave.exceptions import UsageError
from ave.lab.cli.output import Line, seconds, size
from vcsjob import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ave.record import Record

__all__ = ["BAD", "GOOD", "ODD", "counted", "describe", "duration", "label_of", "outcome"]

#: Lines of a message or trace that are written; `--json` has all of them.
LINES_MAX = 40

#: Characters of one value, and of one line of it, that are written.
VALUE_MAX = 16 * 1024
LINE_MAX = 1000

#: Characters up to which the values of a shout share a line.
TOGETHER_MAX = 100

#: Seconds beyond which a duration is nonsense.
DURATION_MAX = 1e10

GOOD, BAD, ODD = "green", "bold red", "yellow"

#: Label, text and style of a line.
_Words = tuple[str, str, str]

_STYLES = {"passed": GOOD, "failure": BAD, "error": BAD, "skipped": "dim", "xfailed": "dim", "xpassed": ODD}


def describe(record: Record) -> Line:
    """Say what a record is about."""
    body = record.body
    if "_continues" in body:
        return Line(record.time, label_of(record.kind), f"(goes on from record {body['_continues']})", "dim")
    words = _DESCRIBED.get(record.kind)
    label, text, style = words(body) if words else (record.kind, _values(body), "")
    return Line(record.time, label, "\n".join(_short(line, LINE_MAX) for line in text.split("\n")), style)


def label_of(kind: str) -> str:
    """Return a kind as a label, of which none is wider than the column of labels."""
    return "measured" if kind == "measurement" else kind


def outcome(body: dict[str, Any]) -> str:
    """Return the result of a `job.end` in a word: `FAILURES`, `KILLED by signal 9`, `exit status 42`."""
    status = body.get("status")
    try:
        word = codes.exit_to_str(status) if type(status) is int else _text(body.get("result", status))
    except UsageError:
        word = f"exit status {status}"
    word = word.removeprefix("vcsjob.")
    return f"{word} by signal {body['signal']}" if "signal" in body else word


def duration(body: dict[str, Any]) -> float | None:
    """Return the seconds something took, if its body says so."""
    value = body.get("duration")
    return float(value) if isinstance(value, int | float) and 0 <= value < DURATION_MAX else None


def counted(counts: dict[str, Any]) -> str:
    """Return counts as text: `8 passed, 2 failure`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


# The kinds


def _verdict(body: dict[str, Any]) -> _Words:
    result = _text(body.get("result", "?"))
    took, attempt = duration(body), body.get("attempt", 1)
    text = _case(body)
    if attempt != 1:
        text += f", attempt {_text(attempt)}"
    if took is not None:
        text += f" ({seconds(took)})"
    if result in {"failure", "error", "xpassed", "xfailed", "skipped"}:
        message, trace = _text(body.get("message", "")).strip("\n"), _text(body.get("trace", "")).strip("\n")
        for part in (message, trace if message not in trace or not message else ""):
            text += f"\n{_cut(part)}" if part else ""
    return result, text, _STYLES.get(result, "")


def _case(body: dict[str, Any]) -> str:
    """Return the name of a verdict's case, its suite before it."""
    name = _text(body.get("name", "?"))
    parameters = body.get("parameters")
    if parameters and _text(parameters) not in name:
        name += f"[{_text(parameters)}]"
    suite = body.get("suite")
    return f"{_text(suite)} :: {name}" if suite else name


def _event(body: dict[str, Any]) -> _Words:
    words = _EVENTS.get(str(body.get("name")))
    if words:
        return words(body)
    rest = {key: value for key, value in body.items() if key != "name"}
    return "event", f"{_text(body.get('name', '?'))} {_values(rest)}".rstrip(), ""


def _job_start(body: dict[str, Any]) -> _Words:
    lines = [_text(body.get("exe", "?"))]
    lines += [f"{name}: {_text(body[name])}" for name in ("log", "profiles") if body.get(name)]
    if isinstance(body.get("ci"), dict):
        lines += _build(body["ci"])
    if trace := parse_traceparent(body.get("traceparent"))[0]:
        lines.append(f"trace: {trace}")
    return "start", "\n".join(lines), "bold"


def _build(ci: dict[str, Any]) -> Iterator[str]:
    """Say which build of a CI system started something, by the names that `vcsjob.ci` gives its facts."""
    facts = {name: _text(value) for name, value in ci.items()}
    number = facts.get("number") or facts.get("cicd.pipeline.run.id")
    names = (facts.get("cicd.pipeline.name"), facts.get("cicd.pipeline.task.name"), number and f"number {number}")
    yield f"build: {facts.get('system', '?')}, {', '.join(filter(None, names))}".rstrip(", ")
    url = facts.get("cicd.pipeline.task.run.url.full") or facts.get("cicd.pipeline.run.url.full")
    if url:
        yield f"  {url}"
    commit, branch = facts.get("vcs.ref.head.revision"), facts.get("vcs.ref.head.name")
    if commit or branch:
        yield "  " + " ".join(filter(None, (commit and f"commit {commit}", branch and f"on {branch}")))


def _job_end(body: dict[str, Any]) -> _Words:
    took, word = duration(body), outcome(body)
    text = word if took is None else f"{word} after {seconds(took)}"
    if body.get("reason"):
        text += f"\n{_cut(_text(body['reason']))}"
    return "end", text, GOOD if word == "OK" else BAD


def _log_lost(body: dict[str, Any]) -> _Words:
    count = body.get("bytes")
    much = size(count) if isinstance(count, int | float) else "some"
    return "lost", f"{much} of the log {_text(body.get('log', '?'))}: {_text(body.get('reason', '?'))}", ODD


def _work_start(body: dict[str, Any]) -> _Words:
    return "work", f"{_text(body.get('work', '?'))} begins{_dimensions(body)}", "bold"


def _work_end(body: dict[str, Any]) -> _Words:
    word, took = _text(body.get("outcome", "?")), duration(body)
    after = "" if took is None else f" after {seconds(took)}"
    text = f"{_text(body.get('work', '?'))} {word}{after}{_dimensions(body)}"
    if body.get("exception"):
        text += f"\n{_error(body['exception'])}"
    return "work", text, {"ok": GOOD, "failed": BAD}.get(word, ODD)


def _dimensions(body: dict[str, Any]) -> str:
    values = body.get("dimensions")
    return f" ({_values(values)})" if values and isinstance(values, dict) else ""


def _link(body: dict[str, Any]) -> _Words:
    relation, other = _text(body.get("relation", "?")), _text(body.get("other", "?"))
    return "link", f"{other} {relation} this run" if body.get("inverse") else f"{relation} {other}", "bold"


def _collected(body: dict[str, Any]) -> _Words:
    cases = body.get("cases")
    return "event", f"{len(cases)} cases collected" if isinstance(cases, list) else "collected", ""


def _shout(body: dict[str, Any]) -> _Words:
    rest = {key: value for key, value in body.items() if key not in {"title", "_marks"}}
    values = _values(rest)
    if "title" not in body:
        return "shout", values, "cyan"
    return "shout", f"{_text(body['title'])}\n{values}".rstrip("\n"), "cyan"


def _exception(body: dict[str, Any]) -> _Words:
    rest = {key: value for key, value in body.items() if key not in {"exception", "_marks"}}
    return "exception", f"{_error(body.get('exception'))}\n{_values(rest)}".rstrip("\n"), BAD


def _error(details: Any) -> str:
    if not isinstance(details, dict):
        return _cut(_text(details))
    text = _cut(f"{_text(details.get('type', 'Exception'))}: {_text(details.get('message', ''))}")
    rest = {key: value for key, value in details.items() if key not in {"type", "message", "trace"}}
    return "\n".join(filter(None, (text, _trace(details.get("trace")), _values(rest))))


def _trace(trace: Any) -> str:
    if not isinstance(trace, list):
        return _cut(_text(trace)) if trace else ""
    return _cut("\n".join(map(_frame, trace)))


def _frame(frame: Any) -> str:
    if not isinstance(frame, list) or len(frame) < 3:
        return _text(frame)
    file, line, function = map(_text, frame[:3])
    source = _text(frame[3]).strip() if len(frame) > 3 and frame[3] else ""
    return f"  {file}:{line} in {function}" + (f"\n    {source}" if source else "")


def _artifact(body: dict[str, Any]) -> _Words:
    facts = [_text(body["type"])] if body.get("type") else []
    if isinstance(body.get("size"), int | float):
        facts.append(size(body["size"]))
    if body.get("op", "put") != "put":
        facts.append(_text(body["op"]))
    text = _text(body.get("key") or body.get("path") or "?")
    return "artifact", f"{text} ({', '.join(facts)})" if facts else text, ""


def _gap(body: dict[str, Any]) -> _Words:
    kinds = body.get("kinds")
    which = f" ({counted(kinds)})" if isinstance(kinds, dict) and kinds else ""
    count, reason, segment, first, last = (
        _text(body.get(key, "?")) for key in ("count", "reason", "segment", "first", "last")
    )
    return "gap", f"{count} not kept{which}: {reason}; {segment}, {first} to {last}", ODD


def _stderr(body: dict[str, Any]) -> _Words:
    before = f"({_text(body['left_out'])} lines left out) " if body.get("left_out") else ""
    return "stderr", before + _cut(_text(body.get("text", "")).rstrip("\n")), "dim"


def _log(body: dict[str, Any]) -> _Words:
    return "log", *_stderr(body)[1:]


def _call(body: dict[str, Any]) -> _Words:
    result = _text(body.get("outcome", "ok"))
    took = duration(body)
    text = f"{_text(body.get('method', '?'))} on {_text(body.get('peer', '?'))}: {result}"
    return "trace", text if took is None else f"{text} ({seconds(took)})", "" if result == "ok" else ODD


def _measurement(body: dict[str, Any]) -> _Words:
    row = body.get("row")
    figures = _values(row) if isinstance(row, dict) else _text(row)
    return label_of("measurement"), f"{_text(body.get('table', '?'))}: {figures}", ""


_EVENTS: dict[str, Callable[[dict[str, Any]], _Words]] = {
    "job.start": _job_start,
    "job.end": _job_end,
    "log.lost": _log_lost,
    "work.start": _work_start,
    "work.end": _work_end,
    "link": _link,
    "collected": _collected,
}

_DESCRIBED: dict[str, Callable[[dict[str, Any]], _Words]] = {
    "verdict": _verdict,
    "event": _event,
    "shout": _shout,
    "exception": _exception,
    "artifact": _artifact,
    "gap": _gap,
    "stderr": _stderr,
    "log": _log,
    "trace": _call,
    "measurement": _measurement,
}


# Parts


def _text(value: Any) -> str:
    """Return a value as text of a sane length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _short(text, VALUE_MAX)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} characters more)"


def _values(values: dict[str, Any]) -> str:
    """Return the values of a body: on one line if they are few and short, else each on its own."""
    parts = [f"{key}: {_text(value)}" for key, value in values.items() if key != "_marks"]
    together = ", ".join(parts)
    return together if len(together) <= TOGETHER_MAX and "\n" not in together else _cut("\n".join(parts))


def _cut(text: str) -> str:
    """Return the begin and the end of a text of very many lines."""
    lines = text.split("\n")
    if len(lines) <= LINES_MAX:
        return text
    half = LINES_MAX // 2
    return "\n".join([*lines[:half], f"… {len(lines) - 2 * half} lines more, all with --json …", *lines[-half:]])
