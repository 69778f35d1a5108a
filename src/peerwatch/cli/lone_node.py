"""LoneNode: a libp2p node that runs by itself, as first address and relay of a fleet: no sampling, no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import anyio.abc

from peerwatch.agent.metrics_http import MetricsHttpConfig, MetricsServer, Readiness
from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.hub_peers import hub_peers
from peerwatch.cli.known_hub import load_known_hub
from peerwatch.cli.node_process import NodeProcess
from peerwatch.cli.node_start import node_start
from peerwatch.cli.roster_follow import RosterFollower
from peerwatch.errors import ConfigError, DecodeError, LinkError
from peerwatch.fleet.keys import MemberKeys, load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock, SystemClock
from peerwatch.node.address import parse_address
from peerwatch.node.messages import Delivered, Inbound, Status
from peerwatch.serve.address import Address, is_loopback_host
from peerwatch.serve.listen import free_port
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry, generate_latest, get_logger, process_registry
from peerwatch.wire.identity import public_key_of
from peerwatch.wire.protocols import MEMBERSHIP, ROSTER

_log = get_logger("node")
FOLDER = "node"
DEFAULT_LISTEN = "/ip4/0.0.0.0/tcp/4001"
_LOOK_S = 1.0


class LoneNode:
    """Supervises the node's process, follows the roster, answers /metrics and /health. `run` until told to stop."""

    def __init__(
        self,
        settings: Settings,
        membership: Membership,
        keys: MemberKeys,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._membership = membership
        self._clock = clock
        self._registry = registry
        self._began_s = clock.monotonic_s()
        self._status: Status | None = None
        self._node_metrics = b""
        folder = settings.folder / FOLDER
        start = node_start(settings, folder, folder / "peer.key", "hub" if settings.p2p.bootstrap else "agent")
        self._follower = RosterFollower(
            membership,
            keys,
            lambda hub, question: self._node.deliver(hub, ROSTER, question),
            settings.hub.sync_interval_s,
            clock,
            registry,
        )
        self._node = NodeProcess(
            start,
            lambda: self._follower,
            clock,
            bans=BanBook(folder / "kept-bans", settings.name, clock, lambda: membership.roster),
            answer=self._answer,
            hold=self._whom_to_hold,
        )
        self._by_token = load_known_hub(folder).multiaddrs
        self._bootstrap_peers = _bootstrap_peers(settings.p2p.bootstrap_peers)

    async def run(self, stop: anyio.Event) -> None:
        """Until `stop`."""
        async with anyio.create_task_group() as tasks:
            if self._settings.agent_http.enabled:
                print(f"metrics for a Prometheus that pulls: {await self._serve_metrics(tasks)}", flush=True)
            tasks.start_soon(self._node.run)
            tasks.start_soon(self._follower.run)
            tasks.start_soon(self._look)
            await stop.wait()
            tasks.cancel_scope.cancel()

    def _whom_to_hold(self) -> Mapping[bytes, Sequence[str]]:
        """The peers that were set, hubs or not, and every hub that says where it is."""
        roster, set_by_hand = self._membership.roster, self._settings.p2p.bootstrap_peers
        hubs = hub_peers(roster, self._clock.now_ms(), first=set_by_hand, last=self._by_token)
        return {**self._bootstrap_peers, **hubs}

    async def _answer(self, inbound: Inbound) -> Delivered:
        """Who the hubs are, for whoever has this address and no other."""
        if inbound.protocol != MEMBERSHIP:
            raise LinkError(f"nobody answers {inbound.protocol} here: this node stores nothing")
        return Delivered(body=self._membership.welcome(b""))

    async def _look(self) -> None:
        """Keep what /metrics and /health say no older than a second."""
        told = False
        while True:
            try:
                self._status, self._node_metrics = await self._node.status(), await self._node.metrics()
            except LinkError:
                self._status, self._node_metrics = None, b""
            if self._status is not None and not told:
                told = True
                print(f"libp2p: {' '.join(self._status.addresses) or 'dials only'}", flush=True)
            await anyio.sleep(_LOOK_S)

    def readiness(self) -> Readiness:
        """Ready when it listens and knows who is a member; else what is missing, in words."""
        reason = "ok"
        if self._follower.is_revoked:
            reason = "this node was revoked by its fleet"
        elif self._status is None:
            reason = "the libp2p process is not up"
        elif not self._follower.is_fresh:
            reason = "no hub has said who the members are, so only hubs are let in"
        fields: dict[str, str | int | float] = {
            "status": reason,
            "connected_peers": len(self._status.peers) if self._status else 0,
            "routing_table_size": self._status.routing_table_size if self._status else 0,
            "uptime_seconds": round(self._clock.monotonic_s() - self._began_s, 3),
        }
        return Readiness(reason == "ok", fields)

    async def _serve_metrics(self, tasks: anyio.abc.TaskGroup) -> str:
        http = self._settings.agent_http
        if not is_loopback_host(http.host):
            raise ConfigError(f"agent_http.host: {http.host}; `peerwatch node` shows its metrics on loopback only")
        configured = bool(self._settings.configured & {"agent_http.port", "agent_http.host"})
        port = free_port(Address(http.host, http.port), "agent_http.port", configured=configured)
        server = MetricsServer(MetricsHttpConfig(http.host, port), self._exposition, self.readiness, self._registry)
        await tasks.start(server.serve)
        return f"http://{Address(http.host, port)}/metrics"

    def _exposition(self) -> bytes:
        return generate_latest(self._registry) + self._node_metrics


def _bootstrap_peers(listed: Sequence[str]) -> dict[bytes, list[str]]:
    """Whom to stay connected to, by member."""
    found: dict[bytes, list[str]] = {}
    for text in listed:
        try:
            found.setdefault(public_key_of(parse_address(text).peer), []).append(text)
        except DecodeError as error:
            raise ConfigError(f"p2p.bootstrap_peers: {error}; each must end in /p2p/PEER_ID") from error
    return found


async def run_lone_node(settings: Settings, stop: anyio.Event) -> None:
    """Run the node of the machine that joined as a relay, until `stop`."""
    clock, folder = SystemClock(), settings.folder / FOLDER
    try:
        membership = Membership.load(folder / "membership.bin", clock.now_ms())
    except FileNotFoundError:
        raise ConfigError(
            f"this machine has joined no fleet as a relay ({folder / 'membership.bin'} is not there): on a hub run "
            "`peerwatch invite --roles relay`, then here `peerwatch join TOKEN`"
        ) from None
    keys = load_or_create_keys(folder)
    entry = membership.roster.get(keys.peer.public)
    if entry is None:
        raise ConfigError(f"{folder}: the membership does not contain this machine; join again")
    node = LoneNode(settings, membership, keys, clock, process_registry())
    kind = "bootstrap and relay" if settings.p2p.bootstrap else "peer"
    print(f"peerwatch node {entry.name}: {kind}", flush=True)
    await node.run(stop)
    _log.info("node stopped")
