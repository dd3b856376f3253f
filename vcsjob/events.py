"""The start and the end of a run, told under its GUID. A spool that cannot take them never stops the job."""

from __future__ import annotations

import os

from ave import spool
from ave.record import GUID_MIN
from vcsjob.ci import started_by
from vcsjob.joblog import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Events"]


class Events:
    """Emits the `event` records of one run; without a GUID it emits nothing."""

    def __init__(self, guid: str | None) -> None:
        self._guid = guid or ""
        self._told = False
        if self._guid and len(self._guid) < GUID_MIN:
            self._guid = ""
            tell(f"no records are kept of this run: its guid {guid!r} has fewer than {GUID_MIN} characters")

    def emit(self, name: str, **facts: Any) -> None:
        """Append the event `name` with `facts` as its body; the first failure is told on stderr."""
        if not self._guid:
            return
        if name == "job.start":
            facts |= started_by(os.environ)
        try:
            spool.append("event", self._guid, {"name": name, **facts}, source="vcsjob")
        except Exception as exc:  # noqa: BLE001 - the border to the job: nothing here may keep it from running
            if not self._told:
                self._told = True
                tell(f"{name} of {self._guid} is not recorded: {exc}")
