"""peerwatch: the command line."""

from __future__ import annotations

import sys

import typer

from peerwatch import __version__
from peerwatch.cli import agent, agents, health, hub, invite, join, query, snapshot, token, up
from peerwatch.errors import ConfigError, PeerwatchError

app = typer.Typer(
    name="peerwatch",
    help="Monitoring for fleets of servers and peer-to-peer networks. Start with: peerwatch up",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("hub")(hub.hub)
app.command("agent")(agent.agent)
app.command("invite")(invite.invite)
app.command("join")(join.join)
app.command("agents")(agents.agents)
app.command("query")(query.query)
app.command("health")(health.health)
app.command("snapshot")(snapshot.snapshot)
app.add_typer(token.app, name="token")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"peerwatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Monitoring for fleets of servers and peer-to-peer networks."""


def run() -> None:
    """Entry point: errors of ours are one line on standard error; 2 for the operator's mistakes, 1 for the rest."""
    try:
        app()
    except PeerwatchError as error:
        typer.echo(f"peerwatch: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
