"""The program `vcsjob`: runs a command and ends with 0 if its result was OK, else with 1."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

NO = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `vcsjob` with these arguments (default: those of the process) and return its exit code: 0 or 1."""
    try:
        _prepare()
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _failed("interrupted")
    except BrokenPipeError:  # whoever reads has seen enough
        code = NO
        _discard_stdout()
    except OSError as exc:  # a full disk under stdout, say
        code = _failed(str(exc))
        _discard_stdout()
    return code


def _prepare() -> None:
    """See that there is a stdout and a stderr that take any character, and that whoever ends us ends the job, too."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the end
        getattr(sys, name).reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _run(arguments: list[str]) -> int:
    from getopt import GetoptError, getopt  # noqa: PLC0415 - under the eyes of main()

    from vcsjob.cli.options import COMMANDS, usage  # noqa: PLC0415

    try:
        options, rest = getopt(arguments, "hs:", ["help", "src-paths=", "version"])
    except GetoptError:
        return _say(usage(), NO)
    for option, value in options:
        code = _seek_in(value) if option in {"-s", "--src-paths"} else _about(option)
        if code is not None:
            return code
    if not rest:
        return _say(usage(), NO)
    if rest[0] not in COMMANDS:
        return _say(f"ERROR: No command executed: {rest[0]} is none of {', '.join(COMMANDS)}", NO)
    return _command(rest[0], rest[1:])


def _seek_in(paths: str) -> int | None:
    """Have modules sought in these directories first; return an exit code if that is the end."""
    for path in map(os.path.realpath, paths.split(",")):
        if not os.path.isdir(path):
            return _say(f"ERROR: No such directory: {path}", NO)
        sys.path.insert(0, path)
    return None


def _about(option: str) -> int:
    from ave import __version__  # noqa: PLC0415
    from vcsjob.cli.options import usage  # noqa: PLC0415

    return _say(f"vcsjob {__version__}" if option == "--version" else usage(), 0)


def _command(name: str, arguments: list[str]) -> int:
    from ave.exceptions import AveException  # noqa: PLC0415
    from vcsjob.cli import commands  # noqa: PLC0415
    from vcsjob.cli.options import help_of, parse  # noqa: PLC0415

    options = {"json": ""} if "--json" in arguments else {}
    try:
        options, others = parse(name, arguments)
        if "help" in options:
            return _say(help_of(name), 0)
        result = commands.RUN[name](options, others)
    except AveException as exc:
        # The original's way: what a fetch complains of is its output.
        stream = sys.stdout if name == "fetch" and "json" not in options else sys.stderr
        stream.write(f"ERROR: {commands.shown(str(exc))}\n")
        if "json" in options:
            commands.say_json(commands.FAILED[name], error=str(exc))
        return NO
    return 0 if result == 0 else NO


def _say(text: str, code: int) -> int:
    sys.stdout.write(f"{text}\n")
    return code


def _failed(reason: str) -> int:
    try:
        sys.stderr.write(f"ERROR: {reason}\n")
    except OSError:
        pass  # stderr is closed or full: the exit code says it
    return NO


def _discard_stdout() -> None:
    # What is still buffered would be tried again at exit, and be told as a traceback.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
