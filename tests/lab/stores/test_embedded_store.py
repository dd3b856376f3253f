"""What only the embedded store can meet: files, disks, locks and versions."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.stores import embedded
from ave.lab.stores.embedded import EmbeddedStore
from ave.lab.stores.selection import select
from ave.record import Query
from ave.testing import wait_until
from tests.lab.stores.samples import GUID, TIME, record


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".ave" / "lab.db"


@pytest.fixture
def stores(path):
    """Open stores on `path`; all are closed at the end."""
    opened = []

    def open_one(**how) -> EmbeddedStore:
        opened.append(EmbeddedStore(f"sqlite://{path}", **how))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(stores):
    return stores()


def ids(store, **conditions):
    return [record.id for record in store.find(Query(**conditions))]


def run(program: str, path, **how) -> subprocess.CompletedProcess[str]:
    """Run a program that has the store as `store`, `record` and `StoreUnavailable`."""
    prelude = (
        "import os, resource, signal\n"
        "from ave.exceptions import StoreUnavailable\n"
        "from ave.lab.stores.embedded import EmbeddedStore\n"
        "from tests.lab.stores.samples import GUID, record\n"
        f"store = EmbeddedStore('sqlite://{path}')\n"
    )
    command = [sys.executable, "-c", prelude + program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **how)


# On the disk


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_but_the_owner_can_read_its_files_whatever_the_umask(store, path, umask):
    before = os.umask(umask)
    try:
        store.put([record(1)])
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"lab.db": 0o600, "lab.db-wal": 0o600, "lab.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_commit_is_synced_to_the_disk(store):
    store.put([record(1)])
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_what_was_put_survives_sigkill_and_is_read_before_anybody_writes_again(stores, path):
    done = run("store.put([record(n) for n in range(1, 101)])\nos.kill(os.getpid(), signal.SIGKILL)", path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert stores(readonly=True).count(GUID) == {"shout": 100}


def test_a_full_disk_is_told_and_loses_nothing(path):
    done = run(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "batches = [[record(n * 100 + k, body={'text': 'x' * 300}) for k in range(100)] for n in range(1, 40)]\n"
        "stored = 0\n"
        "try:\n"
        "    for batch in batches:\n"
        "        assert store.put(batch) == []\n"
        "        stored += 1\n"
        "except StoreUnavailable as error:\n"
        "    print(error)\n"
        "assert 0 < stored < len(batches)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "assert store.count(GUID)['shout'] == stored * 100, 'a batch is stored whole or not at all'\n"
        "for batch in batches[stored:]:\n"
        "    assert store.put(batch) == []\n"
        "assert store.count(GUID)['shout'] == 3900\n",
        path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: ")
    assert "make room on its disk" in done.stdout


def test_the_same_batch_goes_in_after_the_database_was_full(stores, monkeypatch):
    connect = embedded._connect

    def small(*args, **kwargs):
        db = connect(*args, **kwargs)
        db.execute("PRAGMA max_page_count = 20")
        return db

    monkeypatch.setattr(embedded, "_connect", small)
    store = stores()
    batch = [record(seq, body={"text": "x" * 500}) for seq in range(1, 200)]
    with pytest.raises(StoreUnavailable, match=r"lab\.db: database or disk is full; make room on its disk$"):
        store.put(batch)
    monkeypatch.setattr(embedded, "_connect", connect)
    assert ids(store) == []
    assert store.put(batch) == []
    assert len(ids(store)) == 199


def test_no_disk_space_for_the_file_itself_says_to_make_room(store, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded.io, "make_dirs", full)
    with pytest.raises(StoreUnavailable, match=r"No space left on device; make room on its disk$"):
        store.put([record(1)])


@pytest.mark.parametrize(
    "content", [b"this is no database at all, it is text" * 200, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_a_corrupt_file_is_told_with_the_cure_and_after_the_cure_all_is_well(store, path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    cure = f"stop ave-logd, move {path}, {path}-wal and {path}-shm aside and start it again"
    for use in (lambda: store.put([record(1)]), lambda: ids(store), lambda: store.count(GUID)):
        with pytest.raises(StoreUnavailable) as caught:
            use()
        assert str(caught.value) == f"{path}: file is not a database; {cure}"
    path.rename(path.with_suffix(".broken"))
    assert store.put([record(1)]) == []


def test_damage_inside_the_file_is_told(stores, path):
    writer = stores()
    writer.put([record(seq, body={"text": "x" * 500}) for seq in range(1, 200)])
    writer.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with pytest.raises(StoreUnavailable, match=r"malformed; stop ave-logd, move"):
        ids(stores(readonly=True))


@pytest.mark.parametrize("obstacle", ["a file as its directory", "a directory in its place"])
def test_a_place_that_cannot_hold_a_file_is_told(store, path, obstacle):
    if obstacle == "a file as its directory":
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match=r"it must be a file, in a directory that can be written$"):
        store.put([record(1)])


def test_a_file_moved_away_under_our_feet_is_made_anew(store, path):
    store.put([record(1)])
    for name in ("lab.db", "lab.db-wal", "lab.db-shm"):
        path.with_name(name).rename(path.with_name(f"old-{name}"))
    assert store.put([record(2)]) == []
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM records").fetchone() == (1,)
    db.close()


# Other processes


def test_it_waits_for_another_writer(store, path):
    store.put([record(1)])
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.1, other.execute, ["COMMIT"])
    release.start()
    assert store.put([record(2)]) == []
    release.join()
    other.close()


def test_a_lock_that_is_held_too_long_is_told_and_readers_do_not_mind_it(stores, path, monkeypatch):
    monkeypatch.setattr(embedded, "BUSY_S", 0.05)
    store = stores()
    store.put([record(1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        store.put([record(2)])
    assert str(caught.value) == f"{path}: database is locked; another process keeps it locked: `fuser {path}` names it"
    assert ids(stores(readonly=True)) == [record(1).id]
    other.close()
    assert store.put([record(2)]) == []


def test_many_may_make_the_file_at_once(stores):
    def is_put(store: EmbeddedStore, number: int) -> bool:
        try:
            return store.put([record(number)]) == []
        except StoreUnavailable:
            return False  # two cannot change a new file to WAL at once: offer again

    def put(number: int) -> None:
        store = stores()
        wait_until(lambda: is_put(store, number), what=f"record {number} to be stored")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores(readonly=True).count(GUID) == {"shout": 8}


def test_a_reader_makes_no_file_and_changes_none(stores, path, tmp_path):
    reader = stores(readonly=True)
    assert ids(reader) == []
    assert reader.count(GUID) == {}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=f"{path} was opened for reading only"):
        reader.put([record(1)])


def test_a_reader_finds_the_records_of_a_file_that_was_made_after_its_first_look(stores, path):
    reader = stores(readonly=True)
    assert ids(reader) == []
    path.parent.mkdir()
    path.touch(0o600)
    assert ids(reader) == [], "the daemon is just making it"
    stores().put([record(1)])
    assert ids(reader) == [record(1).id]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM records")


def test_a_path_may_have_any_character(tmp_path):
    store = EmbeddedStore(f"sqlite://{tmp_path}/a b#c?d%41é/lab.db")
    store.put([record(1)])
    store.close()
    assert (tmp_path / "a b#c?d%41é" / "lab.db").is_file()
    reader = EmbeddedStore(store.path, readonly=True)
    assert ids(reader) == [record(1).id]
    reader.close()


# Versions


def test_a_newer_schema_is_refused_politely_and_left_alone(stores, path):
    writer = stores()
    writer.put([record(1)])
    writer._db.execute("PRAGMA user_version = 7")
    writer.close()
    before = path.read_bytes()
    for store in (stores(), stores(readonly=True)):
        with pytest.raises(ConfigError) as caught:
            store.count(GUID)
        assert str(caught.value) == (
            f"{path}: was written by a newer version of ave-logging (schema 7, this one knows 1); "
            "upgrade this host, or give another url"
        )
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_database_of_another_program_is_left_alone(stores, path, readonly):
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE accounts (name)")
    db.close()
    with pytest.raises(ConfigError, match=f"^{path}: is a database of another program; give another url$"):
        stores(readonly=readonly).count(GUID)


def test_an_older_file_is_brought_up_to_date_with_its_records(stores, monkeypatch):
    old = stores()
    old.put([record(1)])
    old.close()
    newer = [*embedded.MIGRATIONS, ("CREATE INDEX by_host ON records (host)", "UPDATE records SET pid = 99")]
    monkeypatch.setattr(embedded, "MIGRATIONS", newer)
    store = stores()
    assert [record.pid for record in store.find(Query())] == [99]
    assert store._db.execute("PRAGMA user_version").fetchone() == (2,)
    store.close()
    assert [record.pid for record in stores().find(Query())] == [99], "and only once"


def test_a_step_that_fails_leaves_the_file_as_it_was(stores, monkeypatch):
    stores().put([record(1)])
    monkeypatch.setattr(embedded, "MIGRATIONS", [*embedded.MIGRATIONS, ("UPDATE records SET pid = 99", "NONSENSE")])
    with pytest.raises(StoreUnavailable, match="NONSENSE"):
        stores().put([record(2)])
    monkeypatch.undo()
    assert [record.pid for record in stores().find(Query())] == [4711]


# Values


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(2, time=2**63), "no table can hold it: Python int too large to convert to SQLite INTEGER"),
        (record(2, guid="\ud800 and more"), "surrogates not allowed"),
        (record(2, body={"text": "\udcff"}), "surrogates not allowed"),
        (record(2, body={"object": object()}), "no table can hold it: Encoding objects of type object is unsupported"),
        (record(2, host=None), "no table can hold it: NOT NULL constraint failed: records.host"),
        (record(2, body={"text": "x" * 50_000}), "no table can hold it: string or blob too big"),
    ],
    ids=["time", "guid", "surrogate", "object", "none", "too long"],
)
def test_a_value_that_no_table_can_hold_is_rejected_alone(store, bad, reason):
    store.put([record(1)])
    store._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 40_000)
    batch = [record(seq) for seq in range(3, 100)]
    for place in (0, 50, 97):
        (rejected,) = store.put([*batch[:place], bad, *batch[place:]])
        assert rejected.record is bad
        assert reason in rejected.reason
    assert ids(store) == [record(1).id, *(good.id for good in batch)]


@pytest.mark.parametrize(
    "conditions", [{"guid": "\udcff"}, {"text": "\udcff"}, {"job": "\udcff"}, {"since": 2**70}], ids=str
)
def test_asking_for_what_no_record_can_have_is_a_usage_error(store, conditions):
    with pytest.raises(UsageError, match=r"^no record can have such a value: "):
        ids(store, **conditions)
    with pytest.raises(UsageError, match=r"^no record can have such a value: "):
        store.count("\udcff")


# Speed and memory


@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        ({}, "by_time"),
        ({"guid": GUID}, "by_guid"),
        ({"guid": GUID, "kinds": ["verdict"], "since": TIME}, "by_guid"),
        ({"kinds": ["verdict"], "text": "x"}, "by_kind"),
        ({"kinds": ["verdict", "log"]}, "by_time"),
        ({"result": "failure", "host": "a", "source": "b"}, "by_time"),
    ],
    ids=str,
)
@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("last", [None, record(5)], ids=["first page", "next page"])
def test_a_page_is_read_along_an_index_and_never_sorted_as_a_whole(store, conditions, index, newest, last):
    store.put([record(1)])
    query = Query(**conditions, newest=newest)
    statement, values = select(query, query.guid, last, 100)
    plan = [row[3] for row in store._db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert f"USING INDEX {index}" in plan[0]
    assert plan[1:] in (
        [],
        ["USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"],
        ["USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY"],
    )


def test_a_page_ends_early_when_its_bodies_are_big(store, monkeypatch):
    monkeypatch.setattr(embedded, "PAGE_BYTES", 10_000)
    store.put([record(seq, body={"text": "x" * 3000}) for seq in range(1, 30)])
    assert len(store._page(Query(), None, None, 4000)) == 4
    assert len(ids(store)) == 29


def test_many_runs_of_a_job_come_in_one_order(store, monkeypatch):
    monkeypatch.setattr(embedded, "PAGE_RECORDS", 100)
    runs = [f"run-of-the-job-{number}" for number in range(40)]
    start = {"name": "job.start", "exe": "/jobs/boot"}
    store.put([record(seq, "event", start, guid=guid) for seq, guid in enumerate(runs, 1)])
    store.put([record(seq, guid=runs[seq % 40]) for seq in range(100, 4000)])
    store.put([record(4001)])
    assert ids(store, job="boot") == [record(seq).id for seq in (*range(1, 41), *range(100, 4000))]
    assert ids(store, job="boot", newest=True, limit=3) == [record(seq).id for seq in (3999, 3998, 3997)]


def test_a_file_that_others_can_read_takes_nothing(stores, path):
    stores().put([record(1)])
    path.chmod(0o640)
    store = stores()
    with pytest.raises(ConfigError, match=rf"^{path}: others than its owner .* \(mode 640\); chmod 600 {path}$"):
        store.put([record(2)])
    path.chmod(0o600)
    store.put([record(2)])
    assert ids(store) == [record(1).id, record(2).id]
