"""Brings a version of a git repository into a directory, which is filled wholly or left alone."""

from __future__ import annotations

import fcntl
import os
import re
import time

from ave.exceptions import RunError, UsageError
from vcsjob import codes, sources
from vcsjob.git import Git, masked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TIMEOUT_S", "fetch"]

#: The longest that a fetch may take if nobody says otherwise. Seconds.
TIMEOUT_S = 600

#: What git gets to undo a change of version that failed. Seconds.
RESTORE_S = 60.0

#: How often it is asked whether another fetch into the same directory is over. Seconds.
_ASK_S = 0.05

_COMMIT = r"[0-9a-f]{40}|[0-9a-f]{64}"


def fetch(
    src: str,
    dst: str,
    refspec: str,
    depth: int | None = 1,
    timeout: float | None = TIMEOUT_S,
    progress: Callable[[str], object] | None = None,
) -> int:
    """Bring a version of a git repository into a directory, from wherever that stands now.

    Args:
        src: path of a local repository, or a URL (file, git, ssh, http, https).
        dst: a directory: made if it is missing, filled if it is empty, else a clean tree that was fetched before.
        refspec: a branch, a tag, the whole name of a ref, or the whole id of a commit. A branch is checked out as
            one of the same name, all else without a branch.
        depth: how many commits of history to fetch; 0 and None are all. A `dst` with all its history keeps it.
        timeout: seconds until git is ended, with all its helpers; 0 and None are for ever.
        progress: called with what git says about how far it is, one line at a time.

    Returns:
        OK.

    Raises:
        UsageError: the call is wrong, or `dst` is no clean git tree.
        RunError: git is missing or failed.
        Timeout: the time was over.

    Whatever is raised, `dst` is as it was; one that was missing or empty is gone.
    """
    if not (src and dst and refspec):
        raise UsageError("source, refspec and destination must be specified")
    url = sources.source_url(src)
    tree = sources.destination(dst)
    sources.check_refspec(refspec)
    commits = int(sources.number("depth", depth))
    git = Git(tree, sources.number("timeout", timeout), progress)
    lock = _lock(git)
    try:
        fetching = _Fetching(git, src, url, refspec, commits)
        if fetching.is_new():
            fetching.clone()
        else:
            fetching.update()
    finally:
        os.close(lock)
    return codes.OK


