"""What can be wrong with the services of a home: that they do not run, their logs, their units."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from ave import __version__
from ave import home as homes
from ave.lab.cli import services
from ave.lab.cli.finding import OK, WARNING, WRONG, Finding
from ave.lab.cli.output import size
from ave.lab.config import load
from ave.lab.daemon import command, logfiles
from ave.lab.daemon.quota import Quota
from ave.lab.logd.program import LogdService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.daemon import Service

__all__ = ["UNIT_DIRECTORIES", "failures", "logs", "not_running", "running", "units"]

#: Where systemd looks for units that packages and administrators install (systemd.unit(5)).
UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")

#: What a service is for, said when it does not run.
_LACKS = {"ave-logd": "nothing is brought to the stores"}


def running(home: str) -> Iterator[Finding]:
    """Look whether every service runs, answers, and is of the version that is installed."""
    for service in services.services(home):
        yield _running(service)


def _running(service: Service) -> Finding:
    code, said = command.state(service)
    name = service.name
    if code == command.UNKNOWN:
        mend = f"`{name} --hickup` may tell what it does; then {name} --restart --force"
        return Finding(WRONG, name, f"runs, but does not answer: {said['error']}", mend)
    if code != command.RUNNING:
        return Finding(WRONG, name, _is_missed(service, code), f"start it: {name} --start")
    if said["version"] != __version__:
        what = f"version {said['version']} runs, {__version__} is installed"
        return Finding(WARNING, name, what, f"{name} --restart")
    if outdated := services.outdated(service.home, said):
        return Finding(WRONG, name, outdated, f"{name} --restart, or SIGHUP: kill -HUP {said['pid']}")
    return Finding(OK, name, f"runs (pid {said['pid']})")


def not_running(service: Service) -> str:
    """Return what it means that a service does not run, and the cure; empty if it runs, or does not answer."""
    code = command.state(service)[0]
    if code in {command.RUNNING, command.UNKNOWN}:
        return ""
    return f"{service.name} {_is_missed(service, code)}; start it: {service.name} --start"


def failures(home: str) -> dict[str, str]:
    """Return per store why a running ave-logd can store nothing there now; nothing if it does not run or answer."""
    return services.failures(command.state(LogdService(home))[1].get("stores", {}))


def _is_missed(service: Service, code: int) -> str:
    died = " (it died)" if code == command.DEAD else ""
    lack = f", so {_LACKS[service.name]}" if service.name in _LACKS else ""
    return f"does not run{died}{lack}"


def logs(home: str) -> Iterator[Finding]:
    """Look whether the services can write their logs, who else may read them, and how much there is."""
    directory = homes.ave(home, "logs")
    if not os.path.isdir(directory):
        return
    mode = stat.S_IMODE(os.stat(directory).st_mode)
    if mode & 0o007:
        yield Finding(WRONG, "logs", f"{directory} is open to others (mode {mode:03o})", f"chmod o= {directory}")
    if not os.access(directory, os.W_OK):
        yield Finding(WRONG, "logs", f"{directory} is not writable", "see its owner and mode, and how it is mounted")
    quota = Quota(home, load("logd", home).logs_quota_bytes).limit
    total = logfiles.closed(home)[1]
    if total > quota:
        what = f"{size(total)} are in {directory}, over the quota of {size(quota)}"
        yield Finding(WARNING, "logs", what, "start the services, they remove old logs; or raise logs_quota_bytes")


def units(_home: str) -> Iterator[Finding]:
    """Look whether the units of services that are installed name programs that are there."""
    for directory in UNIT_DIRECTORIES:
        for entry in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            if re.fullmatch(r"ave-[\w-]+\.service", entry):
                yield from _unit(os.path.join(directory, entry))


def _unit(path: str) -> Iterator[Finding]:
    with open(path, encoding="utf-8", errors="replace") as file:
        programs = re.findall(r"^Exec\w+=[-@:+!]*(\S+)", file.read(), re.MULTILINE)
    for program in dict.fromkeys(programs):
        if not os.access(program, os.X_OK):
            mend = f"name the installed program there (systemctl edit {os.path.basename(path)})"
            yield Finding(WRONG, "units", f"{path}: there is no program {program}", mend)
