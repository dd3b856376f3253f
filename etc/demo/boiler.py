"""A service of the demo's lab: what a test job calls, in a process of its own.

The GUID comes along with each call. So what the service shouts, and what fails in it, is part of the job's story.
"""

import json
from pathlib import Path

from ave.network import Control
from ave.panotti import shout

CALIBRATION = Path(__file__).parent / "calibration"


class Boiler(Control):
    """Heats water, in theory."""

    @Control.rpc
    def heat(self, degrees: float) -> str:
        shout(None, {"title": "Boiler heats", "degrees": degrees})
        return "warm" if degrees > 30 else "cold"

    @Control.rpc
    def calibrate(self, sensor: str) -> dict[str, float]:
        return json.loads((CALIBRATION / f"{sensor}.json").read_text(encoding="utf-8"))
