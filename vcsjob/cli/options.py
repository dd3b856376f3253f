"""What can be typed: one table of commands and options, which help, parser and completion are made of."""

from __future__ import annotations

from getopt import GetoptError, gnu_getopt

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "Command", "Option", "help_of", "parse", "seconds", "usage"]


class Option:
    """One option of a command.

    Attributes:
        name: its long form, without dashes.
        short: its short form, a letter or empty.
        value: what its argument is called; empty for an option without one.
        kind: what a shell offers for the argument: `directory`, `file`, `variable`, or nothing.
        text: what it is for.
        required: whether the command needs it.
    """

    def __init__(self, name: str, short: str, value: str, kind: str, text: str, *, required: bool = False) -> None:
        self.name = name
        self.short = short
        self.value = value
        self.kind = kind
        self.text = text
        self.required = required

    @property
    def forms(self) -> list[str]:
        """How it is typed: `["-j", "--jobs"]`."""
        return [*([f"-{self.short}"] if self.short else []), f"--{self.name}"]


class Command:
    """One command: what it does in a line, its options, and more that its help says."""

    def __init__(self, summary: str, options: Sequence[Option], more: str) -> None:
        self.summary = summary
        self.options = [*options, Option("help", "h", "", "", "show this and exit")]
        self.more = more


#: Columns of a terminal that the help fills at most.
WIDTH = 79

_JSON = Option("json", "", "", "", "the outcome to stdout, one JSON object a line")
_JOBS = Option("jobs", "j", "path", "directory", "the job tree, a directory with a file .vcsjob", required=True)
_TAGS = Option("tags", "t", "tags", "", "only jobs that have all these tags: SMOKE,NIGHTLY")

COMMANDS = {
    "fetch": Command(
        "bring a version of a job tree from git into a directory",
        [
            Option("source", "s", "url", "directory", "a local repository, or a URL: git, ssh, https", required=True),
            Option("destination", "d", "path", "directory", "missing, empty or fetched before", required=True),
            Option("refspec", "r", "refspec", "", "a branch, a tag, or the whole id of a commit", required=True),
            Option("timeout", "t", "seconds", "", "the longest that it may take, 0 for ever (600)"),
            Option("guid", "", "guid", "", "the run it is for; its records tell the commit"),
            _JSON,
        ],
        """\
Examples:
    vcsjob fetch -s ssh://git@host/jobs -d jobs -r master
    vcsjob fetch -s /srv/git/jobs -d jobs -r v1.4 -t 60

Nobody is asked for a password: keys come from the ssh agent, others from git's
credential helpers. A destination that was changed is left alone.

Exit status: 0 fetched; 1 not, and the line that begins with ERROR says why.
""",
    ),
    "execute": Command(
        "run the jobs of a tree, one after the other",
        [
            _JOBS,
            _TAGS,
            Option("env", "e", "names", "variable", "variables that they may see, besides LANG: PATH,HOME"),
            Option("guid", "", "guid", "", "their run; without it, no records are kept"),
            Option("log", "", "file", "file", "where their output goes, emptied first (stderr)"),
            Option("timeout", "", "seconds", "", "what each may take; its own duration holds, too"),
            _JSON,
        ],
        """\
Examples:
    vcsjob execute -j jobs -t SMOKE -e PATH,HOME
    vcsjob execute -j jobs --guid "nightly-$(date +%F)" --log job.log
    vcsjob execute -j jobs --log job.log --json | jq 'select(.status != 0)'

On a terminal, a line tells the job, its time and the lines it has written.

Exit status: 0 jobs were run, however they ended (--json tells); 1 none was, or
Ctrl-C ended one.
""",
    ),
    "list": Command(
        "list the jobs of a tree",
        [_JOBS, _TAGS, Option("long", "l", "", "", "with tags, duration and banner"), _JSON],
        """\
Examples:
    vcsjob list -j jobs
    vcsjob list -j jobs -t SMOKE --long
    vcsjob list -j jobs --json | jq -r '.tags[]' | sort -u

Exit status: 0 listed; 1 not, and the line that begins with ERROR says why.
""",
    ),
    "completion": Command(
        "write what makes bash, zsh or fish complete vcsjob",
        [],
        """\
Examples:
    vcsjob completion bash > ~/.local/share/bash-completion/completions/vcsjob
    vcsjob completion zsh > ~/.zfunc/_vcsjob
    vcsjob completion fish > ~/.config/fish/completions/vcsjob.fish
""",
    ),
}


def usage() -> str:
    """Return the help of the program. Its second line is the original's."""
    return f"""
Syntax:
    vcsjob [-s|--src-paths <paths>] <command> ...

{"".join(_syntax(name, short=True) for name in COMMANDS)}
Commands:
{"".join(f"    {name:12}{command.summary}{chr(10)}" for name, command in COMMANDS.items())}
Options:
    -s, --src-paths <paths>  where vcsjob's own modules are sought first
    -h, --help               show this and exit; after a command, of that
    --version                show the version and exit

Exit status: 0 or 1; what a job ended with is in the output of execute --json.
"""


def help_of(name: str) -> str:
    """Return the help of a command."""
    command = COMMANDS[name]
    rows = [(", ".join(option.forms) + _argument(option), option) for option in command.options]
    width = max(len(left) for left, _ in rows)
    options = "".join(f"    {left:{width}}  {option.text}\n" for left, option in rows)
    return f"\nSyntax:\n{_syntax(name)}\n{command.summary.capitalize()}.\n\nOptions:\n{options}\n{command.more}"


def _syntax(name: str, *, short: bool = False) -> str:
    """Return one or more lines that tell how a command is typed."""
    lines = [f"    vcsjob {name}"]
    parts = ["bash|zsh|fish"] if name == "completion" else []
    for option in COMMANDS[name].options[:-1]:
        part = (option.forms[0] if short else "|".join(option.forms)) + _argument(option)
        parts.append(part if option.required else f"[{part}]")
    for part in parts:
        if len(f"{lines[-1]} {part}") > WIDTH:
            lines.append(" " * 7)
        lines[-1] += f" {part}"
    return "".join(f"{line}\n" for line in lines)


def _argument(option: Option) -> str:
    return f" <{option.value}>" if option.value else ""


def parse(name: str, arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options of a command by their long names, `""` for one without an argument, and what is no option.

    Raises:
        UsageError: an option is unknown or lacks its argument; the message is that of getopt.
    """
    options = COMMANDS[name].options
    shorts = "".join(option.short + (":" if option.value else "") for option in options if option.short)
    longs = [option.name + ("=" if option.value else "") for option in options]
    try:
        found, others = gnu_getopt(list(arguments), shorts, longs)
    except GetoptError as exc:
        raise UsageError(str(exc)) from exc
    names = {form: option.name for option in options for form in option.forms}
    return {names[form]: value for form, value in found}, others


def seconds(text: str) -> float:
    """Return the argument of `--timeout` as a number.

    Raises:
        UsageError: it is no number from 0 on.
    """
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not 0 <= found < 1e9:
        raise UsageError(f"timeout is not a number of seconds: {text}")
    return found
