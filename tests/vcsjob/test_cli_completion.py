"""What the shells themselves offer, once they have read the script."""

import shutil
import subprocess

import pytest
from vcsjob_program import called

from vcsjob.cli.options import COMMANDS

OPTIONS = {name: {f"--{option.name}" for option in command.options} for name, command in COMMANDS.items()}


def script(shell):
    ran = called("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def run(shell, text, cwd, *arguments):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "MY_OWN": "1"}
    command = [shell, *arguments, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert "syntax error" not in done.stderr
    return done.stdout


@pytest.fixture
def bash(tmp_path):
    """A function that returns what bash offers for the last of these words."""
    text = script("bash").replace("compopt", "true compopt")  # for interactive shells only

    def offers(*words):
        quoted = " ".join(f"'{word}'" for word in words)
        call = f"COMP_WORDS=(vcsjob {quoted}); COMP_CWORD={len(words)}; _vcsjob; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return set(run("bash", f"{text}\n{call}", tmp_path, "--norc").split())

    return offers


@pytest.fixture
def fish(tmp_path):
    """A function that returns what fish offers at the end of this line."""
    (tmp_path / "vcsjob.fish").write_text(script("fish"))

    def offers(line):
        out = run("fish", f"source vcsjob.fish; complete -C '{line}'", tmp_path, "--no-config")
        return {offer.split("\t")[0] for offer in out.splitlines()}

    return offers


@pytest.fixture
def things(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "job.log").write_text("")


def test_bash_offers_commands_and_their_options(bash):
    assert bash("") >= set(COMMANDS)
    assert bash("exe") == {"execute"}
    for name, options in OPTIONS.items():
        assert {offer for offer in bash(name, "--") if offer.startswith("--")} == options
    assert bash("-s", "here", "execute", "--gu") == {"--guid"}
    assert bash("completion", "") >= {"bash", "zsh", "fish"}


@pytest.mark.usefixtures("things")
def test_bash_offers_what_an_option_takes(bash):
    assert bash("execute", "-j", "j") == {"jobs"}
    assert bash("execute", "--jobs", "=", "j") == {"jobs"}
    assert bash("execute", "--log", "j") == {"jobs", "job.log"}
    assert bash("execute", "-e", "MY_") == {"MY_OWN"}
    assert bash("execute", "--guid", "") == set()
    assert bash("fetch", "-s", "") == {"jobs"}
    assert bash("-s", "") == {"jobs"}


def test_fish_offers_commands_and_their_options(fish):
    assert fish("vcsjob ") == set(COMMANDS)
    for name, options in OPTIONS.items():
        assert fish(f"vcsjob {name} --") == options
    assert fish("vcsjob completion ") == {"bash", "zsh", "fish"}


@pytest.mark.usefixtures("things")
def test_fish_offers_what_an_option_takes(fish):
    assert fish("vcsjob execute -j j") == {"jobs/"}
    assert fish("vcsjob execute --log j") == {"jobs/", "job.log"}
    assert "MY_OWN" in fish("vcsjob execute -e ")


def test_zsh_can_read_its_script_which_has_everything(tmp_path):
    text = script("zsh")
    for name, options in OPTIONS.items():
        assert f"'{name}:" in text
        assert all(option in text for option in options)
    (tmp_path / "_vcsjob").write_text(text)
    assert run("zsh", "zsh -n _vcsjob && echo read", tmp_path, "-f") == "read\n"
