"""The program as a whole: exit codes, one line for every error and never a traceback, help, completion."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import click
import pytest
from calling import GUID, PROGRAM, ROOT, shown, started
from click.testing import CliRunner

import ave as package
from ave.lab.cli import program


def commands(group: click.Group = program.ave, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_has_help_with_examples(path):
    ran = CliRunner().invoke(program.ave, [*path, "--help"])
    assert ran.exit_code == 0
    assert f"Examples:\n    {' '.join(('ave', *path[:1]))}" in ran.output
    assert all(len(line) <= 100 for line in ran.output.splitlines())
    assert "..." not in ran.output.partition("Commands:")[2]


def test_the_version_is_told(ave):
    assert ave("--version") == (0, f"ave {package.__version__}\n", "")


@pytest.mark.parametrize("path", [(), ("spool",)])
def test_nothing_asked_is_answered_by_the_help(ave, path):
    ran = ave(*path)
    assert (ran.code, ran.err) == (2, "")
    assert ran.out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shwo"], "No such command 'shwo'"),
        (["show"], "Missing argument 'GUID'. `ave show --help` tells more."),
        (["show", GUID, "more"], "unexpected extra argument (more)"),
        (["find", "--nope"], "No such option"),
        (["find", "--kind", "nope"], "'nope' is not one of 'artifact', "),
        (["find", "--result", "flaky"], "'flaky' is not one of 'passed', "),
        (["find", "--limit", "0"], "0 is not in the range 1<=x<=1000000000"),
        (["find", "--limit", "9" * 30], "is not in the range 1<=x<=1000000000"),
        (["tail", "--lines", "9" * 30], "is not in the range 0<=x<=1000000000"),
        (["down", "--grace=-1"], "the grace is no number of seconds from 0 to 86400: -1"),
        (["tail", "--lines", "x"], "'x' is not a valid integer"),
        (["spool", "nope"], "No such command 'nope'"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["--home", "/nowhere"], "Missing command"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(arguments, told):
    ran = started(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("ave: ")
    assert ran.err.count("\n") == 1
    assert told in ran.err


@pytest.mark.parametrize("command", [f"show {GUID}", "find", "tail", f"audit {GUID}", f"wait {GUID}", "spool status"])
def test_a_broken_configuration_is_one_line_and_exit_code_2(home, command):
    with open(f"{home}/.ave/config/decibel.json", "w") as file:
        file.write("{")
    ran = started(*command.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"ave: {home}/.ave/config/decibel.json: ")
    assert ran.err.count("\n") == 1


def test_no_home_is_one_line_and_exit_code_2(monkeypatch):
    monkeypatch.delenv("AVE_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    ran = started("doctor")
    assert (ran.code, ran.err) == (
        2,
        "ave: there is no home directory: set AVE_HOME to the directory that holds .ave\n",
    )


def test_a_home_can_be_named(ave, tmp_path, home):
    other = tmp_path / "other"
    assert ave("--home", str(other), "config", "--bootstrap").code == 0
    assert (other / ".ave/config/panotti.json").exists()
    os.mkdir(other / ".ave/lab.db")
    assert ave("--home", str(other), "find").err.startswith(f"ave: {other}/.ave/lab.db")


def test_a_guid_that_would_act_on_the_terminal_is_told_harmlessly(ave, home):
    assert ave("show", "run-\x1b[31m-\u202e\n2").err.startswith(r"ave: nothing is stored of run-\x1b[31m-\u202e 2;")


def test_a_reader_that_has_seen_enough_is_no_error(store, made):
    store.put([made("shout", {"text": "x" * 1000}) for _ in range(1000)])
    for arguments in ("show {}", "show {} --json", "find", "find --json"):
        command = f'"$@" {arguments.format(GUID)} | head -1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
        ran = subprocess.run(["bash", "-c", command, "-", *PROGRAM], capture_output=True, text=True, check=True)
        assert (ran.stdout, ran.stderr) == ("0\n", "")


def test_the_answer_does_not_depend_on_who_reads_it(home):
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run([*PROGRAM, "doctor"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (process.returncode, process.stderr) == (1, b"")


FAILING = """
import sys
from ave.exceptions import StoreUnavailable
from ave.lab.cli import main
from ave.lab.query import Stores

found = Stores.find

def find(self, query):
    yield from found(self, query)
    raise StoreUnavailable("gone")

Stores.find = find
sys.exit(main(["find", "--json"]))
"""


def test_an_error_behind_output_that_nobody_reads_is_told_as_ever(store, made):
    store.put([made("shout", {})])
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", FAILING], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "ave: gone\n")


def test_a_full_disk_behind_stdout_is_told(store, made):
    store.put([made("shout", {})])
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "show", GUID], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "ave: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(store, made, closed):
    store.put([made("shout", {})])
    ran = subprocess.run(["bash", "-c", f'"$@" show {GUID} {closed}', "-", *PROGRAM], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_ctrl_c_ends_it_without_a_word(home):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(PROGRAM[0], [*PROGRAM, "wait", GUID])
    seen = b""
    while b"nothing is known of it yet" not in seen:
        seen += os.read(fd, 4096)
    os.write(fd, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"Traceback" not in os.read(fd, 4096)
    os.close(fd)


def test_without_the_lab_parts_the_cure_is_told(tmp_path):
    code = (
        "import sys; sys.meta_path.insert(0, type('No', (), {'find_spec': staticmethod(lambda name, *_: "
        "(_ for _ in ()).throw(ModuleNotFoundError(name=name)) if name in {'click', 'rich', 'msgspec'} else None)}));"
        "from ave.lab.cli import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "ave needs the lab parts: pip install 'ave-logging[lab]'\n")


def test_a_module_of_our_own_that_is_missing_is_not_blamed_on_the_lab_parts(monkeypatch):
    monkeypatch.setitem(sys.modules, "ave.lab.cli.program", None)
    with pytest.raises(ModuleNotFoundError, match=r"ave\.lab\.cli\.program"):
        started.__globals__["main"](["doctor"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written_for_every_shell(ave, shell):
    ran = ave("completion", shell)
    assert ran.code == 0
    assert "_AVE_COMPLETE" in ran.out


def test_the_shell_completes_commands_options_and_stores(home, monkeypatch):
    for words, number, answer in (
        ("ave s", "1", "show"),
        ("ave find --re", "2", "--result"),
        ("ave spool r", "2", "retry"),
        ("ave spool letters e", "3", "embedded"),
    ):
        monkeypatch.setenv("_AVE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", number)
        assert f"plain,{answer}" in started().out.splitlines()


def test_json_asks_for_nothing_that_only_people_need(store, made):
    store.put([made("shout", {})])
    code = (
        f"import sys; from ave.lab.cli import main; main(['show', {GUID!r}, '--json']); sys.exit('rich' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_tests_call_the_program_of_this_tree():
    assert os.path.dirname(package.__file__) == str(ROOT / "ave")
    assert "Usage: ave" in shown("--help").out
