"""peerwatch: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from peerwatch import __version__
from peerwatch.errors import ConfigError, PeerwatchError

# Each is a module of this package with a function, or a group of commands `app`, of the same name.
COMMANDS = ("up", "hub", "agent", "invite", "join", "agents", "query", "health", "snapshot", "fsck", "token")


def make_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        name="peerwatch",
        help="Monitoring for fleets of servers and peer-to-peer networks. Start with: peerwatch up",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in names:
        module = import_module(f"peerwatch.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def wanted_commands(arguments: Sequence[str]) -> Sequence[str]:
    """The commands that these arguments can be about: the named one, or all when that is none of them.

    A lean agent then loads neither web framework nor store, and a question to a hub starts in half the time.
    """
    first = next((one for one in arguments if not one.startswith("-")), "")
    return (first,) if first in COMMANDS else COMMANDS


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"peerwatch {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Monitoring for fleets of servers and peer-to-peer networks. Start with: peerwatch up"""


def run() -> None:
    """Entry point: errors of ours are one line on standard error; 2 for the operator's mistakes, 1 for the rest."""
    try:
        make_app(wanted_commands(sys.argv[1:]))()
    except PeerwatchError as error:
        typer.echo(f"peerwatch: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