def _lock(git: Git) -> int:
    """Make the tree if it is missing, and wait until nobody else fetches into it; return what holds the lock."""
    while True:
        try:
            os.makedirs(git.tree, exist_ok=True)
            lock = os.open(git.tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise UsageError(f"cannot use the destination {git.tree}: {exc.strerror}") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            git.check_time()
            time.sleep(_ASK_S)
            continue
        except OSError:
            pass  # a file system without locks
        if _is_at(lock, git.tree):
            return lock
        os.close(lock)


def _is_at(fd: int, path: str) -> bool:
    """Say whether a directory is still where it was opened; one that failed may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


class _Fetching:
    def __init__(self, git: Git, src: str, url: str, refspec: str, depth: int) -> None:
        self._git = git
        self._src = masked(src)
        # Stands there while a directory is filled: what has it was begun by one who was killed, and is nobody's.
        self._mark = os.path.join(git.tree, ".git", "vcsjob-fills")
        self._url = url
        self._refspec = refspec
        self._depth = depth

    def is_new(self) -> bool:
        """Say whether the tree is empty, or was left half filled; then it is emptied."""
        if os.path.exists(self._mark):
            _empty(self._git.tree)
        return not os.listdir(self._git.tree)

    def clone(self) -> None:
        """Fill an empty directory; it is gone if that fails."""
        try:
            self._git("init", "-q", "--template=")
            os.close(os.open(self._mark, os.O_WRONLY | os.O_CREAT))
            if masked(self._url) == self._url:  # no password of anybody's into a file
                self._git("remote", "add", "origin", self._url)
            depth = [f"--depth={self._depth}"] if self._depth else []
            self._check_out(*self._get(depth, f"failed to clone from {self._src}"))
            os.unlink(self._mark)
        except BaseException:
            _remove(self._git.tree)
            raise

    def update(self) -> None:
        """Bring a tree that was fetched before to the version, unless it has something of its own."""
        self._check_clean()
        if re.fullmatch(_COMMIT, self._refspec) and self._commit(self._refspec):
            self._change_to(self._refspec, None)
            return
        branch = self._branch()
        own = self._own_commit(branch) if branch else None
        is_shallow = self._git("rev-parse", "--is-shallow-repository") == "true"
        depth = [f"--depth={self._depth}" if self._depth else "--unshallow"] if is_shallow else []
        commit, branch = self._get(depth, f"failed to fetch {self._refspec} from {self._src}")
        # With the whole history at hand, a commit that the new version contains is nobody's own.
        if branch and own and self._git.says("merge-base", "--is-ancestor", own, commit) is None:
            raise UsageError(f"can't pull into a dirty tree: {self._git.tree}: {branch} has commits of its own")
        self._change_to(commit, branch)

    def _change_to(self, commit: str, branch: str | None) -> None:
        """Check out a version where another one is; if that fails, that other one is there again."""
        try:
            self._check_out(commit, branch)
        except BaseException:
            git = Git(self._git.tree, RESTORE_S)
            if git.says("reset", "--hard", "--quiet") is not None:
                git.says("clean", "-ffdq")  # it was clean before
            raise

    def _check_clean(self) -> None:
        try:
            found = self._git("--no-optional-locks", "status", "--porcelain", "--ignore-submodules=all")
        except RunError as exc:
            raise UsageError(f"destination is not a git tree: {self._git.tree}: {exc}") from exc
        if found:
            files = [line[3:] for line in found.split("\n")]
            more = ", ..." if len(files) > 3 else ""
            raise UsageError(f"can't pull into a dirty tree: {self._git.tree}: {', '.join(files[:3])}{more}")

    def _branch(self) -> str | None:
        """Return the branch that the version is, if it is one."""
        if self._refspec == "HEAD" or re.fullmatch(_COMMIT, self._refspec):
            return None
        name = self._refspec.removeprefix("refs/heads/")
        return None if name.startswith("refs/") else name

    def _own_commit(self, branch: str) -> str | None:
        """Return the head of a local branch, unless it is one that was fetched."""
        head = self._commit(f"refs/heads/{branch}")
        remote = f"refs/remotes/origin/{branch}"
        # The log of the ref has also what was fetched but, for a lack of time or space, not checked out.
        fetched = (self._git.says("log", "-g", "-1000", "--format=%H", remote, "--") or "").split()
        return None if head in {*fetched, self._commit(remote)} else head

    def _commit(self, name: str) -> str | None:
        return self._git.says("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")

    def _get(self, depth: list[str], failure: str) -> tuple[str, str | None]:
        """Fetch the version; return its commit, and its branch if it is one.

        Args:
            depth: what to tell git about the history.
            failure: how a message begins that says why nothing came.
        """
        for ref, branch in self._candidates():
            into = f"+{ref}:refs/remotes/origin/{branch}" if branch else f"+{ref}:{ref}" if _is_tag(ref) else ref
            try:
                self._fetch(*depth, "--", self._url, into)
                return self._git("rev-parse", "--verify", "FETCH_HEAD^{commit}"), branch
            except RunError as exc:
                out = exc.details["out"].lower()
                if "couldn't find remote ref" in out:
                    continue
                if "unadvertised object" in out:  # an old server, which gives heads of branches and tags only
                    self._get_all()
                    break
                raise RunError(exc.details["cmd"], exc.details["out"], f"{failure}: {exc}") from exc
        commit = self._commit(self._refspec) if re.fullmatch(r"[0-9a-f]{4,64}", self._refspec) else None
        if commit is None:
            reason = "there is no such branch, tag or commit"
            raise RunError("git fetch", "", f"failed to fetch {self._refspec} from {self._src}: {reason}")
        return commit, None

    def _candidates(self) -> list[tuple[str, str | None]]:
        """Return the refs that the version may be, each with its branch if it is one."""
        branch = self._branch()
        if branch is None:
            return [(self._refspec, None)]
        refs: list[tuple[str, str | None]] = [(f"refs/heads/{branch}", branch)]
        return refs if self._refspec.startswith("refs/") else [*refs, (f"refs/tags/{branch}", None)]

    def _get_all(self) -> None:
        is_shallow = self._git("rev-parse", "--is-shallow-repository") == "true"
        whole = ["--unshallow"] if is_shallow else []
        self._fetch(*whole, "--", self._url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")

    def _fetch(self, *arguments: str) -> None:
        if self._url.startswith("ssh:") and "GIT_SSH_COMMAND" not in os.environ:
            self._git.ssh = self._git.says("config", "--get", "core.sshCommand") or self._git.ssh
        self._git(
            "fetch", "--progress" if self._git.progress else "--quiet", "--no-tags", "--update-shallow", *arguments
        )

    def _check_out(self, commit: str, branch: str | None) -> None:
        how = ["--no-track", "-B", branch] if branch else ["--detach"]
        self._git("checkout", "--quiet", *how, commit, "--")


def _is_tag(ref: str) -> bool:
    return ref.startswith("refs/tags/")


def _empty(tree: str) -> None:
    import shutil  # noqa: PLC0415 - for failures alone

    with os.scandir(tree) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def _remove(tree: str) -> None:
    try:
        _empty(tree)
        os.rmdir(tree)
    except OSError:  # a mount point, say; empty is what it was before
        return
