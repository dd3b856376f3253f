"""What the kernel tells of processes; light enough for every command."""

from __future__ import annotations

__all__ = ["start_of"]


def start_of(pid: int) -> int | None:
    """Return when a process began, in clock ticks since the boot; None if it does not run (proc(5), stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # the name in parentheses may hold anything
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
