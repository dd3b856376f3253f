"""What this process remembers from one use of AVE to the next, forgotten: as if the next one were the first."""

from __future__ import annotations

from ave import home as homes
from ave import panotti
from ave.spool import writer


def forget():
    """Close the spool, and forget it, every setting that was read and what stderr was told once."""
    writer.close()
    writer._emitters.clear()
    panotti._told.clear()
    panotti._enabled.clear()
    homes.forget()
