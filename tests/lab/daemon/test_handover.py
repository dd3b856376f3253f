"""The old process's part of a restart, where it meets what the process does besides."""

from __future__ import annotations

from types import SimpleNamespace

from ave.exceptions import AveException
from ave.lab.daemon.handover import give


class Look:
    """The lock while the process looks at its files: free for whoever waits, and for nobody else."""

    def acquire(self, blocking=True, timeout=-1):
        return blocking and timeout > 0

    def release(self):
        pass


class Talk:
    """The other process, which only listens."""

    def __init__(self):
        self.said = []

    def say(self, word, *_descriptors):
        self.said.append(word)


def stopped():
    raise AveException("as far as this")


def test_a_restart_waits_for_a_look_at_what_was_removed():
    talk = Talk()
    give(SimpleNamespace(handing=Look(), descriptors=stopped, is_ending=True), talk)
    assert talk.said == [{"error": "the process that serves does not hand over: as far as this"}]
