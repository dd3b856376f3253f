"""The books: how many records of which run and kind every segment held, and which of its numbers are missing.

Each segment is gone through exactly once. Where that stands is in the same file and the same transaction as the
counts, so no crash counts a record twice or not at all. A record is counted under the segment and the number in
its id: a line that damage doubled or moved, or that the writer put into a second segment, counts once.

What is in a segment is for the stores that take its kind now. When the segment goes, it is noted which they were: a
store that is named later is not asked for what went before.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import msgspec

from ave.exceptions import ConfigError
from ave.lab.logd import wire
from ave.lab.logd.account import Account
from ave.lab.logd.telling import Footer, Header, refusals, said
from ave.record import segment_of, seq_of
from ave.spool.frames import FOOTER, HEADER, Damage, Line, kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ave.lab.logd.watch import Seen

__all__ = ["Count", "Gap", "Ledger"]

#: What a segment can be in the books; from DELETED on it is not there any more.
OPEN, READ, DELETED, LOST = range(4)

#: Stands for the file of a segment that has become another one while it could still grow.
ANOTHER = -1

#: Seconds to wait for another process that keeps the file locked: nobody does for long, and a stop must not wait.
BUSY_S = 1.0

#: Days for which the books of deleted segments are kept, and how many of the newest are kept whatever the clock says:
#: one that is wrong for a while must not cost the proofs of the last weeks.
KEPT_DAYS = 90
KEPT_SEGMENTS = 20_000

#: The schema, step by step; PRAGMA user_version says how many steps a file has behind it.
MIGRATIONS = (
    """
    CREATE TABLE segments (
        name TEXT PRIMARY KEY, offset INTEGER NOT NULL DEFAULT 0, top INTEGER NOT NULL DEFAULT 0,
        state INTEGER NOT NULL DEFAULT 0, host TEXT NOT NULL DEFAULT '', damage INTEGER NOT NULL DEFAULT 0,
        torn INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX segments_state ON segments (state, changed);
    CREATE TABLE counts (
        guid TEXT NOT NULL, kind TEXT NOT NULL, segment TEXT NOT NULL,
        written INTEGER NOT NULL, refused INTEGER NOT NULL, unrouted INTEGER NOT NULL,
        PRIMARY KEY (guid, kind, segment)
    ) WITHOUT ROWID;
    CREATE INDEX counts_segment ON counts (segment);
    CREATE TABLE gaps (
        segment TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (segment, first)
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE segments ADD COLUMN file INTEGER NOT NULL DEFAULT 0;",
    # routing 0: nobody noted it. counts.unrouted was entered with a record until here, and holds for such segments only
    """
    CREATE TABLE routings (id INTEGER PRIMARY KEY, takers TEXT NOT NULL UNIQUE);
    ALTER TABLE segments ADD COLUMN routing INTEGER NOT NULL DEFAULT 0;
    """,
)


class _Position(NamedTuple):
    """How far a segment is read, what it is, and in which file that was read; 0: nobody knows."""

    offset: int = 0
    state: int = OPEN
    file: int = 0


class Count(NamedTuple):
    """The books of one kind of one run.

    Attributes:
        kind: of all that is counted here.
        written, refused: every emitted record is one or the other.
        unrouted: written, and no store takes the kind, or none did when the segment went.
        due: name of a store -> how many of the written have to be there, or a dead letter, or on their way.
        unknown: written, neither unrouted nor due: they went before it was noted which stores there were.
    """

    kind: str
    written: int = 0
    refused: int = 0
    unrouted: int = 0
    due: Mapping[str, int] = MappingProxyType({})
    unknown: int = 0


class Gap(NamedTuple):
    """Numbers `first` to `last` of a segment whose records are not there; `reason`: `damaged` or `lost`."""

    segment: str
    first: int
    last: int
    reason: str


class Ledger:
    """ledger.db. One thread writes; anybody may read.

    Attributes:
        takers: the kinds that some store takes now, each with the names of the required ones; None: not known.

    Raises (any method): sqlite3.Error; what was not committed is undone by `rollback`.
    """

    def __init__(self, path: str, takers: Mapping[str, Sequence[str]] | None = None) -> None:
        self.takers = takers
        # what was read since the last commit: where reading goes on, the counts, the numbers
        self._taken: dict[str, _Position] = {}
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._accounts: dict[str, Account] = {}
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        if path != ":memory:":
            os.chmod(path, 0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
        self._migrate()
        self._positions = self._load()

    @classmethod
    def copy_of(cls, path: str, takers: Mapping[str, Sequence[str]]) -> Ledger:
        """Return a copy in memory, so that the rest of a spool can be gone through without writing anything."""
        ledger = cls(":memory:", takers)
        if os.path.exists(path):
            with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as source:
                source.backup(ledger._db)
            ledger._migrate()
            ledger._positions = ledger._load()
        return ledger

    def _migrate(self) -> None:
        (done,) = self._db.execute("PRAGMA user_version").fetchone()
        if done > len(MIGRATIONS):
            raise ConfigError(
                f"ledger.db has schema {done}, this ave-logd knows {len(MIGRATIONS)}: upgrade ave-logging"
            )
        for step, statements in enumerate(MIGRATIONS[done:], done + 1):
            self._db.executescript(f"BEGIN; {statements} PRAGMA user_version = {step}; COMMIT;")

    def _load(self) -> dict[str, _Position]:
        rows = self._db.execute("SELECT name, offset, state, file FROM segments WHERE state != ?", (DELETED,))
        return {name: _Position(*position) for name, *position in rows}

    # Going through a segment

    def offset(self, segment: str) -> int:
        """Return where reading goes on in a segment."""
        return self._position(segment).offset

    def _position(self, segment: str) -> _Position:
        return self._taken.get(segment) or self._positions.get(segment) or _Position()

    @property
    def in_batch(self) -> bool:
        """Whether something was taken since the last commit."""
        return self._db.in_transaction

    @property
    def dropped(self) -> dict[str, str]:
        """The kinds of what was taken since the last commit that no store takes now, each with a run it is of."""
        if self.takers is None:
            return {}
        return {kind: guid for (guid, kind, _), counts in self._counts.items() if counts[0] and kind not in self.takers}

    def take(self, segment: str, items: list[Line | Damage], *, final: bool, file: int = 0) -> list[Damage]:
        """Enter what was read of a segment; `final`: it was all. Returns what is damage and no torn end.

        `file`, if known, says in which file it was read: what was read in another one before is still said to be there.

        Nothing is kept before `commit`.
        """
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        damage, host, torn = [], "", 0
        for item in items:
            if isinstance(item, Damage):
                torn += item.torn
                damage += [] if item.torn else [item]
            elif (kind := kind_of(item.payload)) == HEADER:
                header = said(item.payload, Header)
                host = header.host if header else ""
            elif kind == FOOTER:
                self._take_count(segment, item.payload)
            else:
                damage += self._take_record(item)
        end = items[-1].end if items else self.offset(segment)
        position = _Position(end, READ if final else OPEN, self._position(segment).file or file)
        self._note(segment, position, host, len(damage), torn)
        return damage

    def _take_record(self, line: Line) -> list[Damage]:
        try:
            head = wire.head(line.payload)
        except ValueError:
            return [Damage(line.offset, line.end, torn=False)]  # a whole line, but no record
        segment, seq = segment_of(head.id), seq_of(head.id)
        if self._account(segment).arrives(seq, seq):
            self._count(segment, head.guid, head.kind, written=1)
            if head.kind == "gap":
                self._take_refusals(segment, head)
        return []

    def _take_count(self, segment: str, payload: bytes) -> None:
        """Enter how many numbers a footer says were used: what is missing of them is missing for good."""
        footer = said(payload, Footer)
        if footer:
            self._account(segment).arrives(footer.count + 1, footer.count)

    def _take_refusals(self, segment: str, gap: wire.Head) -> None:
        """Enter what an emitter says it refused: its numbers are explained, not missing."""
        told = refusals(gap)
        if told is None:
            return
        self._account(segment).arrives(told.first, told.last)
        for kind, count in told.kinds.items():
            self._count(segment, gap.guid, kind, refused=count)

    def _note(self, segment: str, position: _Position, host: str, damage: int, torn: int) -> None:
        self._taken[segment] = position
        self._db.execute(
            "INSERT INTO segments (name, offset, state, file, host, damage, torn, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET offset = excluded.offset, state = excluded.state, file = excluded.file,"
            " host = coalesce(nullif(excluded.host, ''), host), damage = damage + excluded.damage,"
            " torn = torn + excluded.torn, changed = excluded.changed",
            (segment, *position, host, damage, torn, int(time.time())),
        )

    def _account(self, segment: str) -> Account:
        account = self._accounts.get(segment)
        if account is None:
            row = self._db.execute("SELECT top FROM segments WHERE name = ?", (segment,)).fetchone()
            holes = self._db.execute("SELECT first, last FROM gaps WHERE segment = ?", (segment,)).fetchall()
            account = self._accounts[segment] = Account(row[0] if row else 0, holes, known=row is not None)
        return account

    def _count(self, segment: str, guid: str, kind: str, written: int = 0, refused: int = 0) -> None:
        counts = self._counts.setdefault((guid, kind, segment), [0, 0])
        counts[0] += written
        counts[1] += refused

    def commit(self) -> None:
        """Make everything taken so far survive a power cut."""
        if not self._db.in_transaction:
            return
        self._db.executemany(
            "INSERT INTO counts VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET"
            " written = written + excluded.written, refused = refused + excluded.refused",
            [(*key, *counts) for key, counts in self._counts.items()],
        )
        for name, account in self._accounts.items():
            self._db.execute(
                "INSERT INTO segments (name, top) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET top = excluded.top",
                (name, account.top),
            )
            if account.changed:
                # a hole that stays as it was stays told
                gone = [(name, *hole) for hole in account.before - {*account.missing}]
                self._db.executemany("DELETE FROM gaps WHERE segment = ? AND first = ? AND last = ?", gone)
                holes = [(name, *hole) for hole in {*account.missing} - account.before]
                self._db.executemany("INSERT INTO gaps (segment, first, last) VALUES (?, ?, ?)", holes)
        self._db.execute("COMMIT")
        self._positions.update(self._taken)
        self._forget()

    def rollback(self) -> None:
        """Undo what was taken since the last commit."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._forget()

    def _forget(self) -> None:
        self._taken.clear()
        self._counts.clear()
        self._accounts.clear()

    # The end of a segment

    def is_read(self, segment: str) -> bool:
        """Tell whether everything in a final segment is in the books."""
        return self._position(segment).state != OPEN

    def delete(self, segments: Collection[str]) -> None:
        """Note that segments are deleted because everything in them is where it should be: with the `takers`."""
        with self._whole():
            self._set_state(segments, DELETED)
        for name in segments:
            self._positions.pop(name, None)

    def vanished(self, present: Collection[str]) -> dict[str, int]:
        """Return the segments that are neither `present` nor deleted by us, each with the highest number seen."""
        rows = self._db.execute("SELECT name, top FROM segments WHERE state IN (?, ?) AND offset > 0", (OPEN, READ))
        return {name: top for name, top in rows if name not in present}

    def lose(self, segment: str, first: int, last: int) -> Gap | None:
        """Note that a segment has vanished with the records `first` to `last`; none, if `first` is above `last`."""
        with self._whole():
            self._set_state([segment], LOST if first <= last else DELETED)
            if first <= last:
                self._db.execute(
                    "INSERT OR REPLACE INTO gaps (segment, first, last) VALUES (?, ?, ?)", (segment, first, last)
                )
        self._positions.pop(segment, None)
        return Gap(segment, first, last, "lost") if first <= last else None

    def is_another(self, segment: str, seen: Seen) -> bool:
        """Tell whether a segment is another file now than that which was read, or has become shorter.

        One that was read to its end, when nothing could be added any more, may not be longer either. One that is
        in doubt already is asked for at its end only.
        """
        before = self._position(segment)
        if before.file == ANOTHER:
            return seen.final
        if before.offset and before.file and before.file != seen.file:
            return True
        return seen.size < before.offset or (seen.size > before.offset and before.state == READ)

    def doubt(self, segment: str) -> None:
        """Note that a segment has become another one, though it can still grow: what is lost is known at its end."""
        with self._whole():
            self._db.execute("UPDATE segments SET file = ? WHERE name = ?", (ANOTHER, segment))
        self._positions[segment] = self._position(segment)._replace(file=ANOTHER)

    def account(self, segment: str) -> Account:
        """Return a copy of the numbers of a segment."""
        account = self._account(segment)
        return Account(account.top, account.missing)

    def begin_again(self, segment: str, file: int) -> None:
        """Let the next `take` of a segment begin at the begin of another file. Nothing is kept before `commit`."""
        self._db.execute("BEGIN IMMEDIATE")
        self._note(segment, _Position(file=file), "", 0, 0)

    def miss(self, segment: str, holes: Collection[tuple[int, int]]) -> None:
        """Enter numbers of a segment that were there and are missing now. Nothing is kept before `commit`."""
        account = self._account(segment)
        account.missing += holes
        account.changed = account.changed or bool(holes)

    def _set_state(self, segments: Iterable[str], state: int) -> None:
        """Note that segments are not there any more, and who took what was in them."""
        now, routing = int(time.time()), self._routing()
        self._db.executemany(
            "UPDATE segments SET state = ?, changed = ?, routing = ? WHERE name = ?",
            [(state, now, routing, name) for name in segments],
        )

    def _routing(self) -> int:
        """Return the number under which the takers of now are noted."""
        if self.takers is None:
            return 0
        said = (msgspec.json.encode(self.takers).decode(),)
        self._db.execute("INSERT OR IGNORE INTO routings (takers) VALUES (?)", said)
        (number,) = self._db.execute("SELECT id FROM routings WHERE takers = ?", said).fetchone()
        return int(number)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Make several statements one: all of them happen or none."""
        self._db.execute("BEGIN IMMEDIATE")
        yield
        self._db.execute("COMMIT")

    def untold(self, limit: int) -> list[tuple[Gap, str]]:
        """Return gaps in segments that are read to the end and that no record tells of yet, each with its run.

        The run is empty where the segment held records of several.
        """
        rows = self._db.execute(
            "SELECT gaps.segment, first, last, damage FROM gaps JOIN segments ON name = gaps.segment"
            " WHERE told = 0 AND state != ? LIMIT ?",
            (OPEN, limit),
        ).fetchall()
        return [(_gap(*row), self._only_run(row[0])) for row in rows]

    def _only_run(self, segment: str) -> str:
        rows = self._db.execute("SELECT DISTINCT guid FROM counts WHERE segment = ? LIMIT 2", (segment,)).fetchall()
        return rows[0][0] if len(rows) == 1 else ""

    def tell(self, gaps: Iterable[Gap]) -> None:
        """Note that records tell of these gaps now."""
        with self._whole():
            self._db.executemany(
                "UPDATE gaps SET told = 1 WHERE segment = ? AND first = ?", [(gap.segment, gap.first) for gap in gaps]
            )

    def prune(self) -> None:
        """Drop the books of segments that were deleted long ago."""
        old = int(time.time()) - KEPT_DAYS * 86400
        deleted = "SELECT name, changed FROM segments WHERE state = ? ORDER BY name DESC LIMIT -1 OFFSET ?"
        rows = self._db.execute(deleted, (DELETED, KEPT_SEGMENTS)).fetchall()
        names = [(name,) for name, changed in rows if changed < old]
        with self._whole():
            for table, column in (("counts", "segment"), ("gaps", "segment"), ("segments", "name")):
                self._db.executemany(f"DELETE FROM {table} WHERE {column} = ?", names)  # noqa: S608 - our own text

    # Questions

    def counts(self, guid: str) -> list[Count]:
        """Return the books of one run, by kind."""
        rows = self._db.execute(
            "SELECT kind, state >= ? AS gone, routing, sum(written), sum(refused), sum(unrouted)"
            " FROM counts JOIN segments ON name = segment WHERE guid = ? GROUP BY kind, gone, routing ORDER BY kind",
            (DELETED, guid),
        ).fetchall()
        noted = {number: msgspec.json.decode(said) for number, said in self._db.execute("SELECT * FROM routings")}
        parts: dict[str, list[_Part]] = {}
        for kind, is_gone, routing, *numbers in rows:
            parts.setdefault(kind, []).append(_Part(noted.get(routing) if is_gone else self.takers, *numbers))
        return [_sum(kind, of_kind) for kind, of_kind in parts.items()]

    def segments(self, guid: str) -> dict[str, tuple[int, int]]:
        """Return the segments that held records of a run, each with its state and the highest number seen."""
        rows = self._db.execute(
            "SELECT name, state, top FROM segments WHERE name IN (SELECT segment FROM counts WHERE guid = ?)", (guid,)
        )
        return {name: (state, top) for name, state, top in rows}

    def hosts(self, guid: str) -> list[str]:
        """Return the hosts whose segments held records of a run."""
        rows = self._db.execute(
            "SELECT DISTINCT host FROM segments WHERE name IN (SELECT segment FROM counts WHERE guid = ?)", (guid,)
        )
        return sorted(host for (host,) in rows if host)

    def gaps(self, guid: str) -> list[Gap]:
        """Return the missing numbers of all segments that held records of a run: some may have been the run's."""
        rows = self._db.execute(
            "SELECT gaps.segment, first, last, damage FROM gaps JOIN segments ON name = gaps.segment"
            " WHERE gaps.segment IN (SELECT segment FROM counts WHERE guid = ?) ORDER BY gaps.segment, first",
            (guid,),
        )
        return [_gap(*row) for row in rows]

    def close(self) -> None:
        """Let go of the file; what was not committed is undone."""
        self._db.close()


class _Part(NamedTuple):
    """Numbers of segments that all were for the same `takers`; `unrouted` holds where these are not known."""

    takers: Mapping[str, Sequence[str]] | None
    written: int
    refused: int
    unrouted: int


def _sum(kind: str, parts: Iterable[_Part]) -> Count:
    written = refused = unrouted = unknown = 0
    due: dict[str, int] = {}
    for part in parts:
        written += part.written
        refused += part.refused
        if part.takers is None:
            unrouted += part.unrouted
            unknown += part.written - part.unrouted
        elif kind not in part.takers:
            unrouted += part.written
        else:
            due |= {store: due.get(store, 0) + part.written for store in part.takers[kind]}
    return Count(kind, written, refused, unrouted, due, unknown)


def _gap(segment: str, first: int, last: int, damage: int) -> Gap:
    return Gap(segment, first, last, "damaged" if damage else "lost")
