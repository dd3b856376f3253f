"""Scripts that make a shell complete `vcsjob`, made from the table of options."""

from __future__ import annotations

from vcsjob.cli.options import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vcsjob.cli.options import Option

__all__ = ["SHELLS", "script"]

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_vcsjob() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" command="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in {commands}) command="$word"; break ;; esac
    done
    [ "$cur" = "=" ] && cur=""
    [ "$prev" = "=" ] && prev="${{COMP_WORDS[COMP_CWORD-2]}}"
    COMPREPLY=()
    case "$command $prev" in
{values}    esac
    case "$command" in
{options}    esac
}}
complete -F _vcsjob vcsjob
"""

#: How each shell offers the argument of an option, by kind.
_BASH_KINDS = {
    "directory": 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur")',
    "file": 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")',
    "variable": 'mapfile -t COMPREPLY < <(compgen -e -- "$cur")',
    "": ":",
}
_ZSH_KINDS = {"directory": "_files -/", "file": "_files", "variable": "_parameters -g '*export*'", "": " "}
_FISH_KINDS = {
    "directory": "-x -a '(__fish_complete_directories)'",
    "file": "-r -F",
    "variable": "-x -a '(set --names --export)'",
    "": "-x",
}

_ZSH = """\
#compdef vcsjob

_vcsjob() {{
    local curcontext="$curcontext" state line
    typeset -A opt_args
    local -a commands=(
{commands}    )
    _arguments -C '(-s --src-paths)'{{-s,--src-paths}}'[seek vcsjob there]:directory:_files -/' \\
        '(-h --help)'{{-h,--help}}'[show help]' '--version[show the version]' \\
        '1:command:->command' '*::argument:->argument'
    case $state in
    command) _describe command commands ;;
    argument)
        case $line[1] in
{options}        esac ;;
    esac
}}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _vcsjob "$@"
else
    compdef _vcsjob vcsjob
fi
"""


def script(shell: str) -> str:
    """Return the script for one of `SHELLS`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _bash() -> str:
    values, options = "", ""
    for name, command in COMMANDS.items():
        for option in command.options:
            if option.value:
                forms = "|".join(f'"{name} {form}"' for form in option.forms)
                values += f"        {forms}) {_BASH_KINDS[option.kind]}; return ;;\n"
        words = [form for option in command.options for form in option.forms]
        words += SHELLS if name == "completion" else ()
        options += _bash_words(name, words)
    options += _bash_words('""', [*COMMANDS, "-s", "--src-paths", "-h", "--help", "--version"])
    values += f'        " -s"|" --src-paths") {_BASH_KINDS["directory"]}; return ;;\n'
    return _BASH.format(commands="|".join(COMMANDS), values=values, options=options)


def _bash_words(name: str, words: list[str]) -> str:
    return f'        {name}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(words)}" -- "$cur") ;;\n'


def _zsh() -> str:
    commands = "".join(f"        '{name}:{command.summary}'\n" for name, command in COMMANDS.items())
    options = ""
    for name, command in COMMANDS.items():
        lines = [_zsh_option(option) for option in command.options]
        lines += [f"'1:shell:({' '.join(SHELLS)})'"] if name == "completion" else []
        options += f"        {name}) _arguments {(' ' + chr(92) + chr(10) + ' ' * 12).join(lines)} ;;\n"
    return _ZSH.format(commands=commands, options=options)


def _zsh_option(option: Option) -> str:
    text = option.text.replace("'", "").replace("[", "").replace("]", "").replace(":", "")
    value = f":{option.value}:{_ZSH_KINDS[option.kind]}".replace("'", "'\\''") if option.value else ""
    marks = ("+", "=") if option.value else ("", "")  # the argument may be in the same word
    typed = [*([f"-{option.short}{marks[0]}"] if option.short else []), f"--{option.name}{marks[1]}"]
    forms = f"'({' '.join(option.forms)})'{{{','.join(typed)}}}" if option.short else typed[0]
    return f"{forms}'[{text}]{value}'"


def _fish() -> str:
    lines = [
        "complete -c vcsjob -f",
        "complete -c vcsjob -n __fish_use_subcommand -s s -l src-paths -x -a '(__fish_complete_directories)'",
        "complete -c vcsjob -n __fish_use_subcommand -s h -l help -d 'show help'",
        "complete -c vcsjob -n __fish_use_subcommand -l version -d 'show the version'",
    ]
    for name, command in COMMANDS.items():
        lines.append(f"complete -c vcsjob -n __fish_use_subcommand -a {name} -d '{command.summary}'")
        here = f"complete -c vcsjob -n '__fish_seen_subcommand_from {name}'"
        for option in command.options:
            short = f"-s {option.short} " if option.short else ""
            kind = f"{_FISH_KINDS[option.kind]} " if option.value else ""
            lines.append(f"{here} {short}-l {option.name} {kind}-d '{option.text.replace(chr(39), '')}'")
        if name == "completion":
            lines.append(f"{here} -a '{' '.join(SHELLS)}'")
    return "\n".join(lines) + "\n"
