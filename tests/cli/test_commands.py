"""The commands: each is there, helps, and ends errors of ours in one line."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from peerwatch.cli.main import COMMANDS, make_app, wanted_commands
from peerwatch.cli.running import error_of
from peerwatch.errors import ConfigError, StoreError

runner = CliRunner()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(command: str) -> None:
    """`--help` explains it in a sentence and every option with a text."""
    shown = runner.invoke(make_app((command,)), [command, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert f"{command}" in shown.output and "Options:" in shown.output
    group = typer.main.get_command(make_app((command,)))
    undocumented = [f"{command} {parameter.name}" for parameter in _parameters(group) if not _help_of(parameter)]
    assert undocumented == []


def _parameters(command: object) -> list[object]:
    found = list(getattr(command, "params", []))
    for inner in getattr(command, "commands", {}).values():
        found += _parameters(inner)
    return found


def _help_of(parameter: object) -> str:
    return str(getattr(parameter, "help", "") or "")


def test_the_overview_names_every_command() -> None:
    """`peerwatch --help` and `peerwatch` alone."""
    shown = runner.invoke(make_app(), ["--help"]).output
    assert [name for name in COMMANDS if f"  {name} " not in shown] == []
    assert "peerwatch up" in shown


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["agent", "--data", "hub"], ("agent",)),
        (["query", "up"], ("query",)),
        ([], COMMANDS),
        (["--help"], COMMANDS),
        (["--version"], COMMANDS),
        (["nonsense"], COMMANDS),
        (["token", "create", "x"], ("token",)),
    ],
)
def test_only_the_named_command_is_loaded(arguments: list[str], wanted: tuple[str, ...]) -> None:
    """A lean agent does not pay for the hub; help and typing errors see all."""
    assert tuple(wanted_commands(arguments)) == wanted


def test_an_error_of_ours_comes_out_of_task_groups_as_itself() -> None:
    """However deep; a bug among them stays visible as the group it is."""
    ours = ConfigError("x: 1, allowed is 2")
    assert error_of(ExceptionGroup("outer", [ExceptionGroup("inner", [ours])])) is ours
    both = ExceptionGroup("both", [ours, StoreError("disk")])
    assert error_of(both) is ours
    bug = ExceptionGroup("bug", [ours, ValueError("oops")])
    assert error_of(bug) is bug
