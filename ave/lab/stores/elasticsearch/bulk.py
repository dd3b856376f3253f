"""One bulk request, and what its answer says of every document in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores.elasticsearch.documents import record_of
from ave.lab.stores.elasticsearch.wire import cure, is_passing, reason
from ave.lab.stores.servers import too_narrow

if TYPE_CHECKING:
    from ave.lab.stores.elasticsearch.wire import Answer, Cluster
    from ave.record import Record

__all__ = ["Line", "Outcome", "create"]

#: Refusals that are about the document; every other is about the index, and for a person to mend.
_OF_THE_DOCUMENT = frozenset(("mapper_parsing_exception", "document_parsing_exception"))

#: This may be either: a missing pipeline, or a value that no field takes. The latter is surely so with these words.
_EITHER = "illegal_argument_exception"
_SURELY = "immense term"

#: The server is to give up, and say so, before we do; no part of its answer comes but what is looked at.
_PATH = "/_bulk"
_OPTIONS = "?timeout=20s&filter_path=items.*._id,items.*.status,items.*.error,error"


class Line(NamedTuple):
    """A record, the index it belongs into, and its document."""

    record: Record
    into: str
    text: bytes

    def action(self) -> bytes:
        """Return the two lines of a bulk request."""
        return b'{"create":{"_index":"%b","_id":%b}}\n%b\n' % (
            self.into.encode(),
            msgspec.json.encode(self.record.id),
            self.text,
        )


class Outcome(NamedTuple):
    """What was not stored: documents refused as they are, and why; and those whose id has another content already."""

    refused: list[tuple[Line, str]]
    different: list[Record]


def create(cluster: Cluster, lines: list[Line], *, again: bool = False) -> Outcome:
    """Create documents; those that are there already with the same content are stored, too.

    Args:
        cluster: where.
        lines: what.
        again: whether what is refused is offered once more with less in it. Then a refusal that may be about the
            document, or about the server, is for that second time to tell.

    Raises:
        StoreUnavailable: some may be stored and some are not; offer all of them again.
        ConfigError: the same, but it takes a person to mend it.
    """
    if not lines:
        return Outcome([], [])
    answer = cluster.ask("POST", _PATH + _OPTIONS, b"".join(line.action() for line in lines))
    if answer.status != 200:
        return _halved(cluster, lines, _refusal(cluster, answer, is_alone=len(lines) == 1), again=again)
    refused: list[tuple[Line, str]] = []
    there: list[Line] = []
    obstacle = ""
    for line, status, error in _results(cluster, lines, answer.content):
        if status == 409:
            there.append(line)
        elif status == 400 and _is_of_the_document(error, again=again):
            refused.append((line, reason(error)))
        elif status != 201:
            obstacle = obstacle or _obstacle(cluster, status, error)
    if obstacle:
        raise StoreUnavailable(f"{cluster.place!r}: {obstacle}")
    return Outcome(refused, _different(cluster, there))


def _is_of_the_document(error: dict[str, Any], *, again: bool) -> bool:
    if error.get("type") == _EITHER:
        return again or _SURELY in str(error.get("reason"))
    return error.get("type") in _OF_THE_DOCUMENT


def _refusal(cluster: Cluster, answer: Answer, *, is_alone: bool) -> str:
    """Return why a request was refused for what is in it; ConfigError if the server has not read it, nor ever will."""
    error = answer.content.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    words = f"status {answer.status}{f', {reason(error)}' if error else ''}"
    if answer.status == 413:
        if is_alone and not kind:
            raise ConfigError(too_narrow(repr(cluster.place), words))
        return words
    if answer.status == 400 and kind and kind != _EITHER:
        return words
    raise ConfigError(f"{cluster.place!r} answers {words} to {_PATH}; see what stands before it")


def _halved(cluster: Cluster, lines: list[Line], why: str, *, again: bool) -> Outcome:
    """Send in two parts what was refused as a whole: it is too much at once, or one of them is guilty."""
    if len(lines) == 1:
        return Outcome([(lines[0], why)], [])
    middle = len(lines) // 2
    one, other = (create(cluster, part, again=again) for part in (lines[:middle], lines[middle:]))
    return Outcome(one.refused + other.refused, one.different + other.different)


def _results(cluster: Cluster, lines: list[Line], content: dict[str, Any]) -> list[tuple[Line, Any, dict[str, Any]]]:
    """Return status and error of each document; StoreUnavailable if not every one is answered for."""
    try:
        created = [item["create"] for item in content["items"]]
        found = [(result["_id"], result["status"], _object(result.get("error", {}))) for result in created]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreUnavailable(f"{cluster.place!r} did not say what it did: {reason(content.get('error'))}") from error
    if [id_ for id_, _, _ in found] != [line.record.id for line in lines]:
        raise StoreUnavailable(f"{cluster.place!r} answered for other records than were sent")
    return [(line, status, error) for line, (_, status, error) in zip(lines, found, strict=True)]


def _object(error: Any) -> dict[str, Any]:
    return error if isinstance(error, dict) else {"reason": error}


def _obstacle(cluster: Cluster, status: Any, error: dict[str, Any]) -> str:
    """Return why a document is for later; ConfigError if only a person can mend it."""
    words = f"status {status}, {reason(error)}"
    if status in {400, 401, 403, 404} and not is_passing(words):
        raise ConfigError(f"{cluster.place!r} takes no records: {words}; {cure(words)}")
    return words


def _different(cluster: Cluster, there: list[Line]) -> list[Record]:
    """Compare records with what is there under their ids; return those that differ."""
    if not there:
        return []
    wanted = {"docs": [{"_index": line.into, "_id": line.record.id} for line in there]}
    docs = cluster.ask("POST", "/_mget", wanted).content.get("docs", ())
    sources = [doc.get("_source") for doc in docs]
    if len(sources) != len(there) or None in sources:
        # the node that answers has not got it yet from the one that refused
        raise StoreUnavailable(f"{cluster.place!r} does not show what it says is there")
    return [line.record for line, source in zip(there, sources, strict=True) if record_of(source) != line.record]
