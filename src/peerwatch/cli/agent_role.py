"""AgentRole: an agent put together from its parts: sampling, sealing, spool, shipping, and its own /metrics."""

from __future__ import annotations

import dataclasses
import platform
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream

import peerwatch
from peerwatch.agent.agent import Agent
from peerwatch.agent.config import AgentConfig
from peerwatch.agent.embedded import EmbeddedDelivery, OpenLink
from peerwatch.agent.farewell import farewell
from peerwatch.agent.metrics_http import MetricsHttpConfig, MetricsServer, Readiness
from peerwatch.agent.newcomers import Newcomers, by_hubs
from peerwatch.agent.seal import Sealer
from peerwatch.agent.shard import MOST_REQUEST_BYTES, ShardDelivery, ShardLink
from peerwatch.agent.ship import Link, ShipConfig, Shipper
from peerwatch.agent.ship_metrics import ShipMetrics
from peerwatch.agent.sources.node import Page
from peerwatch.cli.node_process import NodeProcess
from peerwatch.errors import PeerError, QuotaError, StoreError
from peerwatch.fleet.epoch import next_epoch, read_machine_id
from peerwatch.fleet.membership import Membership
from peerwatch.model import Batch, Clock
from peerwatch.serve.address import Address, is_loopback_host, parse_address
from peerwatch.serve.listen import free_port
from peerwatch.settings import Settings
from peerwatch.spool import Spool
from peerwatch.telemetry import CollectorRegistry, Gauge, get_logger
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.self_report import AGENT_INFO

