"""The command line that all services have, and what it does: start, stop, restart, status, hickup, foreground."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from datetime import timedelta
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ave import __version__
from ave import home as homes
from ave.exceptions import (
    AveException,
    ConfigError,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRefused,
    ConnectionTimeout,
    ProtocolError,
    UsageError,
)
from ave.lab.daemon import notify, pidfile, user
from ave.lab.daemon.channel import ask
from ave.lab.daemon.launch import log_to_stderr
from ave.lab.text import safe, safe_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ave.lab.daemon.service import Service

__all__ = ["DEAD", "NO_ACTION", "RUNNING", "STOPPED", "UNKNOWN", "hickup", "run", "state", "stop"]

#: What `--status` exits with: those of the Linux Standard Base for init scripts.
RUNNING, DEAD, STOPPED, UNKNOWN = 0, 1, 3, 4

#: What the program exits with when it is told nothing and does nothing by itself.
NO_ACTION = 3

ACTIONS = {
    "start": "become a daemon, and return when it answers; exit 1 if one serves already",
    "stop": "end the one that serves",
    "restart": "replace it without a gap; start if none serves",
    "status": "tell how it is; exit 0 it serves, 1 it died, 3 it does not serve, 4 it does not answer",
    "hickup": "have it write what it is doing at this moment into .ave/hickup",
    "foreground": "serve in the foreground, until SIGTERM or Ctrl-C",
}

#: Seconds after which SIGKILL follows SIGTERM, and which a process then has to be gone.
GRACE_S = 10.0
KILLED_S = 10.0

#: The longest grace, in seconds; a day.
GRACE_MAX_S = 86400.0

#: Seconds within which a service answers.
ANSWER_S = 5.0

#: Seconds for which a service that passes on, or has just begun, may have no name.
NAMELESS_S = 5.0


def run(kind: type[Service], argv: Sequence[str], *, about: str, examples: str = "") -> int:
    """Be the program of a service; returns its exit code. 1: the answer is no; 2: usage or configuration."""
    parser = _parser(kind, about, examples)
    options = parser.parse_args(argv)
    actions = [action for action in ACTIONS if getattr(options, action)]
    action = actions[0] if actions else kind.default_action or ""
    if fault := _fault(actions, action, options):
        parser.print_usage(sys.stderr)
        return _failed(f"ERROR: {fault}", 2 if action else NO_ACTION)
    try:
        if action in {"start", "restart", "foreground"}:
            user.become(kind.name)
        return _ACTIONS[action](kind.made(homes.find(options.home), options), options)
    except (ConfigError, UsageError) as error:
        return _failed(f"{kind.name}: {error}", 2)
    except AveException as error:
        return _failed(f"{kind.name}: {error}", 1)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _failed(f"{kind.name}: {what}; `ave doctor` tells the mend", 1)


def _fault(actions: Sequence[str], action: str, options: argparse.Namespace) -> str:
    """Return what is wrong with a command line that parses; empty if nothing is."""
    if len(actions) > 1:
        return f"cannot combine --{actions[0]} and --{actions[1]}"
    if not action:
        return "no action specified"
    return "--json goes with --status" if options.json and action != "status" else ""


def stop(service: Service, grace_s: float = GRACE_S) -> list[int]:
    """End whoever serves: by SIGTERM, and by SIGKILL after `grace_s` seconds.

    Returns:
        The pids of those that were ended; none if nobody served.

    Raises:
        UsageError: `grace_s` is no time from 0 to a day.
        AveException: one serves that cannot be named or does not end.
    """
    if not 0 <= grace_s <= GRACE_MAX_S:
        raise UsageError(f"the grace is no number of seconds from 0 to {GRACE_MAX_S:g}: {grace_s:g}")
    path, ended = service.path("pid"), []
    deadline = time.monotonic() + NAMELESS_S
    # one that takes over at this moment serves when the first has ended
    while pidfile.is_locked(path):
        process = pidfile.serving(path)
        if process is None:
            if time.monotonic() >= deadline:
                raise AveException(f"{path} is locked by a process that it does not name; find it by: fuser {path}")
            time.sleep(pidfile.RETRY_S)
            continue
        with process:
            process.send(signal.SIGTERM)
            if not process.ends_within(grace_s):
                process.send(signal.SIGKILL)
                if not process.ends_within(KILLED_S):
                    raise AveException(f"process {process.pid} does not end, not even by SIGKILL")
            ended.append(process.pid)
        deadline = time.monotonic() + NAMELESS_S
    return ended


def state(service: Service, seconds: float = ANSWER_S) -> tuple[int, dict[str, Any]]:
    """Ask a service how it is; return the exit code of `--status`, and what it says."""
    said: dict[str, Any] = {"service": service.name, "state": "stopped", "home": service.home}
    path = service.path("pid")
    if not pidfile.is_locked(path):
        if os.path.lexists(path):
            return DEAD, {**said, "state": "dead"}
        return STOPPED, said
    try:
        return RUNNING, ask(service.path("sock"), "status", seconds)
    except (ConnectionFailed, ProtocolError) as error:
        process = pidfile.serving(path)
        pid = process.pid if process else None
        if process:
            process.close()
        return UNKNOWN, {**said, "state": "unknown", "pid": pid, "error": str(error)}


def hickup(service: Service) -> str:
    """Have a service write a hickup; returns its path. AveException: it does not serve, not answer, or cannot."""
    process = pidfile.serving(service.path("pid"))
    if process is None:
        raise AveException(f"{service.name} does not run")
    with process:
        try:
            return str(ask(service.path("sock"), "hickup", 30.0)["path"])
        except (ConnectionRefused, ConnectionClosed, ConnectionTimeout, ProtocolError) as error:
            process.send(signal.SIGUSR1)
            where = homes.ave(service.home, "hickup")
            raise AveException(f"{error}; it was sent SIGUSR1, look into {where}") from error


# The actions


def _start(service: Service, options: argparse.Namespace) -> int:
    if options.force:
        stop(service, options.grace)
    _say(f"{service.name} serves {service.home} (pid {service.start()})")
    return 0


def _restart(service: Service, options: argparse.Namespace) -> int:
    code, said = state(service)
    if said.get("supervised") and not notify.is_supervised():
        raise AveException(f"the service manager runs it: systemctl reload {service.name}")
    if code == UNKNOWN and options.force:
        stop(service, options.grace)
    _say(f"{service.name} serves {service.home} (pid {service.start(take_over=True)})")
    return 0


def _stop(service: Service, options: argparse.Namespace) -> int:
    ended = stop(service, options.grace)
    _say(f"{service.name} has ended (pid {ended[0]})" if ended else f"{service.name} does not run")
    return 0


def _status(service: Service, options: argparse.Namespace) -> int:
    code, said = state(service)
    _say(json.dumps(said) if options.json else _described(said))
    return code


def _hickup(service: Service, _options: argparse.Namespace) -> int:
    _say(hickup(service))
    return 0


def _foreground(service: Service, options: argparse.Namespace) -> int:
    if options.force:
        stop(service, options.grace)
    log_to_stderr(service.name)
    return service.run()


_ACTIONS = {
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "status": _status,
    "hickup": _hickup,
    "foreground": _foreground,
}


def _described(said: dict[str, Any]) -> str:
    """Return a status as lines for a person."""
    name, rest = said["service"], {key: value for key, value in said.items() if key not in {"service", "state"}}
    if said["state"] != "running":
        words = {"stopped": "does not run", "dead": "does not run: it died", "unknown": "runs, but does not answer"}
        pid = f" (pid {said['pid']})" if said.get("pid") else ""
        return f"{name} {words[said['state']]}{pid}"
    pid, uptime, version = rest.pop("pid"), timedelta(seconds=int(rest.pop("uptime"))), rest.pop("version")
    lines = [f"{name} {version} runs for {uptime} (pid {pid})"]
    for key, value in rest.items():
        shown = [f"{what} {how}" for what, how in value.items()] if isinstance(value, dict) else [value]
        told = [part for one in shown if one not in {"", None, False} for part in _folded(str(one))]
        heads = [f"{key}:", *[""] * len(told)]
        lines += [f"  {head:12} {part}" for head, part in zip(heads, told, strict=False)]
    return "\n".join(lines)


def _folded(text: str) -> list[str]:
    """Return a text, harmless, as lines that have room beside their head in 80 columns; no path is cut."""
    return wrap(safe_line(text), 65, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


# The command line


def _parser(kind: type[Service], about: str, examples: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=kind.name, description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for action, help_ in ACTIONS.items():
        also = "; what it does when told nothing" if action == kind.default_action else ""
        parser.add_argument(f"--{action}", action="store_true", help=help_ + also)
    parser.add_argument("--force", action="store_true", help="with --start: end the one that serves first")
    parser.add_argument(
        "--grace",
        type=float,
        default=GRACE_S,
        metavar="S",
        help="seconds from SIGTERM to SIGKILL (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="with --status: one JSON object")
    parser.add_argument(
        "--home", metavar="DIR", help="the directory that holds .ave (default: $AVE_HOME, /etc/ave/user, ~)"
    )
    parser.add_argument("--version", action="version", version=f"{kind.name} {__version__}")
    kind.add_options(parser)
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"{safe(message)}\n")
    return code
