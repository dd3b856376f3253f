"""The documentation names everything a user can type: it cannot fall behind the code."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ave.home import SPOOL
from ave.lab.cli.program import ave
from ave.lab.config import SETTINGS
from ave.record import KINDS, RESULTS, Record

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
def test_every_command_has_help_and_is_told_of(name, command):
    assert command.help
    assert name in "".join(path.read_text(encoding="utf-8") for path in DOC.glob("[!r]*/**/*.rst")) + page("cli")


@pytest.mark.parametrize("name", SETTINGS)
def test_every_configuration_file_and_key_is_in_the_reference(name):
    assert f"`{name}.json`" in page("config")
    assert [key for key in SETTINGS[name] if f"`{key}`" not in page("config")] == []


def test_every_key_of_the_spool_is_in_the_reference():
    assert [key for key in SPOOL if f"`{key}`" not in page("config")] == []


def test_every_field_kind_and_result_is_in_the_reference():
    assert [name for name in Record.FIELDS if f"`{name}`" not in page("record")] == []
    assert [name for name in (*KINDS, *RESULTS) if f"`{name}`" not in page("kinds")] == []
