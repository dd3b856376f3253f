"""A real job tree with real shell scripts, and a home of its own for what the runs leave in the spool."""

from __future__ import annotations

import json
import os

import pytest

import vcsjob
from ave.lab.processes import start_of
from ave.spool import frames, reader
from vcsjob import ci


class Tree:
    """A job tree in a directory of its own, and one log beside it."""

    def __init__(self, root):
        self.root = root
        self.dir = root / "jobs"
        self.dir.mkdir()
        self.log_path = root / "logs" / "job.txt"

    def add(self, name, script, mode=0o755):
        path = self.dir / name
        path.write_bytes(script.encode() if isinstance(script, str) else script)
        path.chmod(mode)
        return path

    def describe(self, *entries):
        """Write the `.vcsjob` of the tree; an entry that is text stands for its path."""
        jobs = [{"path": entry} if isinstance(entry, str) else entry for entry in entries]
        (self.dir / ".vcsjob").write_text(json.dumps({"executables": jobs}))

    def run(self, script, job=None, interpreter="/bin/sh", **options):
        """Run a job with these lines and return its result."""
        self.add("job", f"#!{interpreter}\n{script}\n")
        return vcsjob.execute_job(str(self.dir), {"path": "job", **(job or {})}, log_path=str(self.log_path), **options)

    @property
    def log(self):
        return self.log_path.read_bytes()

    @property
    def header(self):
        line = self.log.split(b"\n", 1)[0]
        assert line.startswith(b"vcsjob: ")
        return json.loads(line[len("vcsjob: ") :])

    @property
    def output(self):
        """What came after the header."""
        return self.log.split(b"\n", 1)[1]

    def number(self, name):
        """Return the number a job wrote into the file `name` beside the tree."""
        return int((self.root / name).read_text())


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An AVE home, and an environment without a trace of an outer run."""
    builds = [mark for marks, _ in ci.SYSTEMS.values() for mark in marks]
    for name in ("VCSJOB_GUID", "VCSJOB_PROFILES", "VCSJOB_LOG_PATH", "TRACEPARENT", *builds):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AVE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LANG", "C.UTF-8")
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.fixture
def events(home):
    """A function that returns (guid, source, body) of every event in the spool, oldest first."""

    def read():
        spool = str(home / ".ave" / "spool")
        found = []
        for name in reader.list_segments(spool):
            segment = reader.Segment(spool, name)
            found += [json.loads(line.payload) for line in segment.read(0) if isinstance(line, frames.Line)]
            segment.close()
        return [(r["guid"], r["source"], r["body"]) for r in found if r.get("kind") == "event"]

    return read


@pytest.fixture
def is_alive():
    """A function that tells whether a process still runs; a zombie does not."""
    return lambda pid: start_of(pid) is not None


@pytest.fixture
def inheritable_fd():
    """The number of a descriptor that an exec hands on."""
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    yield write_end
    os.close(read_end)
    os.close(write_end)
