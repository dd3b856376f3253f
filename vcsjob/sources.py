"""What may be fetched, and where to. Nothing here is trusted to be what it looks like.

A URL, a path or a version is never an option of git, names no protocol but git's own, and no other ref than the one
asked for.
"""

from __future__ import annotations

import os
import re

from ave.exceptions import UsageError
from vcsjob.git import PROTOCOLS

__all__ = ["check_refspec", "destination", "number", "source_url"]

#: What no name of a branch or tag may have (git-check-ref-format(1)), and what would make it more than a name.
_NO_NAME = r"^[-+/]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|/$"


def source_url(src: str) -> str:
    """Return the URL to give to git for a local repository or a URL.

    Raises:
        UsageError: it is no repository, or not to be reached by one of `PROTOCOLS`, or no URL to give to git.
    """
    scheme, path = _split("source", src)
    if scheme == "file":
        path = os.path.realpath(path)
        if not _is_repository(path):
            raise UsageError("supported protocols: git" + _hint(src))
        return f"file://{path.replace('%', '%25')}"
    if scheme not in PROTOCOLS:
        raise UsageError(f"supported protocols: git (over {', '.join(PROTOCOLS)}; not {scheme!r})")
    host = path.partition("/")[0]
    if not host or host.startswith("-") or "@-" in host or re.search(r"[\x00-\x20\x7f]", path):
        raise UsageError(f"source is not a URL that git may be given: {src!r}")
    return src


def _hint(src: str) -> str:
    """Return the cure for one who writes an address as scp does."""
    found = re.fullmatch(r"((?:[\w.]+@)?[\w.]+):([^:].*)", src)
    return f" (write {src} as ssh://{found[1]}/{found[2]})" if found else ""


def _is_repository(path: str) -> bool:
    # Whether it is sound, git says when it is asked for a version.
    bare = os.path.isfile(os.path.join(path, "HEAD")) and os.path.isdir(os.path.join(path, "objects"))
    return bare or os.path.exists(os.path.join(path, ".git"))


def destination(dst: str) -> str:
    """Return the real path of a directory to fetch into, be it missing, empty or a git tree.

    Raises:
        UsageError: it is none of these.
    """
    scheme, path = _split("destination", dst)
    if scheme != "file":
        raise UsageError("destination must be on a locally mounted file system")
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise UsageError(f"destination is not a directory: {path}")
    if os.path.isdir(path) and os.listdir(path) and not os.path.lexists(os.path.join(path, ".git")):
        raise UsageError(f"destination is not a git tree: {path}")
    return path


def _split(name: str, url: str) -> tuple[str, str]:
    if not isinstance(url, str) or "\0" in url:
        raise UsageError(f"{name} is neither a path nor a URL: {url!r}")
    scheme, found, path = url.partition("://")
    return (scheme, path) if found else ("file", url)


def check_refspec(refspec: str) -> None:
    """Raise UsageError if `refspec` is more than the name of one version."""
    if not isinstance(refspec, str) or re.search(_NO_NAME, refspec):
        raise UsageError(f"refspec is not the name of a branch or tag nor the id of a commit: {refspec!r}")


def number(name: str, value: object) -> float:
    """Return a number from 0 on, 0 for None; raise UsageError if `value` is none."""
    try:
        found = float(value or 0)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = -1
    if not 0 <= found < 1e9:
        raise UsageError(f"{name} is not a number from 0 on: {value!r}")
    return found
