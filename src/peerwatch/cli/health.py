"""`peerwatch health`: for people and for a container's HEALTHCHECK (requirement B46)."""

from __future__ import annotations

import typer

from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient


def health(
    data: options.Data = None,
    url: options.Url = "",
    token: options.Token = "",
    ca: options.CaFile = "",
    config: options.Config = None,
) -> None:
    """Print what /health/ready says; exit with 0 when it is ready and 1 when it is not."""
    settings = options.settings_from(config, data=data)
    with HubClient(url, settings.folder, token, ca) as hub:
        status, text = hub.status("/health/ready")
    typer.echo(text.strip())
    raise typer.Exit(0 if status == 200 else 1)
