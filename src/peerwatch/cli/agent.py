"""`peerwatch agent`: sample this machine and deliver to the hub that it joined."""

from __future__ import annotations

import anyio

from peerwatch.cli import options
from peerwatch.cli.agent_role import AgentIdentity, AgentRole
from peerwatch.cli.known_hub import load_known_hub
from peerwatch.cli.running import run_role
from peerwatch.errors import ConfigError
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.links.https import HttpsLink
from peerwatch.model import SystemClock
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry


def agent(data: options.Data = None, metrics_port: options.MetricsPort = None, config: options.Config = None) -> None:
    """Sample this machine and deliver to its hub. Join first: peerwatch join TOKEN."""
    run_agent(options.settings_from(config, data=data, agent_http__port=metrics_port))


def run_agent(settings: Settings) -> None:
    """Run until asked to stop."""
    run_role(settings.log, lambda stop: _run(settings, stop), uvloop=False)


async def _run(settings: Settings, stop: anyio.Event) -> None:
    clock = SystemClock()
    folder = settings.folder / "agent"
    hub = load_known_hub(folder)
    keys = load_or_create_keys(folder)
    membership = Membership.load(folder / "membership.bin", clock.now_ms())
    entry = membership.roster.get(keys.peer.public)
    if entry is None:
        raise ConfigError(f"{folder}: the membership does not contain this machine; join again")
    identity = AgentIdentity(keys.peer.public, keys.signing, membership, folder / "epoch.json")
    async with HttpsLink(hub.addresses[0], hub.certificate_pem) as link:
        role = AgentRole(
            settings, settings.agent, identity, link, "hub", _only_hub(membership), clock, CollectorRegistry()
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(role.run, stop)
            print(f"peerwatch agent {entry.name}: delivering to {hub.addresses[0]}", flush=True)
            if role.metrics_url:
                print(f"metrics for a Prometheus that pulls: {role.metrics_url}", flush=True)
        role.close()


def _only_hub(membership: Membership) -> bytes:
    """The fleet's hub where there is one; empty where several could be meant by the address."""
    hubs = [entry.member for entry in membership.roster if entry.is_hub and not entry.revoked]
    return hubs[0] if len(hubs) == 1 else b""
