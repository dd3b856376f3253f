"""`ave config`, `ave doctor` and `ave completion`: setting up a host, and what is wrong with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from ave.lab.cli.context import Run, as_json_option, pass_run
from ave.lab.cli.doctor import examine
from ave.lab.cli.finding import OK, WRONG
from ave.lab.cli.output import Screen, write_json
from ave.lab.config import bootstrap, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.cli.finding import Finding

__all__ = ["COMMANDS"]

_STYLES = {OK: "green", WRONG: "bold red"}


@click.command()
@click.option("--bootstrap", "is_bootstrap", is_flag=True, help="Write files that work without any server.")
@click.option("--check", "is_check", is_flag=True, help="Tell all that is wrong with the files.")
@pass_run
def config(run: Run, is_bootstrap: bool, is_check: bool) -> None:
    """Write a first configuration, or check it.

    A file that is there is never changed.

    \b
    Examples:
      ave config --bootstrap
      ave config --check

    Something wrong: exit code 2.
    """
    if not is_bootstrap and not is_check:
        raise click.UsageError("say --bootstrap or --check.")
    if is_bootstrap:
        _bootstrap(run)
    if is_check:
        _check(run)


def _bootstrap(run: Run) -> None:
    screen = Screen()
    written = bootstrap(run.home)
    for path in written:
        screen.text(f"wrote {path}")
    if not written:
        screen.text("nothing to write: the files are there")


def _check(run: Run) -> None:
    screen = Screen()
    problems = check(run.home)
    run.code = 2 if problems else 0
    for problem in problems:
        screen.text(str(problem), "bold red")
    if not problems:
        screen.text("the configuration is right", "green")


@click.command()
@as_json_option
@pass_run
def doctor(run: Run, as_json: bool) -> None:
    """Tell what is wrong on this host.

    Looks at rights, configuration, spool, disk, file system, clock, services with their logs and units, and stores.
    Those are asked, and nothing is written there: whether it can be, ave-logd tells when it does.

    \b
    Examples:
      ave doctor
      ave doctor --json | jq 'select(.state != "ok")'

    Everything found comes with its mend. Something is wrong, beyond a warning: exit code 1.
    """
    findings = _judged(run)
    if not sys.stdout.isatty():
        findings = iter(list(findings))  # a reader that goes away early changes no exit code
    if as_json:
        write_json(finding._asdict() for finding in findings)
        return
    screen = Screen()
    for finding in findings:
        style = _STYLES.get(finding.state, "yellow")
        screen.beside(f"{finding.state:8} ", f"{finding.subject}: {finding.what}", style)
        if finding.mend:
            screen.beside("  mend: ", finding.mend, style)


def _judged(run: Run) -> Iterator[Finding]:
    """Give the findings as they come; the answer is no if one is wrong."""
    for finding in examine(run.home):
        if finding.state == WRONG:
            run.code = 1
        yield finding


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write what makes a shell complete ave.

    \b
    Examples:
      ave completion bash | install -D /dev/stdin ~/.local/share/bash-completion/completions/ave
      ave completion zsh > ~/.zfunc/_ave
      ave completion fish > ~/.config/fish/completions/ave.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell}.")
    click.echo(made(ctx.find_root().command, {}, "ave", "_AVE_COMPLETE").source())


COMMANDS = (config, doctor, completion)
