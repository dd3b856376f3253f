"""Real git repositories, made on the fly."""

import os
import shutil
import subprocess

import pytest


class Repository:
    """A repository with a work tree; its first commit has a job tree, on the branch master."""

    def __init__(self, path):
        skip_without_git()
        self.path = path
        path.mkdir(parents=True)
        self("init", "-q", "-b", "master")
        self.commit(**{".vcsjob": '{"executables": [{"path": "job"}]}', "job": "#!/bin/sh\necho hi\n"})

    def __call__(self, *arguments, env=None):
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        command = ["git", "-C", self.path, *identity, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env={**environment, **(env or {})})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, **files):
        """Commit files with these contents and return the commit's id."""
        for name, text in files.items():
            (self.path / name).write_text(text)
            (self.path / name).chmod(0o755)
        self("add", "--all")
        self("commit", "-q", "--allow-empty", "-m", "a change")
        return self("rev-parse", "HEAD")

    @property
    def head(self):
        return self("rev-parse", "HEAD")

    @property
    def branch(self):
        """The branch that is checked out, empty if none is."""
        return self("branch", "--show-current")

    @property
    def commits(self):
        return int(self("rev-list", "--count", "HEAD"))


class Fetched(Repository):
    """What a fetch has made at a path."""

    def __init__(self, path):  # nothing is made here
        skip_without_git()
        self.path = path


def skip_without_git():
    if not shutil.which("git"):
        pytest.skip("git is not installed; `make test` installs it where it can")
