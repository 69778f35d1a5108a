"""`peerwatch agent`: sample this machine and deliver to the hubs of the fleet that it joined."""

from __future__ import annotations

from pathlib import Path

import anyio

from peerwatch.cli import options
from peerwatch.cli.agent_role import AgentIdentity, AgentRole
from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.hub_peers import hub_peers, peer_of, relay_peers
from peerwatch.cli.hub_ways import HubWays
from peerwatch.cli.known_hub import KnownHub, load_known_hub
from peerwatch.cli.mesh_probes import MeshProbes
from peerwatch.cli.node_page import NodePage
from peerwatch.cli.node_process import NodeProcess
from peerwatch.cli.node_start import node_start
from peerwatch.cli.relay_word import RelayWord
from peerwatch.cli.running import run_role
from peerwatch.errors import ConfigError
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock, SystemClock
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.identity import peer_id


def agent(data: options.Data = None, metrics_port: options.MetricsPort = None, config: options.Config = None) -> None:
    """Sample this machine and deliver to its fleet's hubs. Join first: peerwatch join TOKEN."""
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
    peers = _Peers(settings, hub, membership, clock)
    node = _node(settings, folder, membership, peers, clock) if peers.wanted else None
    ways = HubWays(hub, membership, node, peers.found, https_too=settings.p2p.https_fallback)
    async with anyio.create_task_group() as around:
        page = None
        if node is not None:
            mesh = MeshProbes(keys.peer, membership, peers.found, settings.p2p.probe_interval_s, node, clock)
            around.start_soon(mesh.run)
            page = NodePage(mesh.page)
            around.start_soon(page.run)
            around.start_soon(node.run)
        role = AgentRole(settings, settings.agent, identity, ways.open, clock, CollectorRegistry(), page)
        role.node = node
        if node is not None:
            interval_s = settings.agent.report_interval_s
            word = RelayWord(
                membership, peers.relays, node.deliver, lambda: role.delivery.last_ack_ms, clock, interval_s
            )
            around.start_soon(word.run)
        async with anyio.create_task_group() as tasks:
            await tasks.start(role.run, stop)
            where = ", ".join(ways.describe(one) for one in role.delivery.hubs) or "no hub, as none is a member now"
            print(f"peerwatch agent {entry.name}: delivering to {where}", flush=True)
            if role.metrics_url:
                print(f"metrics for a Prometheus that pulls: {role.metrics_url}", flush=True)
        role.close()
        around.cancel_scope.cancel()


class _Peers:
    """The hubs as an agent's node reaches them: by what was set, by what they announce, by what the token said."""

    def __init__(self, settings: Settings, known: KnownHub, membership: Membership, clock: Clock) -> None:
        self._p2p = settings.p2p
        self._known = known
        self._membership = membership
        self._clock = clock
        self.wanted = bool(self._p2p.bootstrap_peers or self._p2p.listen or known.link == "p2p")

    def found(self) -> dict[bytes, tuple[str, ...]]:
        """Member to multiaddrs, as of now."""
        set_by_hand, by_token = self._p2p.bootstrap_peers, self._known.multiaddrs
        return hub_peers(self._membership.roster, self._clock.now_ms(), first=set_by_hand, last=by_token)

    def relays(self) -> dict[bytes, tuple[str, ...]]:
        """The relays that were set."""
        return relay_peers(self._membership.roster, self._clock.now_ms(), self._p2p.bootstrap_peers)

    def held(self) -> dict[bytes, tuple[str, ...]]:
        """Whom the node stays connected to: the hubs, and the relays that were set."""
        return {**self.relays(), **self.found()}


def _node(settings: Settings, folder: Path, membership: Membership, peers: _Peers, clock: Clock) -> NodeProcess:
    """The libp2p node that delivers to the hubs."""
    found = peers.found()
    ids = {peer_id(member) for member in peers.held()}
    bootstrap = settings.p2p.bootstrap_peers
    if bootstrap and not any(peer_of(text) in ids for text in bootstrap):
        hubs = ", ".join(peer_id(entry.member) for entry in membership.roster if entry.is_hub and not entry.revoked)
        raise ConfigError(f"p2p.bootstrap_peers: {', '.join(bootstrap)}: none is a relay or hub of this fleet: {hubs}")
    if not found and not settings.p2p.https_fallback:  # else the hub's announcement comes over HTTPS
        raise ConfigError(
            "no hub of this fleet has said where it is reached over libp2p: set p2p.listen on the hub and join again "
            "by `peerwatch invite --link p2p`, or set p2p.bootstrap_peers here"
        )
    start = node_start(settings, folder, folder / "peer.key", "agent")
    bans = BanBook(folder / "kept-bans", settings.name, clock, lambda: membership.roster)
    return NodeProcess(start, lambda: membership.roster, clock, bans=bans, hold=peers.held)
