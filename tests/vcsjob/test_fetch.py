"""A version of a real repository, brought into a directory: which version, and what stays of what was there."""

import os
import signal
import socket
import subprocess
import threading

import pytest
from repository import Fetched, Repository

import vcsjob
from ave.exceptions import RunError, Timeout, UsageError
from ave.testing import children, wait_until


@pytest.fixture(autouse=True)
def gitconfig(tmp_path, monkeypatch):
    """The settings of a user who has none yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / ".gitconfig"


@pytest.fixture
def src(tmp_path):
    """A repository with two commits, and a branch `testing` at the first."""
    repository = Repository(tmp_path / "src")
    repository("branch", "testing")
    repository.commit(foo="bar")
    return repository


@pytest.fixture
def dst(tmp_path):
    return Fetched(tmp_path / "dst")


@pytest.fixture
def silent():
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def fetch(src, dst, refspec="master", **options):
    return vcsjob.fetch(str(getattr(src, "path", src)), str(getattr(dst, "path", dst)), refspec, **options)


def refusal(src, dst, refspec="master", kind=UsageError, **options):
    with pytest.raises(kind) as caught:
        fetch(src, dst, refspec, **options)
    return str(caught.value)


@pytest.fixture
def interrupt():
    """A function that calls another, which must raise it, and sends it a Ctrl-C as soon as a file is there."""

    def call(path, function):
        def press():
            wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            function()
        thread.join()

    return call


# Where from, and where to


@pytest.mark.parametrize("arguments", [(None, None, None), ("", "d", "r"), ("s", "", "r"), ("s", "d", "")])
def test_nothing_may_be_left_out(arguments):
    with pytest.raises(UsageError, match=r"^source, refspec and destination must be specified$"):
        vcsjob.fetch(*arguments)


def test_a_directory_that_is_no_repository_is_refused():
    with pytest.raises(UsageError, match=r"^supported protocols: git$"):
        vcsjob.fetch("/", "nonsense", "nonsense")


def test_a_destination_elsewhere_is_refused(src):
    assert refusal(src, "ssh://host") == "destination must be on a locally mounted file system"


def test_a_destination_that_is_no_directory_is_refused(src, dst):
    dst.path.write_text("anything")
    assert refusal(src, dst) == f"destination is not a directory: {dst.path}"


@pytest.mark.parametrize("around", [None, "git"])
def test_a_destination_with_something_else_in_it_is_refused(src, tmp_path, around):
    if around:  # what is inside a git tree is not one itself
        Repository(tmp_path / "outer")
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "dirt").write_text("bar")
    assert refusal(src, inner) == f"destination is not a git tree: {inner}"
    assert os.listdir(inner) == ["dirt"]


def test_a_directory_with_a_broken_repository_is_refused_and_none_around_it_is_taken(src, tmp_path):
    outer = Repository(tmp_path / "outer")
    inner = outer.path / "inner"
    (inner / ".git").mkdir(parents=True)
    assert refusal(src, inner).startswith(f"destination is not a git tree: {inner}: fatal: not a git repository")
    assert outer.commits == 1


@pytest.mark.parametrize("there", ["empty", "missing", "missing with its parents", "a link to an empty one"])
def test_a_destination_that_is_empty_or_missing_is_filled(src, tmp_path, there):
    path = tmp_path / "dst"
    if there == "missing with its parents":
        path = tmp_path / "a" / "b" / "dst"
    elif there == "empty":
        path.mkdir()
    elif there == "a link to an empty one":
        (tmp_path / "real").mkdir()
        path.symlink_to("real")
    assert fetch(src, path) == vcsjob.OK
    assert (path / "foo").read_text() == "bar"
    assert vcsjob.list_jobs(str(path)) == ["job"]
    assert Fetched(path).branch == "master"
    assert Fetched(path)("status", "--porcelain") == ""


def test_a_destination_that_cannot_be_made_is_named(src, tmp_path):
    (tmp_path / "file").write_text("")
    told = refusal(src, tmp_path / "file" / "dst")
    assert told == f"cannot use the destination {tmp_path}/file/dst: Not a directory"


@pytest.mark.parametrize("name", ["a b", "100%41", "-x", "--upload-pack=x", "ä", "a:b"])
def test_any_name_of_a_source_or_destination_is_a_name(tmp_path, monkeypatch, name):
    Repository(tmp_path / "in" / name)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert vcsjob.fetch(name, f"file://{tmp_path}/out/{name}", "master") == vcsjob.OK
    assert (tmp_path / "out" / name / "job").exists()


def test_a_bare_repository_is_a_source(src, dst, tmp_path):
    src("clone", "-q", "--bare", str(src.path), str(tmp_path / "bare"))
    assert fetch(tmp_path / "bare", dst) == vcsjob.OK


# Which version


def test_the_same_version_may_be_fetched_again_and_again(src, dst):
    assert [fetch(src, dst) for _ in range(3)] == [vcsjob.OK] * 3
    assert dst.head == src.head


def test_what_was_committed_since_comes_with_the_next_fetch(src, dst):
    fetch(src, dst)
    src.commit(foo="barfly")
    fetch(src, dst)
    assert (dst.path / "foo").read_text() == "barfly"
    assert dst.branch == "master"


def test_a_history_that_was_rewritten_is_followed(src, dst):
    fetch(src, dst)
    src("commit", "-q", "--amend", "-m", "better")
    fetch(src, dst)
    assert dst.head == src.head


def test_branches_can_be_changed(src, dst):
    for branch in ("master", "testing", "master"):
        fetch(src, dst, branch)
        assert (dst.branch, dst.head) == (branch, src("rev-parse", branch))
    assert (dst.path / "foo").exists()


def test_a_commit_is_checked_out_without_a_branch(src, dst):
    for commit in (src("rev-parse", "master~1"), src.head, src("rev-parse", "master~1")):
        fetch(src, dst, commit)
        assert (dst.branch, dst.head) == ("", commit)


def test_a_commit_that_is_there_needs_no_source_any_more(src, dst, tmp_path):
    fetch(src, dst)
    commit = src.head
    src.path.rename(tmp_path / "moved")
    Repository(src.path)
    fetch(src, dst, commit)
    assert dst.head == commit


def test_tags_and_whole_names_of_refs_are_versions(src, dst):
    src("tag", "v1", "testing")
    src("tag", "v2", "-m", "annotated")
    src("update-ref", "refs/changes/7/7/1", "master~1")
    for refspec, commit, branch in [
        ("v1", "testing", ""), ("v2", "master", ""), ("refs/tags/v1", "testing", ""), ("HEAD", "master", ""),
        ("refs/changes/7/7/1", "testing", ""), ("refs/heads/master", "master", "master"),
    ]:  # fmt: skip
        fetch(src, dst, refspec)
        assert (dst.branch, dst.head) == (branch, src("rev-parse", commit))
    assert dst("tag") == "v1\nv2"


def test_of_a_branch_and_a_tag_of_one_name_the_branch_is_meant(src, dst):
    src("tag", "testing", "master")
    fetch(src, dst, "testing")
    assert (dst.branch, dst.head) == ("testing", src("rev-parse", "refs/heads/testing"))


def test_a_version_that_is_not_there_leaves_nothing_new_behind(src, dst):
    told = refusal(src, dst, "no_such_branch", kind=RunError)
    assert told == f"failed to fetch no_such_branch from {src.path}: there is no such branch, tag or commit"
    assert not dst.path.exists()


def test_a_version_that_is_not_there_leaves_what_there_is(src, dst):
    fetch(src, dst)
    assert refusal(src, dst, "no_such_branch", kind=RunError).startswith("failed to fetch no_such_branch from ")
    assert refusal(src, dst, "1" * 40, kind=RunError).startswith(f"failed to fetch {'1' * 40} from ")
    assert (dst.branch, dst.head) == ("master", src.head)


def test_the_beginning_of_an_id_is_enough_for_a_commit_that_is_there(src, dst):
    fetch(src, dst)
    fetch(src, dst, src.head[:10])
    assert (dst.branch, dst.head) == ("", src.head)


def test_a_server_that_gives_only_heads_gives_every_commit_in_the_end(src, dst, gitconfig):
    gitconfig.write_text("[protocol]\n version = 0\n")
    fetch(src, dst, "master")
    old = src("rev-parse", "master~1")
    fetch(src, dst, old)
    assert dst.head == old


# How much of it


@pytest.mark.parametrize(("depth", "commits"), [({}, 1), ({"depth": 2}, 2), ({"depth": "2"}, 2), ({"depth": 0}, 3)])
def test_the_history_is_as_deep_as_asked(src, dst, depth, commits):
    src.commit(foo="third")
    fetch(src, dst, **depth)
    assert dst.commits == commits


def test_a_shallow_tree_can_get_all_its_history_later(src, dst):
    fetch(src, dst)
    src.commit(foo="third")
    fetch(src, dst)
    assert dst.commits == 1
    fetch(src, dst, depth=None)
    assert dst.commits == 3


def test_a_tree_with_all_its_history_keeps_it(src, dst):
    src("clone", "-q", str(src.path), str(dst.path))
    src.commit(foo="third")
    fetch(src, dst)
    assert dst.commits == 3


@pytest.mark.parametrize(
    ("name", "value"), [("depth", -1), ("depth", "x"), ("timeout", "x"), ("timeout", float("nan"))]
)
def test_a_depth_or_timeout_that_is_no_number_is_refused(src, dst, name, value):
    assert refusal(src, dst, **{name: value}) == f"{name} is not a number from 0 on: {value!r}"
    assert not dst.path.exists()


def test_submodules_are_not_fetched(src, dst, tmp_path):
    other = Repository(tmp_path / "other")
    src("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.path), "sub")
    src.commit()
    fetch(src, dst)
    assert os.listdir(dst.path / "sub") == []
    src.commit(foo="more")
    fetch(src, dst)
    assert dst.head == src.head


# What is somebody's own


@pytest.mark.parametrize("refspec", ["master", "testing"])
@pytest.mark.parametrize("dirt", ["untracked", "changed", "staged"])
def test_a_dirty_tree_is_left_as_it_is(src, dst, dirt, refspec):
    fetch(src, dst)
    head = src.head
    src.commit(foo="barfly")
    (dst.path / {"untracked": "dirt"}.get(dirt, "foo")).write_text("mine")
    if dirt == "staged":
        dst("add", "--all")
    told = refusal(src, dst, refspec)
    assert told == f"can't pull into a dirty tree: {dst.path}: {'dirt' if dirt == 'untracked' else 'foo'}"
    assert (dst.branch, dst.head) == ("master", head)


def test_what_git_ignores_is_no_dirt(src, dst):
    src.commit(**{".gitignore": "*.o\n"})
    fetch(src, dst)
    (dst.path / "a.o").write_text("")
    assert fetch(src, dst, "testing") == vcsjob.OK


def test_a_branch_with_commits_of_its_own_is_left_as_it_is(src, dst):
    fetch(src, dst)
    mine = dst.commit(mine="")
    for _ in range(2):
        src.commit(foo="barfly")
        told = refusal(src, dst)
        assert told == f"can't pull into a dirty tree: {dst.path}: master has commits of its own"
    assert dst.head == mine


def test_own_commits_that_the_source_has_taken_over_are_no_hindrance(src, dst):
    src("clone", "-q", str(src.path), str(dst.path))
    dst.commit(mine="")
    src("pull", "-q", "--ff-only", str(dst.path), "master")
    src.commit(foo="barfly")
    fetch(src, dst)
    assert dst.head == src.head


def test_what_was_fetched_but_not_checked_out_is_not_taken_for_own(src, dst):
    fetch(src, dst)
    src.commit(foo="second")
    (dst.path / ".git" / "index.lock").write_text("")  # as somebody killed leaves it
    assert "index.lock" in refusal(src, dst, kind=RunError)
    (dst.path / ".git" / "index.lock").unlink()
    src.commit(foo="third")
    fetch(src, dst)
    assert dst.head == src.head


def test_a_change_of_version_that_is_interrupted_is_undone(src, dst, gitconfig, interrupt):
    fetch(src, dst)
    old = src.head
    src.commit(**{".gitattributes": "slow filter=slow\n", "added": "", "slow": "", "job": "changed", "zz": ""})
    begun = gitconfig.parent / "begun"
    gitconfig.write_text(f'[filter "slow"]\n smudge = "echo > {begun}; sleep 60"\n')
    interrupt(begun, lambda: fetch(src, dst))
    assert (dst.head, dst.branch, dst("status", "--porcelain")) == (old, "master", "")
    assert sorted(os.listdir(dst.path)) == [".git", ".vcsjob", "foo", "job"]
    gitconfig.unlink()
    assert fetch(src, dst) == vcsjob.OK
    assert dst.head == src.head


def test_a_tree_with_very_many_changes_is_called_dirty_by_the_first(src, dst):
    fetch(src, dst)
    for number in range(5000):
        (dst.path / f"{number:020}").write_text("")
    names = ", ".join(f"{number:020}" for number in range(3))
    assert refusal(src, dst) == f"can't pull into a dirty tree: {dst.path}: {names}, ..."


def test_what_was_left_half_filled_is_filled_anew(src, dst):
    fetch(src, dst)
    (dst.path / ".git" / "vcsjob-fills").write_text("")
    (dst.path / "half").write_text("")
    (dst.path / "dir").mkdir()
    assert fetch(src, dst) == vcsjob.OK
    assert sorted(os.listdir(dst.path)) == [".git", ".vcsjob", "foo", "job"]
    assert not (dst.path / ".git" / "vcsjob-fills").exists()


def test_two_at_once_into_one_directory_come_one_after_the_other(src, dst):
    results = []
    threads = [
        threading.Thread(target=lambda branch=branch: results.append(fetch(src, dst, branch)))
        for branch in ("master", "testing", "master", "testing")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [vcsjob.OK] * 4
    assert dst("status", "--porcelain") == ""


def test_who_waits_for_another_waits_no_longer_than_its_time(src, dst, silent):
    first = threading.Thread(
        target=lambda: refusal(f"git://127.0.0.1:{silent}/tree", dst, kind=Timeout, timeout=2), daemon=True
    )
    first.start()
    wait_until((dst.path / ".git" / "vcsjob-fills").exists)
    assert refusal(src, dst, kind=Timeout, timeout=0.2) == "command timed out"
    first.join()
    assert fetch(src, dst) == vcsjob.OK


# When it fails


def test_a_source_that_cannot_be_reached_leaves_nothing_behind(dst):
    dst.path.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"git://127.0.0.1:{server.getsockname()[1]}/tree"
    told = refusal(url, dst, "y", kind=RunError)
    assert told.startswith(f"failed to clone from {url}: fatal: unable to connect to 127.0.0.1")
    assert not dst.path.exists()


def test_a_server_that_says_nothing_is_given_up(dst, silent):
    assert refusal(f"git://127.0.0.1:{silent}/tree", dst, kind=Timeout, timeout=0.5) == "command timed out"
    assert not dst.path.exists()


def test_git_and_all_it_started_are_ended_with_the_fetch(dst, tmp_path, monkeypatch, is_alive, interrupt):
    # TERM is not enough for this one, and its own child holds git's output open
    ssh = tmp_path / "stubborn"
    ssh.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 60 &\necho $$ $! > {tmp_path}/pids\nwait\nsleep 60\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    interrupt(tmp_path / "pids", lambda: fetch("ssh://host/tree", dst))
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_alive, pids)), what="ssh and its child to die")
    assert not dst.path.exists()


def test_who_goes_on_with_gits_output_open_keeps_nobody_waiting(src, dst, tmp_path, monkeypatch):
    # as an ssh master connection does
    ssh = tmp_path / "persistent"
    ssh.write_text(
        f'#!/bin/sh\nsetsid sleep 30 &\necho $! > {tmp_path}/pid\nfor last; do :; done\nexec sh -c "$last"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    try:
        assert fetch(f"ssh://host{src.path}", dst, timeout=20) == vcsjob.OK
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert dst.head == src.head


def test_where_git_is_missing_the_cure_is_told(src, dst, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(src, dst, kind=RunError) == "git is not installed; install it, e.g.: apt-get install git"
    assert not dst.path.exists()


def test_no_process_and_no_descriptor_is_left(src, dst, silent):
    fetch(src, dst)
    before, had = sorted(os.listdir("/proc/self/fd")), children()
    fetch(src, dst, "testing")
    refusal(src, dst, "nope", kind=RunError)
    refusal(f"git://127.0.0.1:{silent}/tree", dst, "nope", kind=Timeout, timeout=0.3)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert children() <= had


def test_git_says_how_far_it_is(src, dst):
    told = []
    fetch(src, dst, progress=told.append)
    assert any("objects" in line for line in told)
    assert not any(set(line) & set("\r\n") for line in told)


def test_git_can_go_on_with_what_was_fetched(src, dst):
    fetch(src, dst)
    assert dst("remote", "get-url", "origin") == f"file://{src.path}"
    assert subprocess.run(["git", "-C", dst.path, "fetch", "-q"], check=False).returncode == 0
