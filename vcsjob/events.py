"""What is told of a run under its GUID: its start, its end, its output. A spool that cannot take it stops no job."""

from __future__ import annotations

from functools import partial

from ave import spool
from ave.record import GUID_MIN
from vcsjob import console
from vcsjob.joblog import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Events"]


class Events:
    """Emits the records of one run; without a GUID it emits nothing."""

    def __init__(self, guid: str | None) -> None:
        self._guid = guid or ""
        self._told = False
        if self._guid and len(self._guid) < GUID_MIN:
            self._guid = ""
            tell(f"no records are kept of this run: its guid {guid!r} has fewer than {GUID_MIN} characters")

    def emit(self, name: str, facts: dict[str, Any], at: int | None = None) -> None:
        """Append the event `name` with `facts` in its body; the first failure is told on stderr.

        `at`: nanoseconds since the epoch; now, if left out.
        """
        self._append(partial(spool.append, time=at), "event", {"name": name, **facts}, name)

    def console(self, path: str | None) -> console.Console | None:
        """Return what makes records of the output that goes to `path`; None where nobody wants them."""
        lines_per_s = console.rate() if self._guid else 0
        return console.Console(path, lines_per_s, self._lines) if lines_per_s else None

    def _lines(self, bodies: list[dict[str, Any]]) -> None:
        self._append(spool.append_all, "log", bodies, "output")

    def _append(self, append: Callable[..., str], kind: str, what: Any, name: str) -> None:
        if not self._guid:
            return
        try:
            append(kind, self._guid, what, source="vcsjob")
        except Exception as exc:  # noqa: BLE001 - the border to the job: nothing here may keep it from running
            if not self._told:
                self._told = True
                tell(f"{name} of {self._guid} is not recorded: {exc}")
