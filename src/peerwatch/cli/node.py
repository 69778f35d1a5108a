"""`peerwatch node`: a libp2p node alone, as a first address and relay for the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.lone_node import DEFAULT_LISTEN, run_lone_node
from peerwatch.cli.parameters import Option
from peerwatch.cli.running import run_role
from peerwatch.settings import Settings


def node(
    data: options.Data = None,
    listen: Annotated[
        str | None,
        Option(
            "--listen", metavar="MULTIADDR", help=f"Where peers connect (P2P_LISTEN_ADDRS). [default: {DEFAULT_LISTEN}]"
        ),
    ] = None,
    bootstrap: Annotated[
        bool, Option("--bootstrap", help="Carry connections for members that cannot be dialled (P2P_BOOTSTRAP=true).")
    ] = False,
    metrics_port: options.MetricsPort = None,
    config: options.Config = None,
) -> None:
    """Be a peer of the fleet and nothing else. First, on a hub: invite --roles relay; here: join TOKEN."""
    settings = options.settings_from(
        config, data=data, p2p__listen=listen, p2p__bootstrap=bootstrap or None, agent_http__port=metrics_port
    )
    run_node(settings)


def run_node(settings: Settings) -> None:
    """Run until asked to stop. A node that nobody can dial is of no use to others: so it listens by default."""
    if "p2p.listen" not in settings.configured:
        settings = replace(settings, p2p=replace(settings.p2p, listen=(DEFAULT_LISTEN,)))
    run_role(settings.log, lambda stop: run_lone_node(settings, stop), uvloop=False)
