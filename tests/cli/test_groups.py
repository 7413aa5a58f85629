"""`engine.cli.groups`: what the help of a command shows, and where a wrong flag points to."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.config import CONNECTION, SETTINGS


def sections(*path: str) -> dict[str, str]:
    """The help of a command by its headings, the text above them left out."""
    shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).stdout
    found: dict[str, str] = {}
    heading = ""
    for line in shown.splitlines():
        if line and not line.startswith(" "):
            heading = line.rstrip(":")
        found[heading] = found.get(heading, "") + f"{line}\n"
    return {name: text for name, text in found.items() if not name.startswith("Usage")}


def test_a_commands_own_flags_come_before_those_of_every_command() -> None:
    found = sections("entries", "import")
    assert list(found) == ["Options", "Settings", "Connection to the brokers"]
    assert "--dry-run" in found["Options"]
    assert "--help" in found["Options"]
    assert {"--bootstrap", "--prefix", "--operator", "--config"} <= set(found["Settings"].split())
    of_connection = [SETTINGS[name].flag for name in CONNECTION if name != "bootstrap"]
    for flag in of_connection:
        assert flag in found["Connection to the brokers"]
        assert flag not in found["Options"] + found["Settings"]


def test_the_words_that_an_argument_may_be_are_listed() -> None:
    assert sections("completion")["Arguments"].split()[1:] == ["SHELL", "bash,", "zsh,", "fish."]
    assert "verkada, generic." in sections("ingest")["Arguments"]


def test_a_command_without_settings_has_one_list() -> None:
    assert list(sections("demo")) == ["Options"]
    assert list(sections("entries")) == ["Options", "Commands"]


@pytest.mark.parametrize(
    "args", [("entries", "show", "--id"), ("tail", "--count"), ("audit", "verify", "--checkpoint")]
)
def test_a_flag_without_its_value_points_to_the_help_of_its_command(args: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert result.stderr == (
        f"hotlist: Option '{args[-1]}' requires an argument; "
        f"see hotlist {' '.join(args[:-1])} --help\n"
    )


def _paths(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _paths(command, *path, name)


@pytest.mark.parametrize("width", [50, 80, 100])
@pytest.mark.parametrize("path", list(_paths(main)), ids=" ".join)
def test_help_is_wrapped_at_spaces_alone(path: tuple[str, ...], width: int) -> None:
    """A flag or a mechanism that is broken at a hyphen cannot be copied."""
    shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=width).stdout
    assert re.findall(r".*\w-$", shown, re.MULTILINE) == []
    assert "\N{NON-BREAKING HYPHEN}" not in shown
