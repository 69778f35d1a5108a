"""`peerwatch token`: credentials of this machine's hub."""

from __future__ import annotations

from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.parameters import Argument, Option
from peerwatch.errors import ConfigError
from peerwatch.serve.credentials import Credentials, Scope

ABOUT = "Create, list and remove credentials of this machine's hub."


def _credentials(config: options.Config, data: str | None) -> Credentials:
    return Credentials(options.settings_from(config, data=data).folder / "credentials.json")


def create(
    name: Annotated[str, Argument(help="What it is for, for example grafana.")],
    scope: Annotated[str, Option("--scope", help="read, write or admin.")] = "read",
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
    print(_credentials(config, data).create(name, wanted))


def show(data: options.Data = None, config: options.Config = None) -> None:
    """Names and scopes; the tokens themselves are stored nowhere."""
    for name, scope in _credentials(config, data).names():
        print(f"{name}\t{scope}")


def remove(
    name: Annotated[str, Argument(help="The credential's name.")],
    data: options.Data = None,
    config: options.Config = None,
) -> None:
    """Make a token worthless at once."""
    _credentials(config, data).remove(name)
    print(f"removed {name}")


commands = {"create": create, "list": show, "remove": remove}
