"""The store that needs no server: one SQLite file.

What `put` returned for is on the disk (WAL, synchronous=FULL), because the spool's copy is deleted afterwards.
Readers have connections of their own; they neither wait for the daemon that writes nor hold it up.
"""

from __future__ import annotations

import errno
import heapq
import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from ave import io
from ave.exceptions import AveException, ConfigError, StoreUnavailable, UsageError
from ave.lab.stores.base import DIFFERENT, UNSTORABLE, Rejected, Store, contains, order, unopened
from ave.lab.stores.selection import COLUMNS, RUNS, marks, select
from ave.record import KINDS, Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ave.record import Query

__all__ = ["MIGRATIONS", "EmbeddedStore"]

#: Statements that lead from one version of the schema to the next; `user_version` counts the steps done.
#: What was released never changes: a new version is a new step at the end.
MIGRATIONS: list[tuple[str, ...]] = [
    (
        """CREATE TABLE records (
            id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, guid TEXT NOT NULL, time INTEGER NOT NULL,
            host TEXT NOT NULL, pid INTEGER NOT NULL, source TEXT NOT NULL, body TEXT NOT NULL)""",
        "CREATE INDEX by_guid ON records (guid, time)",
        "CREATE INDEX by_kind ON records (kind, time)",
        "CREATE INDEX by_time ON records (time)",
    ),
]

#: Marks the file as ours: "AVE" and a zero.
APPLICATION_ID = 0x41564500

#: Seconds to wait for another process that holds the write lock.
BUSY_S = 5.0

#: The WAL goes into the file after so many pages of 4 KiB. At 16 MiB `put` is a sixth faster than at SQLite's 4 MiB.
CHECKPOINT_PAGES = 4000

#: A read transaction gives at most so many records, and ends after so many bytes of their bodies.
PAGE_RECORDS = 4000
PAGE_BYTES = 4 * 1024 * 1024

#: With what SQLite raises for one.
_UNSTORABLE = (*UNSTORABLE, sqlite3.DataError, sqlite3.IntegrityError)

#: Rows of one statement. SQLite takes them at one go, while other threads of Python work; row by row, its thread would
#: wait for them behind each. A hundred have fewer values than any SQLite allows a statement.
ROWS_AT_ONCE = 100

_MOVE_ASIDE = "stop ave-logd, move {path}, {path}-wal and {path}-shm aside and start it again"

#: What a person can do, by the name of SQLite's error.
_CURES = {
    "SQLITE_BUSY": "another process keeps it locked: `fuser {path}` names it",
    "SQLITE_CANTOPEN": "it must be a file, in a directory that can be written",
    "SQLITE_CORRUPT": _MOVE_ASIDE,
    "SQLITE_FULL": "make room on its disk",
    "SQLITE_IOERR": "make room on its disk, or see in the kernel's log what is wrong with it",
    "SQLITE_NOTADB": _MOVE_ASIDE,
    "SQLITE_READONLY": "file, directory and disk must be writable",
}

_ERRNOS = {errno.ENOSPC: "SQLITE_FULL", errno.EDQUOT: "SQLITE_FULL", errno.EIO: "SQLITE_IOERR"}


