"""What the bench scripts share: percentiles, a throw-away home, and the table they print."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

from ave.lab import config


@contextlib.contextmanager
def home() -> Iterator[str]:
    """Give a fresh home with the embedded defaults, named by AVE_HOME as long as it lives."""
    path = tempfile.mkdtemp(prefix="ave-bench-")
    config.bootstrap(path)
    os.environ["AVE_HOME"] = path
    try:
        yield path
    finally:
        os.environ.pop("AVE_HOME", None)
        shutil.rmtree(path, ignore_errors=True)


def percentile(values: list[int], share: float) -> float:
    """Return a percentile of nanoseconds, in microseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


def heading(text: str) -> None:
    """Begin a table."""
    print(f"\n{text}\n{'-' * len(text)}")


def row(what: str, figure: str, limit: str = "", ok: bool | None = None) -> bool:
    """Print one line; `ok` says whether a threshold holds."""
    verdict = "" if ok is None else "ok" if ok else "MISSED"
    print(f"  {what:<58} {figure:>16}  {limit:<22} {verdict}", flush=True)
    return ok is not False


def finish(results: list[bool]) -> None:
    """End the script; exit 1 if a threshold was missed."""
    sys.exit(0 if all(results) else 1)
