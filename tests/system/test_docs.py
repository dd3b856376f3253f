"""The documentation names everything a user can type: it cannot fall behind the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from itertools import chain
from pathlib import Path

import click
import pytest

from ave import exceptions
from ave.home import SPOOL
from ave.lab import logd
from ave.lab.cli.program import ave
from ave.lab.config import SETTINGS
from ave.record import KINDS, RESULTS, Record
from ave.spool import frames
from vcsjob import ci
from vcsjob.cli.options import COMMANDS

DOC = Path(__file__).parents[2] / "doc"


def page(name: str) -> str:
    return (DOC / "reference" / f"{name}.rst").read_text(encoding="utf-8")


def commands(group: click.Group, prefix: str = "ave") -> list[tuple[str, click.Command]]:
    found = []
    for name, command in group.commands.items():
        here = f"{prefix} {name}"
        found += commands(command, here) if isinstance(command, click.Group) else [(here, command)]
    return found


@pytest.mark.parametrize(("name", "command"), commands(ave), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_help_and_a_line_in_the_reference(name, command):
    assert command.help
    assert f"\n`{name}` " in page("cli")


def test_every_option_of_the_daemon_is_in_the_reference(capsys):
    with pytest.raises(SystemExit):
        logd.main(["--help"])
    assert [
        option for option in set(re.findall(r"--\w+", capsys.readouterr().out)) if f"`{option}" not in page("cli")
    ] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_of_vcsjob_is_in_the_reference(name):
    _, _, section = page("vcsjob-program").partition(f"\n`vcsjob {name}`\n---")
    options = [option for option in COMMANDS[name].options if option.name != "help"]
    assert section
    assert [form for option in options for form in option.forms if f"`{form}" not in section.split("\n---")[0]] == []


@pytest.mark.parametrize("name", SETTINGS)
def test_every_configuration_file_and_key_is_in_the_reference(name):
    assert f"`{name}.json`" in page("config")
    assert [key for key in SETTINGS[name] if f"`{key}`" not in page("config")] == []


def test_every_key_of_the_spool_is_in_the_reference():
    assert [key for key in SPOOL if f"`{key}`" not in page("config")] == []


def test_every_field_kind_and_result_is_in_the_reference():
    assert [name for name in Record.FIELDS if f"`{name}`" not in page("record")] == []
    assert [name for name in (*KINDS, *RESULTS) if f"`{name}`" not in page("kinds")] == []


def test_every_attribute_and_variable_of_a_build_is_in_the_reference():
    names = [name for marks, table in ci.SYSTEMS.values() for name in (*marks, *table, *chain(*table.values()))]
    assert [name for name in (*names, *ci.SYSTEMS) if f"`{name}`" not in page("ci")] == []


def test_the_segment_in_the_reference_is_a_whole_one():
    [text] = re.findall(r"code-block:: text\n\n((?:    .*\n)+)", page("spool"))
    lines = frames.scan(textwrap.dedent(text).encode(), 0, final=True)
    assert [frames.kind_of(line.payload) for line in lines] == [frames.HEADER, frames.RECORD, frames.FOOTER]


def test_every_error_is_in_the_reference():
    assert [name for name in exceptions.__all__ if f"exceptions.{name}\n" not in page("shout")] == []


@pytest.mark.slow
def test_the_tutorial_can_be_followed_word_by_word(tmp_path):
    here = Path(sys.executable).parent
    if not (here / "ave").exists():
        pytest.skip("the programs are not installed beside this Python; `make test` installs them")
    blocks = re.findall(
        r"\.\. code-block:: bash\n\n((?:    .*\n|\n)+)", (DOC / "tutorial.rst").read_text(encoding="utf-8")
    )
    script = "\n".join(textwrap.dedent(block) for block in blocks)
    environment = {"PATH": f"{here}:{os.environ['PATH']}", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment["AVE_ALLOW_ROOT"] = "1"  # as the text says
    done = subprocess.run(
        ["bash", "-euc", f"trap 'ave down' EXIT\n{script}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vcsjob.FAILURES" in done.stdout
    assert done.stdout.count("balanced") == 2
