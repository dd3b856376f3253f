"""The program as a whole: its commands, and how every error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from ave import __version__
from ave.exceptions import AveException, ConfigError, UsageError
from ave.lab.cli import measurements, proof, reading, services, setup, spool
from ave.lab.cli.context import Group, No, Run, pass_run
from ave.lab.cli.output import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ave", "run"]

NO, USAGE, INTERRUPTED = 1, 2, 130


class _Program(Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # whoever reads has seen enough; click would make an error of it


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--home", metavar="DIR", help="The directory that holds .ave. Default: $AVE_HOME, /etc/ave/user, ~.")
@click.version_option(__version__, prog_name="ave", message="%(prog)s %(version)s")
@pass_run
def ave(run: Run, home: str | None) -> None:
    """Everything that happened for one GUID, kept, found and shown together.

    \b
    Examples:
      ave show 20261122-nightly-17      the story of a run
      ave find --result failure --since 2h
      ave audit 20261122-nightly-17     prove that nothing of it is lost
      ave doctor                        what is wrong here, and the mend

    Exit codes: 0 yes; 1 the answer is no: not found, not balanced, time-out, something to mend; 2 the command line
    or the configuration is wrong.
    """
    run.home_option = home


_GROUPS = (reading, measurements, proof, spool, services, setup)
for _command in (command for group in _GROUPS for command in group.COMMANDS):
    ave.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; errors are told on stderr, one line each."""
    _open_streams()
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError:
        # told already; what is still buffered would be tried again at exit, and be told as a traceback
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    this = Run()
    try:
        code = ave.main(arguments, "ave", standalone_mode=False, obj=this)
        return code if isinstance(code, int) else this.code
    except click.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "ave"
        return _failed(f"{error.format_message()} `{path} --help` tells more.", USAGE)
    except (ConfigError, UsageError, click.ClickException) as error:
        return _failed(str(error), USAGE)
    except (No, AveException) as error:
        return _failed(str(error), NO)
    except OSError as error:
        return _failed(_reason(error), NO)


def _open_streams() -> None:
    """See that there is a stdout and a stderr, and that no character is too much for them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the end
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _failed(message: str, code: int) -> int:
    try:
        tell(message)
    except OSError:
        pass  # stderr is closed or full: the exit code says it
    return code


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
