"""peerwatch: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from peerwatch import __version__
from peerwatch.cli import parameters
from peerwatch.errors import ConfigError, PeerwatchError

# Each is a module of this package with a function, or a table `commands` of them, of the same name.
COMMANDS = (
    "up",
    "hub",
    "agent",
    "node",
    "invite",
    "invites",
    "join",
    "revoke",
    "root",
    "agents",
    "peers",
    "bans",
    "query",
    "health",
    "snapshot",
    "fsck",
    "verify",
    "token",
)
_ABOUT = "Monitoring for fleets of servers and peer-to-peer networks. Start with: peerwatch up"


def make_parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The command line with these commands."""
    parser = argparse.ArgumentParser("peerwatch", description=_ABOUT, allow_abbrev=False)
    parser.add_argument(
        "--version", action="version", version=f"peerwatch {__version__}", help="Show the version and exit."
    )
    parser.set_defaults(command=lambda: _show_help(parser))
    chosen = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in names:
        _add(chosen, name)
    return parser


def _add(chosen: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    module = import_module(f"peerwatch.cli.{name}")
    table: dict[str, parameters.Command] | None = getattr(module, "commands", None)
    if table is None:
        _add_command(chosen, name, getattr(module, name))
        return
    about = str(module.ABOUT)
    group = chosen.add_parser(name, help=about, description=about, allow_abbrev=False)
    group.set_defaults(command=lambda: _show_help(group))
    inner = group.add_subparsers(title="commands", metavar="COMMAND")
    for key, command in table.items():
        _add_command(inner, key, command)


def _add_command(
    chosen: argparse._SubParsersAction[argparse.ArgumentParser], name: str, command: parameters.Command
) -> None:
    about = parameters.first_line(command)
    parameters.declare(command, chosen.add_parser(name, help=about, description=about, allow_abbrev=False))


def _show_help(parser: argparse.ArgumentParser) -> None:
    parser.print_help()
    raise SystemExit(2)


def wanted_commands(arguments: Sequence[str]) -> Sequence[str]:
    """The commands that these arguments can be about: the named one, or all when that is none of them.

    A lean agent then loads neither web framework nor store, and a question to a hub starts in half the time.
    """
    first = next((one for one in arguments if not one.startswith("-")), "")
    return (first,) if first in COMMANDS else COMMANDS


def _run_command(arguments: Sequence[str]) -> None:
    try:
        parameters.run(make_parser(wanted_commands(arguments)).parse_args(arguments))
    finally:
        sys.stdout.flush()  # while it can still be answered that nobody reads


def run() -> None:
    """Entry point: errors of ours are one line on standard error; 2 for the operator's mistakes, 1 for the rest."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else numpy starts a thread per core, for what nobody here does
    try:
        _run_command(sys.argv[1:])
    except PeerwatchError as error:
        print(f"peerwatch: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except BrokenPipeError:  # whoever reads has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
