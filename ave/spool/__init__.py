"""The spool: what a job says is on this host's disk before the call returns.

The append side is here: `append`, `append_all`, `append_later`, `flush`, `close`. Three words say how safe a record is:

queued: the write returned; it survives the death of the process.
synced: fdatasync returned; it survives a power cut.
stored: every required store of its kind acknowledged it.

The policy (`"spool": {"policy": ...}` in panotti.json) says when `queued` becomes `synced`: `host`, ave-logd
syncs growing segments every 500 ms; `class`, the emitter itself syncs each verdict and exception; `always`, it
syncs each record; `none`, the kernel does when it likes.
"""

from ave.spool.bodies import is_ready, whole
from ave.spool.company import WAITING_S
from ave.spool.writer import QUEUED, SYNCED, append, append_all, append_later, close, flush

__all__ = [
    "QUEUED",
    "SYNCED",
    "WAITING_S",
    "append",
    "append_all",
    "append_later",
    "close",
    "flush",
    "is_ready",
    "whole",
]
