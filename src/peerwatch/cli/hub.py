"""`peerwatch hub`: the hub alone."""

from __future__ import annotations

from peerwatch.cli import options
from peerwatch.cli.running import run_role


def hub(data: options.Data = None, listen: options.Listen = None, config: options.Config = None) -> None:
    """Collect, store, answer PromQL and show it; without sampling this machine."""
    from peerwatch.cli.hub_role import run_hub  # the hub's libraries cost 40 MB that other commands save

    settings = options.settings_from(config, data=data, hub__listen=listen)
    options.check_writable(settings.folder)
    run_role(settings.log, lambda stop: run_hub(settings, stop), uvloop=True)
