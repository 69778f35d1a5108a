"""The commands: each is there, helps, and ends errors of ours in one line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest

from peerwatch.cli.main import COMMANDS, make_parser, wanted_commands
from peerwatch.cli.parameters import Argument, Option, declare, run
from peerwatch.errors import ConfigError, StoreError, error_of


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser and those of its commands."""
    tables = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(one for table in tables for inner in table.values() for one in _parsers(inner))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` explains it in a sentence and every option with a text."""
    parser = make_parser((command,))
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"peerwatch {command}" in shown and "options:" in shown
    chosen = _parsers(parser)[1:]
    assert [one.prog for one in chosen if not one.description] == []
    actions = [(one.prog, action) for one in chosen for action in one._actions]
    kinds = argparse._SubParsersAction
    assert [(prog, action.dest) for prog, action in actions if not action.help and not isinstance(action, kinds)] == []


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`peerwatch --help` and `peerwatch` alone."""
    parser = make_parser()
    with pytest.raises(SystemExit) as asked:
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit) as alone:
        run(parser.parse_args([]))
    assert capsys.readouterr().out == shown
    assert (asked.value.code, alone.value.code) == (0, 2)
    assert [name for name in COMMANDS if f"  {name} " not in shown] == []
    assert "peerwatch up" in shown


def _sample(
    place: Annotated[Path, Argument(help="a")],
    number: Annotated[int | None, Option("--number", help="b")] = None,
    share: Annotated[float, Option("--share", help="100 %")] = 0.5,
    names: Annotated[list[str] | None, Option("--name", help="d")] = None,
    quick: Annotated[bool, Option("--quick", help="e")] = False,
    start: Annotated[bool, Option("--start", help="f")] = True,
    form: Annotated[Literal["json", "csv"], Option("--form", help="h")] = "csv",
    token: Annotated[str, Option("--token", help="g", envvar="PEERWATCH_TOKEN")] = "",
) -> None:
    """Say what came."""
    print((place, number, share, names, quick, start, form, token))  # noqa: T201 - as commands do


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    declare(_sample, parser)
    run(parser.parse_args(words))
    return capsys.readouterr().out.strip()


def test_a_command_gets_its_parameters_in_their_types(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, paths, lists, switches; defaults where nothing is given, and the environment before those."""
    monkeypatch.setenv("PEERWATCH_TOKEN", "")
    assert _said(capsys, "x") == str((Path("x"), None, 0.5, None, False, True, "csv", ""))
    words = [
        "--number",
        "3",
        "--share",
        "1",
        "--name",
        "a",
        "x",
        "--name=b",
        "--quick",
        "--no-start",
        "--form",
        "json",
        "--token",
        "t",
    ]
    assert _said(capsys, *words) == str((Path("x"), 3, 1.0, ["a", "b"], True, False, "json", "t"))
    monkeypatch.setenv("PEERWATCH_TOKEN", "from outside")
    assert _said(capsys, "x").endswith("'from outside')")
    assert _said(capsys, "x", "--token", "typed").endswith("'typed')")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["x", "--number", "three"], "--number: invalid int value: 'three'"),
        (["x", "--form", "xml"], "--form: invalid choice: 'xml'"),
        (["x", "--num", "3"], "unrecognized arguments: --num 3"),
        ([], "required: PLACE"),
        (["x", "y"], "unrecognized arguments: y"),
    ],
)
def test_what_is_no_parameter_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], complaint: str) -> None:
    """By name, also where it is the beginning of one."""
    with pytest.raises(SystemExit) as ended:
        _said(capsys, *words)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`peerwatch --help | head -1` leaves no trace of Python's."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        command = [sys.executable, "-m", "peerwatch", "token", "--help"]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.stderr == b""


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


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("agent", "click cryptography httpx psutil pygments rich starlette typer uvicorn uvloop"),
        ("hub_role", "cryptography httpx psutil pygments rich typer"),
    ],
)
def test_a_role_loads_no_library_that_it_does_not_use(module: str, heavy: str) -> None:
    """Each costs every machine of the fleet 1 to 9 MiB."""
    code = (
        f"import sys, peerwatch.cli.main, peerwatch.cli.{module}\nprint(*({set(heavy.split())!r} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == []
