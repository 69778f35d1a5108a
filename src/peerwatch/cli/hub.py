"""`peerwatch hub`: the hub alone."""

from __future__ import annotations

import anyio
import typer

from peerwatch.cli import options
from peerwatch.cli.hub_role import HubRole, check_writable
from peerwatch.cli.running import run_role
from peerwatch.model import SystemClock
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry


def hub(data: options.Data = None, listen: options.Listen = None, config: options.Config = None) -> None:
    """Collect, store, answer PromQL and show it; without sampling this machine."""
    settings = options.settings_from(config, data=data, hub__listen=listen)
    check_writable(settings.folder)
    run_role(settings.log, lambda stop: _run(settings, stop))


async def _run(settings: Settings, stop: anyio.Event) -> None:
    role = HubRole(settings, SystemClock(), CollectorRegistry())
    async with anyio.create_task_group() as tasks:
        await tasks.start(role.run, stop)
        typer.echo(f"peerwatch hub: {role.url}")
        if role.first_token:
            typer.echo(f"credential (scope admin, shown only this once): {role.first_token}")
    role.close()
