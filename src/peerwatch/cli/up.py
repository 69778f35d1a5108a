"""`peerwatch up`: agent and hub in one process, for this machine and whoever joins."""

from __future__ import annotations

from peerwatch.cli import options
from peerwatch.cli.running import run_role


def up(
    data: options.Data = None,
    listen: options.Listen = None,
    metrics_port: options.MetricsPort = None,
    config: options.Config = None,
) -> None:
    """Monitor this machine, live: starts hub and agent and prints the URL of the page."""
    from peerwatch.cli.up_role import run_up  # the hub's libraries cost 40 MB that other commands save

    settings = options.settings_from(config, data=data, hub__listen=listen, agent_http__port=metrics_port)
    options.check_writable(settings.folder)
    run_role(settings.log, lambda stop: run_up(settings, stop), uvloop=True)
