"""What a service and systemd say to each other: sd_notify(3), the watchdog, and sockets that were opened beforehand."""

from __future__ import annotations

import os
import socket

__all__ = ["adopt", "given_sockets", "is_supervised", "passed", "tell", "watchdog_s"]

#: The first descriptor that is passed (sd_listen_fds(3)).
FIRST = 3


def is_supervised() -> bool:
    """Tell whether the service manager started this process and wants to hear of it."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def tell(*facts: str) -> None:
    """Tell the service manager, if there is one: `tell("READY=1")`; never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
            sock.send("\n".join(facts).encode())
    except OSError:
        pass  # it is its own business whether it listens


def watchdog_s() -> float | None:
    """Return how often the watchdog wants to hear of us, None if there is none: half the time after which it acts."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 2e6


def passed() -> dict[str, str]:
    """Return what the next process has to know to go on talking with the manager; for `adopt`."""
    return {name: os.environ[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in os.environ}


def adopt(known: dict[str, str]) -> None:
    """Talk with the manager from now on, in the place of the process that gave what it knew."""
    os.environ.update(known)
    if known:
        os.environ.pop("WATCHDOG_PID", None)


def given_sockets() -> dict[str, socket.socket]:
    """Return the listening sockets that the service manager opened for this process, by name; once."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    found = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        os.set_inheritable(FIRST + number, False)
        found[name or str(number)] = socket.socket(fileno=FIRST + number)
    return found
