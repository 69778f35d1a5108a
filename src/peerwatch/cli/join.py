"""`peerwatch join`: make this machine a member, and report."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from peerwatch.cli import joining, options, systemd
from peerwatch.cli.agent import run_agent
from peerwatch.model import SystemClock


def join(
    token: Annotated[str, typer.Argument(help="What `peerwatch invite` printed.")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it. [default: its host name]")] = None,
    install: Annotated[bool, typer.Option("--install", help="Write and enable a systemd unit.")] = False,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Report from now on, or only enrol.")] = True,
    data: options.Data = None,
    metrics_port: options.MetricsPort = None,
    config: options.Config = None,
) -> None:
    """Join the fleet of the hub that made TOKEN, and report to it."""
    settings = options.settings_from(config, data=data, name=name, agent_http__port=metrics_port)
    joined = anyio.run(joining.join, token, settings.name, settings.folder / "agent", SystemClock())
    typer.echo(f"joined as {joined.entry.name}, reporting to {joined.address}")
    if install:
        typer.echo(systemd.install(settings.folder, config))
    elif run:
        run_agent(settings)
    else:
        typer.echo("start reporting with: peerwatch agent")
