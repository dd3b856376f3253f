"""A file system of its own, small enough to be filled."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

import pytest


class SmallDisk:
    """What is mounted at `path`; `fill` leaves no byte of room, `free` gives it back."""

    def __init__(self, path):
        self.path = path
        self._filler = path / "filler"

    def fill(self):
        with open(self._filler, "ab", buffering=0) as file:
            for block in (1 << 20, 4096, 1):
                try:
                    while file.write(b"x" * block) == block:
                        pass
                except OSError:
                    continue

    def free(self):
        self._filler.unlink()


@contextmanager
def mounted(path, mib):
    """Lend a disk of so many MiB at a directory; skip where that cannot be."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", path]).returncode:
        pytest.skip("needs root and the right to mount")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
