"""The framework of services: how they start, answer, hand over and end, where they write, what can be asked of them.

See doc/howto/services for running them, doc/reference/services for writing one.
"""

from ave.lab.daemon.command import run
from ave.lab.daemon.served import ControlService
from ave.lab.daemon.service import Service

__all__ = ["ControlService", "Service", "run"]
