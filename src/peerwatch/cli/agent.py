"""`peerwatch agent`: sample this machine and deliver to the hub that it joined."""

from __future__ import annotations

from pathlib import Path

import anyio

from peerwatch.agent.ship import Link
from peerwatch.cli import options
from peerwatch.cli.agent_role import AgentIdentity, AgentRole
from peerwatch.cli.known_hub import load_known_hub
from peerwatch.cli.node_page import NodePage
from peerwatch.cli.node_process import NodeProcess, node_start
from peerwatch.cli.running import run_role
from peerwatch.errors import ConfigError, DecodeError
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.links.first import FirstLink
from peerwatch.links.https import HttpsLink
from peerwatch.links.p2p import P2pLink
from peerwatch.model import Clock, SystemClock
from peerwatch.node.address import parse_address
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.identity import peer_id


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
    member = _only_hub(membership)
    node = _node(settings, folder, membership, member, clock)
    async with HttpsLink(hub.addresses[0], hub.certificate_pem) as https, anyio.create_task_group() as around:
        link: Link = https
        page = None
        if node is not None:
            page = NodePage(node.metrics)
            around.start_soon(page.run)
            p2p = P2pLink(lambda protocol, body: node.deliver(member, protocol, body))
            link = FirstLink([p2p, https]) if settings.p2p.https_fallback else p2p
            around.start_soon(node.run)
        role = AgentRole(settings, settings.agent, identity, link, "hub", member, clock, CollectorRegistry(), page)
        async with anyio.create_task_group() as tasks:
            await tasks.start(role.run, stop)
            where = hub.addresses[0] if node is None else f"{peer_id(member)} over libp2p"
            print(f"peerwatch agent {entry.name}: delivering to {where}", flush=True)
            if role.metrics_url:
                print(f"metrics for a Prometheus that pulls: {role.metrics_url}", flush=True)
        role.close()
        around.cancel_scope.cancel()


def _node(settings: Settings, folder: Path, membership: Membership, hub: bytes, clock: Clock) -> NodeProcess | None:
    """The libp2p node that delivers to the hub, where the settings say how it is reached."""
    if not settings.p2p.bootstrap_peers:
        return None
    ours = [text for text in settings.p2p.bootstrap_peers if _names(text, hub)]
    if not ours:
        raise ConfigError(
            f"p2p.bootstrap_peers: none is this fleet's hub, {peer_id(hub) if hub else 'or it has several hubs'}"
        )
    start = node_start(settings, folder, folder / "peer.key", "agent")
    return NodeProcess(start, lambda: membership.roster, clock, hold={hub: ours})


def _names(text: str, member: bytes) -> bool:
    try:
        return bool(member) and parse_address(text).peer == peer_id(member)
    except DecodeError as error:
        raise ConfigError(f"p2p.bootstrap_peers: {error}") from error


def _only_hub(membership: Membership) -> bytes:
    """The fleet's hub where there is one; empty where several could be meant by the address."""
    hubs = [entry.member for entry in membership.roster if entry.is_hub and not entry.revoked]
    return hubs[0] if len(hubs) == 1 else b""
