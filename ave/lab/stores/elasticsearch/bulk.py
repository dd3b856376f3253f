"""One bulk request, and what its answer says of every document in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores.elasticsearch.documents import record_of
from ave.lab.stores.elasticsearch.wire import reason

if TYPE_CHECKING:
    from ave.lab.stores.elasticsearch.wire import Cluster
    from ave.record import Record

__all__ = ["Line", "Outcome", "create"]

#: Refusals that are about the document; every other is about the index, and for a person to mend.
_OF_THE_DOCUMENT = frozenset(("mapper_parsing_exception", "document_parsing_exception", "illegal_argument_exception"))

#: The server is to give up, and say so, before we do; no part of its answer comes but what is looked at.
_PATH = "/_bulk?timeout=20s&filter_path=items.*._id,items.*.status,items.*.error,error"


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


def create(cluster: Cluster, lines: list[Line]) -> Outcome:
    """Create documents; those that are there already with the same content are stored, too.

    Raises:
        StoreUnavailable: some may be stored and some are not; offer all of them again.
        ConfigError: the same, but it takes a person to mend it.
    """
    if not lines:
        return Outcome([], [])
    answer = cluster.ask("POST", _PATH, b"".join(line.action() for line in lines))
    if answer.status != 200:
        return _halved(cluster, lines, f"status {answer.status}, {reason(answer.content.get('error', 'too large'))}")
    refused: list[tuple[Line, str]] = []
    there: list[Line] = []
    obstacle = ""
    for line, status, error in _results(cluster, lines, answer.content):
        if status == 409:
            there.append(line)
        elif status == 400 and error.get("type") in _OF_THE_DOCUMENT:
            refused.append((line, reason(error)))
        elif status != 201:
            obstacle = obstacle or _obstacle(cluster, status, error)
    if obstacle:
        raise StoreUnavailable(f"{cluster.place!r}: {obstacle}")
    return Outcome(refused, _different(cluster, there))


def _halved(cluster: Cluster, lines: list[Line], why: str) -> Outcome:
    """Send in two parts what was refused as a whole: it is too much at once, or one of them is guilty."""
    if len(lines) == 1:
        return Outcome([(lines[0], why)], [])
    middle = len(lines) // 2
    one, other = create(cluster, lines[:middle]), create(cluster, lines[middle:])
    return Outcome(one.refused + other.refused, one.different + other.different)


def _results(cluster: Cluster, lines: list[Line], content: dict[str, Any]) -> list[tuple[Line, Any, dict[str, Any]]]:
    """Return status and error of each document; StoreUnavailable if not every one is answered for."""
    try:
        created = [item["create"] for item in content["items"]]
        found = [(result["_id"], result["status"], result.get("error", {})) for result in created]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreUnavailable(f"{cluster.place!r} did not say what it did: {reason(content.get('error'))}") from error
    if [id_ for id_, _, _ in found] != [line.record.id for line in lines]:
        raise StoreUnavailable(f"{cluster.place!r} answered for other records than were sent")
    return [(line, status, error) for line, (_, status, error) in zip(lines, found, strict=True)]


def _obstacle(cluster: Cluster, status: Any, error: dict[str, Any]) -> str:
    """Return why a document is for later; ConfigError if only a person can mend it."""
    words = f"status {status}, {reason(error)}"
    # an index is blocked by its server when the disk is full, and freed again
    if status in {400, 401, 403, 404} and error.get("type") != "cluster_block_exception":
        raise ConfigError(f"{cluster.place!r} takes no records: {words}; see its indices and our rights")
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