class EmbeddedStore(Store):
    """Records in an SQLite file, which is opened at the first use and anew after an error.

    Args:
        url: `sqlite://` and the absolute path of the file.
        kinds: what is kept here.
        readonly: make nothing and change nothing; where no file is, there are no records.
    """

    def __init__(self, url: str, kinds: Collection[str] = KINDS, *, readonly: bool = False) -> None:
        self.path = "/" + url.removeprefix("sqlite:").lstrip("/")
        self.kinds = frozenset(kinds)
        self._readonly = readonly
        self._db: sqlite3.Connection | None = None
        self._inode: int | None = None

    def put(self, batch: Sequence[Record]) -> list[Rejected]:
        """Store a batch in one transaction, see `Store.put`."""
        if self._readonly:
            raise UsageError(f"{self.path} was opened for reading only")
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                whole = _put_many(db, batch) == len(batch)
            except _UNSTORABLE:
                whole = False
            # one by one finds what already went in as an identical repeat
            rejected = [] if whole else [Rejected(record, why) for record in batch if (why := _put_one(db, record))]
            db.execute("COMMIT")
        return rejected

    def find(self, query: Query) -> Iterator[Record]:
        """Give what matches, see `Store.find`. No transaction is open while the caller holds a record."""
        guids = [query.guid]
        if query.job is not None:
            with self._connected() as db:
                runs = [guid for (guid,) in db.execute(RUNS, (query.job,))]
            guids = [guid for guid in runs if query.guid in {None, guid}]
        # many runs share the memory of one page
        size = max(50, PAGE_RECORDS // max(1, len(guids)))
        if query.limit is not None:
            size = min(size, query.limit)
        streams = [self._stream(query, guid, size) for guid in guids]
        yield from islice(heapq.merge(*streams, key=order, reverse=query.newest), query.limit)

    def count(self, guid: str, hosts: Collection[str] = ()) -> dict[str, int]:
        """Count by kind, see `Store.count`."""
        only = f" AND host IN ({marks(hosts)})" if hosts else ""
        statement = f"SELECT kind, count(*) FROM records WHERE guid = ?{only} GROUP BY kind"  # noqa: S608 - marks
        with self._connected() as db:
            return dict(db.execute(statement, (guid, *hosts)).fetchall())

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _stream(self, query: Query, guid: str | None, size: int) -> Iterator[Record]:
        """Give the matching records of one run, or of all, page by page."""
        last: Record | None = None
        while True:
            rows = self._page(query, guid, last, size)
            for row in rows:
                last = _record(row)
                if query.text is None or contains(last.body, query.text):
                    yield last
            if len(rows) < size and sum(len(row[-1]) for row in rows) < PAGE_BYTES:
                return

    def _page(self, query: Query, guid: str | None, last: Record | None, size: int) -> list[tuple[Any, ...]]:
        rows, room = [], PAGE_BYTES
        with self._connected() as db, closing(db.execute(*select(query, guid, last, size))) as cursor:
            for row in cursor:
                rows.append(row)
                room -= len(row[-1])
                if room <= 0:
                    break
        return rows

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Lend the open connection; whatever goes wrong ends its transaction and closes it."""
        try:
            # somebody may have moved the file away: what went into it would be stored nowhere
            if self._db is None or _inode(self.path) != self._inode:
                self._begin()
            assert self._db is not None
            yield self._db
        except BaseException as error:
            self.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise StoreUnavailable(f"{self.path}: {_explained(error, self.path)}") from error
            if isinstance(error, (UnicodeEncodeError, OverflowError)):
                raise UsageError(f"no record can have such a value: {error}") from error
            raise

    def _begin(self) -> None:
        try:
            self._open()
        except (AveException, OSError, sqlite3.Error):
            raise
        except Exception as error:
            raise unopened(self.path, error) from error

    def _open(self) -> None:
        self.close()
        if self._readonly:
            self._open_reader()
            return
        _create(self.path)
        self._inode = _inode(self.path)
        self._db = _connect(self.path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        _migrate(self._db, self.path)
        mode = os.stat(self.path).st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(
                f"{self.path}: others than its owner may read or change it (mode {mode:03o}); chmod 600 {self.path}"
            )

    def _open_reader(self) -> None:
        self._inode = _inode(self.path)
        if self._inode is not None:
            self._db = _connect(f"file:{quote(self.path)}?mode=ro", uri=True)
            if _version(self._db, self.path):
                return
            # the daemon is just making it: look again at the next use
            self.close()
            self._inode = 0
        self._db = _connect(":memory:")
        _migrate(self._db, self.path)


def _create(path: str) -> None:
    """Make the file with mode 0600 if it is not there; SQLite gives its other files the mode of this one."""
    io.make_dirs(os.path.dirname(path))
    # O_EXCL: to close an existing one would drop the locks that other connections of this process hold on it
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connect(database: str, *, uri: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(database, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=uri)
    # SQLite's own knows the 26 letters only
    db.create_function("lower", 1, str.lower, deterministic=True)
    return db


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def _version(db: sqlite3.Connection, path: str) -> int:
    """Return the version of the schema, 0 for none; ConfigError if the file is not for us."""
    # the tables first: whoever makes ours sets the other two with them, perhaps between these lines
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        raise ConfigError(f"{path}: is a database of another program; give another url")
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"{path}: was written by a newer version of ave-logging (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); upgrade this host, or give another url"
        )
    return version


def _migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring the schema up to date, each step whole or not at all."""
    while _version(db, path) < len(MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")
        # asked again: another process may have taken this step while we waited for the lock
        version = _version(db, path)
        if version < len(MIGRATIONS):
            for statement in MIGRATIONS[version]:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version + 1}")
        db.execute("COMMIT")


def _put_many(db: sqlite3.Connection, batch: Sequence[Record]) -> int:
    """Store records, and return how many of them were not there."""
    new = 0
    for at in range(0, len(batch), ROWS_AT_ONCE):
        rows = [_row(record) for record in batch[at : at + ROWS_AT_ONCE]]
        new += db.execute(_insert(len(rows)), [*chain.from_iterable(rows)]).rowcount
    return new


@cache
def _insert(rows: int) -> str:
    values = ", ".join([f"({marks(Record.FIELDS)})"] * rows)
    return f"INSERT INTO records ({COLUMNS}) VALUES {values} ON CONFLICT (id) DO NOTHING"  # noqa: S608 - marks


def _put_one(db: sqlite3.Connection, record: Record) -> str:
    """Store one record; return why it can never be stored, or nothing."""
    try:
        row = _row(record)
        if db.execute(_insert(1), row).rowcount:
            return ""
    except _UNSTORABLE as error:
        return f"no table can hold it: {error}"
    stored = db.execute(f"SELECT {COLUMNS} FROM records WHERE id = ?", (record.id,)).fetchone()  # noqa: S608 - constants
    return "" if stored == row or (stored[:-1], _sorted(stored[-1])) == (row[:-1], _sorted(row[-1])) else DIFFERENT


def _row(record: Record) -> tuple[Any, ...]:
    body = msgspec.json.encode(record.body).decode()
    return record.id, record.kind, record.guid, record.time, record.host, record.pid, record.source, body


def _record(row: tuple[Any, ...]) -> Record:
    id_, kind, guid, time, host, pid, source, body = row
    return Record(id_, kind, guid, time, host, pid, source, msgspec.json.decode(body))


def _sorted(body: str) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(body), order="sorted")


def _explained(error: sqlite3.Error | OSError, path: str) -> str:
    if isinstance(error, OSError):
        name = _ERRNOS.get(error.errno or 0, "SQLITE_CANTOPEN")
    else:
        name = getattr(error, "sqlite_errorname", "")
    # the extended names begin with the plain ones: SQLITE_IOERR_WRITE
    cures = [cure.format(path=path) for plain, cure in _CURES.items() if name.startswith(plain)]
    return "; ".join([str(error), *cures])
