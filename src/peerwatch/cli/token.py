"""`peerwatch token`: credentials of this machine's hub."""

from __future__ import annotations

from typing import Annotated

import typer

from peerwatch.cli import options
from peerwatch.errors import ConfigError
from peerwatch.serve.credentials import Credentials, Scope

app = typer.Typer(help="Create, list and remove credentials of this machine's hub.", no_args_is_help=True)


def _credentials(config: options.Config, data: str | None) -> Credentials:
    return Credentials(options.settings_from(config, data=data).folder / "credentials.json")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for, for example grafana.")],
    scope: Annotated[str, typer.Option("--scope", help="read, write or admin.")] = "read",
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Print a new token; it is not shown again. A running hub accepts it at once."""
    try:
        wanted = Scope[scope.upper()]
    except KeyError:
        raise ConfigError(f"--scope: {scope!r}, allowed are read, write and admin") from None
    if wanted is Scope.NONE:
        raise ConfigError(f"--scope: {scope!r}, allowed are read, write and admin")
    typer.echo(_credentials(config, data).create(name, wanted))


@app.command("list")
def show(data: options.Data = None, config: options.Config = None) -> None:
    """Names and scopes; the tokens themselves are stored nowhere."""
    for name, scope in _credentials(config, data).names():
        typer.echo(f"{name}\t{scope}")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="The credential's name.")],
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Make a token worthless at once."""
    _credentials(config, data).remove(name)
    typer.echo(f"removed {name}")