_log = get_logger("agent")
_QUEUE_BATCHES = 64  # between the sampler and the spool: ten minutes of reports while a disk hangs
_DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Who the agent is, and where that is kept."""

    member: bytes
    signing: PrivateKey
    membership: Membership
    epoch_file: Path


class AgentRole:
    """Owns everything an agent runs. Opening it takes the spool's folder; `run` samples and delivers.

    It delivers to the hubs in its membership, each by the link that `open_link` gives. `node` gives the metrics of the
    libp2p node, where there is one.
    """

    def __init__(
        self,
        settings: Settings,
        config: AgentConfig,
        identity: AgentIdentity,
        open_link: OpenLink,
        clock: Clock,
        registry: CollectorRegistry,
        node: Page | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = registry
        self._identity = identity
        self.spool = Spool.open(settings.folder / "spool", settings.spool, clock=clock, registry=registry)
        epoch = next_epoch(identity.epoch_file, read_machine_id(), clock.now_ms())
        run_file = identity.epoch_file.with_name("open_run")
        self._sealer = Sealer(identity.membership.fleet, identity.member, identity.signing, epoch, run_file=run_file)
        self._ship_metrics = ShipMetrics(registry)
        self.delivery = self._make_delivery(open_link)
        self._incoming, self._batches = anyio.create_memory_object_stream[Batch](_QUEUE_BATCHES)
        self.agent = Agent(config, self._deliver, registry, clock=clock, node=node)
        _announce(settings, registry)
        self._started_s = clock.monotonic_s()
        self.metrics_url = ""
        self.stopped = anyio.Event()
        self.node: NodeProcess | None = None
        """The libp2p node beside it, where there is one: what readiness says of peers."""

    async def run(self, stop: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Sample and deliver until `stop`; then spool what was gathered and deliver what can be within 2 s."""
        async with anyio.create_task_group() as tasks:
            if self._settings.agent_http.enabled:
                await tasks.start(self._serve_metrics)
            tasks.start_soon(self.delivery.run)
            spooled = anyio.Event()
            tasks.start_soon(self._spool_batches, self._batches, spooled)
            sampling, sampled = anyio.CancelScope(), anyio.Event()
            tasks.start_soon(_run_within, sampling, self.agent.run, sampled)
            task_status.started()
            await stop.wait()
            sampling.cancel()
            await self._settle(sampled, spooled)
            remaining = await self.delivery.drain(_DRAIN_S)
            _log.info("agent stopped", undelivered_batches=remaining)
            tasks.cancel_scope.cancel()
        self.stopped.set()

    async def _settle(self, sampled: anyio.Event, spooled: anyio.Event) -> None:
        """Let the cancelled sampler hand over its open batch, the spool take it; then say that this was the last."""
        with anyio.move_on_after(_DRAIN_S):
            await sampled.wait()
            self._incoming.close()
            await spooled.wait()
            await self._spool_batch(farewell(self._clock.now_ms()), last=True)

    def close(self) -> None:
        """Let the spool's folder go; call after `run`."""
        self.spool.close()
        self._sealer.close()

    def _hubs(self) -> list[bytes]:
        """The hubs that may act now, by the signed roster."""
        roster, now_ms = self._identity.membership.roster, self._clock.now_ms()
        return [entry.member for entry in roster if entry.is_hub and roster.may_act(entry, now_ms)]

    def _make_delivery(self, open_link: OpenLink) -> EmbeddedDelivery | ShardDelivery:
        if self._settings.delivery.mode == "shard":
            who = self._identity
            link = ShardLink(who.member, who.membership, self._hubs, open_link, self._clock)
            return ShardDelivery(self.spool, link, self._shipper)
        keep_s = self._settings.delivery.newcomer_s
        newcomers = Newcomers(self.spool, keep_s, self._clock) if keep_s else None
        return EmbeddedDelivery(self.spool, self._hubs, open_link, self._shipper, newcomers)

    def _ship_config(self) -> ShipConfig:
        config = self._settings.ship
        if self._settings.delivery.mode == "embedded":
            return config
        most = MOST_REQUEST_BYTES
        fresh, backfill = min(config.fresh_bytes, most), min(config.backfill_bytes, most)
        return dataclasses.replace(config, fresh_bytes=fresh, backfill_bytes=backfill)

    def _shipper(self, receiver: str, hub: bytes, link: Link) -> Shipper:
        return Shipper(
            self.spool,
            receiver,
            link,
            self._identity.membership,
            self._identity.member,
            self._sealer.delta,
            self._ship_config(),
            self._clock,
            self._registry,
            hub=hub,
            metrics=self._ship_metrics,
        )

    def _deliver(self, batch: Batch) -> None:
        try:
            self._incoming.send_nowait(batch)
        except anyio.WouldBlock:
            raise QuotaError(f"{_QUEUE_BATCHES} batches wait for the spool, the limit: the disk hangs") from None
        except anyio.ClosedResourceError:
            raise QuotaError("the agent is stopping") from None

    async def _spool_batches(self, batches: MemoryObjectReceiveStream[Batch], done: anyio.Event) -> None:
        async with batches:
            async for batch in batches:
                await self._spool_batch(batch, last=False)
        done.set()

    async def _spool_batch(self, batch: Batch, *, last: bool) -> None:
        try:
            await anyio.to_thread.run_sync(self._seal_and_spool, batch, last)
        except (StoreError, PeerError) as error:  # PeerError: a batch that no hub would take
            _log.error("batch lost before the spool", reason=str(error), samples=batch.sample_count)
        self.delivery.wake()

    def _seal_and_spool(self, batch: Batch, last: bool) -> None:
        time_ms = max(int(block.matrix.times_ms[-1]) for block in batch.blocks)
        lacked, kept_for_nobody = by_hubs(self.spool.dropped())
        sealed = self._sealer.seal(batch, time_ms, self.spool.floor(), lacked, last=last)
        self.spool.append(sealed.item, sealed.schemas)
        self._sealer.sent()
        if sealed.dropped or kept_for_nobody:
            self.spool.told(sealed.item.position, [*sealed.dropped, *kept_for_nobody])

    def readiness(self) -> Readiness:
        """Ready when samples reach the spool's disk and a hub acknowledges them; else what does not, in words."""
        degraded = self.spool.stats().degraded
        connected = self.delivery.last_ack_ms > 0
        status = degraded or ("ok" if connected else "no hub has acknowledged anything yet")
        fields: dict[str, str | int | float] = {
            "status": status,
            "connected_peers": self.node.connected_peers if self.node is not None else int(connected),
            "routing_table_size": 0,  # hubs have one; an agent asks them
            "uptime_seconds": round(self._clock.monotonic_s() - self._started_s, 3),
        }
        return Readiness(not degraded and connected, fields)

    async def _serve_metrics(self, *, task_status: TaskStatus[None]) -> None:
        http = self._settings.agent_http
        setting = "agent_http.port"
        configured = bool(self._settings.configured & {setting, "agent_http.host"})
        port = free_port(Address(http.host, http.port), setting, configured=configured)
        server = MetricsServer(
            MetricsHttpConfig(http.host, port, http.credential),
            self.agent.exposition,
            self.readiness,
            self._registry,
            None if is_loopback_host(http.host) else _tls_context(self._settings),
        )
        scheme = "http" if is_loopback_host(http.host) else "https"
        self.metrics_url = f"{scheme}://{Address(http.host, port)}/metrics"
        async with anyio.create_task_group() as tasks:
            await tasks.start(server.serve)
            task_status.started()


def _announce(settings: Settings, registry: CollectorRegistry) -> None:
    """Say, as a metric, what this agent is and where others reach its /metrics: what the hub tells a Prometheus."""
    http = settings.agent_http
    labels = {"version": peerwatch.__version__, "os": sys.platform, "arch": platform.machine()}
    if http.enabled and http.announce:
        address = parse_address(http.announce, "agent_http.announce")
        labels |= {"address": str(address), "scheme": "http" if is_loopback_host(http.host) else "https"}
    help_text = "1, with version, system and the address at which others reach the agent's port."
    Gauge(AGENT_INFO, help_text, list(labels), registry=registry).labels(**labels).set(1)


async def _run_within(scope: anyio.CancelScope, run: Callable[[], Awaitable[None]], ended: anyio.Event) -> None:
    """Run until the scope is cancelled, and say when it has really ended."""
    with scope:
        await run()
    ended.set()


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """The machine's own certificate, for an agent that others may read."""
    from peerwatch.serve.tls import own_certificate  # its library costs memory that a lean agent saves

    files = own_certificate(settings.folder / "tls", ("localhost", settings.name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    return context
