"""What every store promises, whatever it keeps records in, and what a query means for all of them.

Nothing here opens anything. The contract suite in `tests/lab/stores` holds every store to this page.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec

from ave.exceptions import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ave.record import Query, Record

__all__ = [
    "DIFFERENT",
    "FEW",
    "UNSTORABLE",
    "Rejected",
    "Store",
    "contains",
    "is_start_of",
    "matches",
    "order",
    "prepared",
    "put_all",
    "results",
    "unopened",
]

log = logging.getLogger(__name__)

#: The reason when an id comes back with another content: an alarm, for ids are never used twice.
DIFFERENT = "different content under the same id"

#: If a store fails at more than so many records, all there are, it is not the records.
FEW = 10

#: What Python and msgspec raise for a value that no row and no document can hold.
UNSTORABLE = (OverflowError, RecursionError, TypeError, ValueError)

#: What is about no record, however few there are.
_NEVER_A_RECORD = (ImportError, MemoryError)


class Rejected(msgspec.Struct, frozen=True):
    """A record that can never be stored as it is, and why, in words for a person."""

    record: Record
    reason: str


class Store(ABC):
    """A place records end up. Each user opens one of its own and uses it from one thread at a time.

    Attributes:
        kinds: what it takes; the shipper offers nothing else.
        batch_bytes: bytes of the spool that make a good batch, if they are not too many records.
        answers: whether it can be asked for what it has; if not, `find` and `count` are UsageErrors.
    """

    kinds: frozenset[str]
    batch_bytes: int = 256 * 1024
    answers: bool = True

    @abstractmethod
    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store every record of `batch`; when this returns they survive a power cut.

        Idempotent by `record.id`: after a crash the same batch comes again, and a record that is
        already there with the same content counts as stored.

        Args:
            batch: one or more records in any order, their bodies JSON.

        Returns:
            The records that can never be stored, each with its reason; *every other one is stored*.

        Raises:
            StoreUnavailable: the batch may be fine; offer the same one again later, `retry_after_s` in its details
                being how much later the server asks for, if it does.
            ConfigError: the same, but it takes a person to mend it (wrong password, newer schema).
        """

    def prepare(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Do what `put` can do beforehand, and return the same records in what it then finds that done.

        Called from another thread than the rest, perhaps while the store is closed: uses no connection, changes nothing
        in the store. `put` takes whatever comes, prepared or not, any number of times.
        """
        return batch

    @abstractmethod
    def find(self, query: Query) -> Iterator[Record]:
        """Give the records for which the whole query holds, in the order of `order`, reversed if `query.newest`.

        Records stored while this runs may or may not be among them; none comes twice. Memory does not
        grow with the answer, and an answer left half read blocks nobody.

        Raises:
            StoreUnavailable, ConfigError: as `put`; at the first record or any later one.
            UsageError: no record can have such a value.
        """

    @abstractmethod
    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count the stored records of one run by kind, asked of the store itself; kinds without any are left out.

        Args:
            guid: the run; empty for records about hosts.
            hosts: only records of these hosts; empty for all.

        Raises:
            StoreUnavailable, ConfigError, UsageError: as `find`.
        """

    def probe(self) -> None:
        """Return if the store can be reached and lets us in, as far as that can be told without storing anything.

        Raises:
            StoreUnavailable, ConfigError: as `find`.
        """
        self.count("")

    @abstractmethod
    def close(self) -> None:
        """Release files and sockets. Safe to call twice."""


def prepared(store: Store, batch: Sequence[Record]) -> Sequence[Record]:
    """Prepare a batch, if there is one; what fails at it fails in `put_all` again, where the guilty record is found."""
    try:
        return store.prepare(batch) if batch else batch
    except Exception:
        log.debug("a batch cannot be prepared", exc_info=True)
        return batch


def put_all(store: Store, batch: Sequence[Record]) -> list[Rejected]:
    """Put a batch; one that fails as a whole for a reason nobody foresaw is halved until the guilty records are found.

    A store that fails so at more than a `FEW` records, and takes none of the others, fails for another reason than the
    records: that is a StoreUnavailable, its details `unforeseen`, and nothing is set aside.

    Returns and raises what `Store.put` does.
    """
    failed: list[tuple[Record, Exception]] = []
    rejected = _put_halves(store, batch, failed)
    if len(failed) > FEW and len(failed) + len(rejected) == len(batch):
        raise _unforeseen(failed[0][1]) from failed[0][1]
    for record, error in failed:
        log.error("a store failed at %s", record.id, exc_info=error, extra={"action": "store_error"})
    return rejected + [Rejected(record, f"{type(error).__name__}: {error}") for record, error in failed]


def _put_halves(store: Store, batch: Sequence[Record], failed: list[tuple[Record, Exception]]) -> list[Rejected]:
    """Put a batch as one, or else by halves; note the records that fail alone, for a reason nobody foresaw."""
    try:
        return store.put(batch)
    except (StoreUnavailable, ConfigError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - told by `put_all`
        failure = error
    if len(batch) > 1:
        middle = len(batch) // 2
        return _put_halves(store, batch[:middle], failed) + _put_halves(store, batch[middle:], failed)
    if isinstance(failure, _NEVER_A_RECORD):
        raise _unforeseen(failure) from failure
    failed.append((batch[0], failure))
    return []


def _unforeseen(error: Exception) -> StoreUnavailable:
    told = f"{type(error).__name__}: {error}; that is about no single record, so none is set aside"
    return StoreUnavailable({"message": told, "unforeseen": True})


def unopened(place: str, error: Exception) -> ConfigError:
    """Return what to raise when a store cannot be opened and nobody foresaw why, for that is about no record."""
    return ConfigError(f"{place} cannot be opened: {type(error).__name__}: {error}")


def order(record: Record) -> tuple[int, int, str]:
    """Return the sort key of records in all answers: time, then id, the counter in it as a number.

    Segment names are all of one length, so the shorter of two ids of a segment has the smaller counter.
    """
    return record.time, len(record.id), record.id


def matches(query: Query, record: Record) -> bool:
    """Tell whether every condition of `query` holds for `record`, but `job`, which one record cannot tell."""
    return (
        (query.guid is None or record.guid == query.guid)
        and (not query.kinds or record.kind in query.kinds)
        and (query.since is None or record.time >= query.since)
        and (query.until is None or record.time < query.until)
        and (query.host is None or record.host == query.host)
        and (query.source is None or record.source == query.source)
        and (query.result is None or _has_result(record, query.result))
        and (query.text is None or contains(record.body, query.text))
    )


def is_start_of(record: Record, job: str) -> bool:
    """Tell whether `record` is the start of a run whose executable's path has `job` in it."""
    return record.kind == "event" and record.body.get("name") == "job.start" and job in str(record.body.get("exe", ""))


def contains(value: Any, text: str) -> bool:
    """Tell whether `text` is found in a key, string or number anywhere in `value`, upper and lower case alike."""
    if isinstance(value, dict):
        return any(contains(key, text) or contains(item, text) for key, item in value.items())
    if isinstance(value, list):
        return any(contains(item, text) for item in value)
    return text.lower() in (value if isinstance(value, str) else msgspec.json.encode(value).decode()).lower()


def results(wanted: str) -> tuple[str, str]:
    """Return what `result` in a body may be for `Query.result`: a job's end has `vcsjob.FAILURES` for `FAILURES`."""
    return wanted, f"vcsjob.{wanted}"


def _has_result(record: Record, wanted: str) -> bool:
    return record.kind in {"verdict", "event"} and record.body.get("result") in results(wanted)
