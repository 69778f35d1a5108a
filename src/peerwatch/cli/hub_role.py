"""HubRole: a hub put together from its parts, and its life from the first port to the last fsync."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

import peerwatch
from peerwatch.cli.announcement import Announcement
from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.ban_routes import BanRoutes
from peerwatch.cli.ban_sync import BanSync
from peerwatch.cli.fleet_door import FleetDoor
from peerwatch.cli.hub_app import HubApp, HubParts, Readiness
from peerwatch.cli.hub_client import socket_path
from peerwatch.cli.hub_peers import hub_peers, relay_peers
from peerwatch.cli.hub_status import HubStatus
from peerwatch.cli.member_deeds import delivered
from peerwatch.cli.newsroom import Newsroom
from peerwatch.cli.node_process import NodeProcess
from peerwatch.cli.node_start import node_start
from peerwatch.cli.query_routes import QueryParts, query_parts
from peerwatch.cli.roster_sync import RosterSync, learn_at_start
from peerwatch.cli.sd_routes import SdRoutes
from peerwatch.cli.watched_store import WatchedStore
from peerwatch.cli.write_route import write_route
from peerwatch.collector.collector import Collector
from peerwatch.errors import ConfigError, LinkError, QuotaError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.introducer import Introducer
from peerwatch.fleet.roster import AGENT, HUB
from peerwatch.model import Clock, Matrix, SystemClock
from peerwatch.node.interfaces import own_addresses
from peerwatch.node.messages import Delivered, Inbound
from peerwatch.serve.address import Address, parse_address
from peerwatch.serve.credentials import Credentials, Scope
from peerwatch.serve.gate import Gate
from peerwatch.serve.listen import bind_tcp, bind_unix
from peerwatch.serve.server import Server
from peerwatch.serve.tls import TlsFiles, check_files, own_certificate
from peerwatch.settings import Settings
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry, Gauge, get_logger, process_registry
from peerwatch.wire.baseline import Baseline, decode_baseline
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.identity import public_key_of
from peerwatch.wire.named_cache import NamedCache
from peerwatch.wire.protocols import PARTNERS, PUSH

_log = get_logger("hub")
_MAINTENANCE_S = 1.0
_LEAVE_S, _LEAVE_GAP_S = 2.0, 0.2  # at most, and for the last word to leave the node's queues: 5 ms on a quiet machine
_MAX_BASELINE_ROWS = 4_000_000


class HubRole:
    """Owns store, collector, engine and listeners of one hub. Opening it takes the data folder; `run` serves."""

    def __init__(self, settings: Settings, clock: Clock, registry: CollectorRegistry, *, samples_itself: bool) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = registry
        folder = settings.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.address = parse_address(settings.hub.listen, "hub.listen")
        self.tls = _tls(settings, self.address)
        self.credentials = Credentials(folder / "credentials.json")
        roles = (HUB, AGENT) if samples_itself else (HUB,)
        self.authority = Authority.open(folder / "fleet", settings.name, clock, roles)
        self.listener = bind_tcp(self.address, "hub.listen", configured="hub.listen" in settings.configured)
        self._unix = bind_unix(socket_path(folder))
        self.store = Store.open(
            folder / "store", settings.store, clock=clock, decode_envelope=envelope_decoder(), registry=registry
        )
        status = HubStatus(settings, self.store, lambda: self.collector.agents(), clock)
        self._query: QueryParts = query_parts(self.store, clock, registry, status)
        self._watched = WatchedStore(self.store)
        self.collector = Collector(
            self._watched, self.authority, settings.collector, clock, registry, on_stored=self._query.client.touch
        )
        self._write_route = write_route(settings, self.collector, self._watched, clock, registry)
        self._fleet = FleetDoor(self.authority, clock)
        pin = self.tls.pin() if self.tls else b""
        has_node = bool(settings.p2p.listen)
        self._announcement = Announcement(self.authority, self._invite_addresses(), pin, has_node=has_node)
        self._introducer = Introducer(self.authority, clock)
        self.bans = BanBook(folder / "fleet" / "bans", settings.name, clock, lambda: self.authority.membership.roster)
        self.collector.keep_out(self.bans.blocking)
        self.node = self._make_node()
        ban_sync = BanSync(self.authority, self.bans, clock)
        self._sync = RosterSync(self.authority, ban_sync, settings.hub.sync_interval_s, clock, registry)
        self._newsroom = self._make_newsroom(registry)
        self.bans.on_change = self._on_ban_change
        self._ban_routes = BanRoutes(
            self.bans,
            ban_sync,
            lambda: self.authority.membership.roster,
            self.node,
            clock,
        )
        self.authority.on_change = self._on_roster_change
        self._sd = SdRoutes(settings, self.collector, self._query, clock)
        self._maintenance_error = ""
        # Last, since it is shown only once: a start that fails above must not use it up.
        self.first_token = _first_token(self.credentials, self.address)
        Gauge("peerwatch_build_info", "1, with the version.", ["version"], registry=registry).labels(_version()).set(1)

    @property
    def url(self) -> str:
        """Where people and programs reach this hub."""
        host, port = self.listener.getsockname()[:2]
        if host in ("0.0.0.0", "::"):  # shown as an address that somebody can open
            host = own_addresses(ipv6=host == "::")[0]
        return f"{'https' if self.tls else 'http'}://{Address(host, port)}"

    def _invite_addresses(self) -> tuple[str, ...]:
        if self._settings.hub.addresses:
            return self._settings.hub.addresses
        host, port = self.listener.getsockname()[:2]
        scheme = "https" if self.tls else "http"
        hosts = own_addresses(ipv6=host == "::") if host in ("0.0.0.0", "::") else [host]  # compared, not bound
        return tuple(f"{scheme}://{Address(one, port)}" for one in hosts)

    def _on_roster_change(self) -> None:
        self.collector.roster_changed()
        self._on_ban_change()

    def _on_ban_change(self) -> None:
        self._sync.wake()
        if self._newsroom is not None:
            self._newsroom.wake()

    def _make_newsroom(self, registry: CollectorRegistry) -> Newsroom | None:
        """Gossip with the other hubs, where there is a node to carry it."""
        node, sync = self.node, self._sync
        if node is None:
            return None
        newsroom = Newsroom(self.authority, node.publish, sync.digests, sync.wake, self._clock, registry)
        node.on_news = newsroom.hear
        return newsroom

    def readiness(self) -> Readiness:
        """Ready when a push can be stored and a query answered."""
        stats = self.store.stats()
        refusal = stats.refusal or self._watched.refusal
        if self.authority.is_revoked:
            refusal = "this hub was revoked by its fleet"
        if self.node is not None:
            peers, table = self.node.connected_peers, self.node.routing_table_size
        else:
            peers, table = sum(status.up for status in self.collector.agents()), 0
        return Readiness(refusal is None, refusal or "ok", peers, table)

    def parts(self) -> HubParts:
        """What this hub serves."""
        return HubParts(
            collector=self.collector,
            authority=self.authority,
            clock=self._clock,
            registry=self._registry,
            readiness=self.readiness,
            snapshot=self._snapshot,
            addresses=self._invite_addresses(),
            tls_pin=self.tls.pin() if self.tls else b"",
            max_request_bytes=self._settings.collector.limits.max_request_bytes,
            node_metrics=self.node.metrics if self.node is not None else None,
            routes=[self._write_route, *self._query.routes, *self._sd.routes(), *self._ban_routes.routes()],
        )

    async def run(self, stop: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` is set; then take nothing more, finish, make everything durable and let go."""
        app = HubApp(self.parts())
        gate = Gate(app, self.credentials, loopback=self.address.is_loopback)
        drain_s, loopback = self._settings.hub.drain_s, self.address.is_loopback
        public = Server(
            gate,
            self.listener,
            self.tls,
            drain_s=drain_s,
            fast=app.fast,
            loopback=loopback,
            answerers=self._query.lane.answerers(),
        )
        private = Server(app, self._unix, None, drain_s=drain_s)
        collected = anyio.Event()
        async with anyio.create_task_group() as background:
            await background.start(self._collect, collected)
            background.start_soon(self._maintain)
            background.start_soon(self._query.run)
            self._announcement.make()
            background.start_soon(self._sync.run)
            if self._newsroom is not None:
                background.start_soon(self._newsroom.run)
            async with anyio.create_task_group() as servers:
                await servers.start(public.run)
                await servers.start(private.run)
                if self.node is not None:
                    servers.start_soon(_run_until, stop, self.node.run, self._leave)
                _log.info("hub ready", url=self.url, data=str(self._settings.folder))
                task_status.started()
                await stop.wait()
                self._query.close()
                public.stop()
                private.stop()
            self.collector.close()
            await collected.wait()
            background.cancel_scope.cancel()

    def _make_node(self) -> NodeProcess | None:
        if not self._settings.p2p.listen:
            return None
        folder = self._settings.folder
        start = node_start(self._settings, folder, folder / "fleet" / "peer.key", "hub")
        return NodeProcess(
            start,
            lambda: self.authority.membership.roster,
            self._clock,
            bans=self.bans,
            answer=self.answer_member,
            hold=self.other_hubs,
            on_addresses=self._announcement.node_listens,
        )

    def other_hubs(self) -> Mapping[bytes, Sequence[str]]:
        """Hubs stay connected to one another, and to the relays that were set."""
        roster, set_by_hand = self.authority.membership.roster, self._settings.p2p.bootstrap_peers
        now_ms = self._clock.now_ms()
        hubs = hub_peers(roster, now_ms, first=set_by_hand, me=self.authority.member)
        return {**relay_peers(roster, now_ms, set_by_hand), **hubs}

    async def answer_member(self, inbound: Inbound) -> Delivered:
        """What came over libp2p. The sender is believed no more than over HTTP: its batches are signed."""
        if inbound.protocol == PARTNERS:
            sender = public_key_of(inbound.peer)
            return Delivered(body=await self._introducer.answer(sender, inbound.address, inbound.body))
        if inbound.protocol != PUSH:
            return Delivered(body=self._fleet.answer(inbound))
        if self.authority.is_revoked:  # its acks count nowhere: whoever asks must keep what it has
            raise LinkError("this hub was revoked by its fleet")
        result = await self.collector.push(inbound.body)
        if result.wait_s is not None:
            raise QuotaError("the hub is full", result.wait_s)
        return delivered(result, public_key_of(inbound.peer))

    async def _collect(self, done: anyio.Event, *, task_status: TaskStatus[None]) -> None:
        await self.collector.run(task_status=task_status)
        done.set()

    async def _leave(self) -> None:
        """Tell the other hubs that this one stops, and answer what peers asked, while its node is there to carry it."""
        if self._newsroom is not None:
            with anyio.move_on_after(_LEAVE_S):
                await self._newsroom.leave()
                await anyio.sleep(_LEAVE_GAP_S)
        if self.node is not None:
            await self.node.drain()

    def close(self) -> None:
        """Give the data folder back; call after `run`."""
        self._query.lane.close()
        self.store.close()
        socket_path(self._settings.folder).unlink(missing_ok=True)

    async def _maintain(self) -> None:
        """Flush, compact, retain: whatever is due, in a worker thread. A failure is shown and tried again."""
        while True:
            await anyio.sleep(_MAINTENANCE_S)
            try:
                await anyio.to_thread.run_sync(self.store.maintain)
            except StoreError as error:
                if str(error) != self._maintenance_error:
                    _log.error("store maintenance failed", reason=str(error))
                self._maintenance_error = str(error)
            else:
                self._maintenance_error = ""

    def _snapshot(self, target: str) -> None:
        path = Path(target)
        if not path.is_absolute():
            raise ConfigError(f"target: {target!r} is not an absolute path")
        self.store.snapshot(path)


async def _run_until(
    stop: anyio.Event, run: Callable[[], Coroutine[Any, Any, None]], leave: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await stop.wait()
        await leave()
        tasks.cancel_scope.cancel()


def envelope_decoder() -> _Decoder:
    """How the store reads an envelope back from its WAL: it was verified before it got there."""
    return _Decoder()


class _Decoder:
    def __init__(self) -> None:
        self._compressor = Compressor()
        self._baselines: NamedCache[Baseline] = NamedCache(_MAX_BASELINE_ROWS)

    def __call__(self, raw: bytes, context: Mapping[bytes, bytes]) -> Sequence[Matrix]:
        return [block.matrix for block in parse_envelope(raw).open(self._compressor, baseline_of=self._finder(context))]

    def _finder(self, context: Mapping[bytes, bytes]) -> Callable[[bytes], Baseline | None]:
        def find(name: bytes) -> Baseline | None:
            found = self._baselines.get(name)
            if found is None and name in context:
                found = decode_baseline(context[name])
                self._baselines.put(found)
            return found

        return find


def _tls(settings: Settings, address: Address) -> TlsFiles | None:
    """The certificate, where the listener needs one: everywhere but on loopback."""
    hub = settings.hub
    if address.is_loopback and hub.tls != "always":
        return None
    if bool(hub.tls_cert) != bool(hub.tls_key):
        raise ConfigError("hub.tls_cert and hub.tls_key go together: set both, or neither for our own certificate")
    if hub.tls_cert:
        files = TlsFiles(Path(hub.tls_cert), Path(hub.tls_key), pinned=False)
        check_files(files)
        return files
    names = ("localhost", socket.gethostname(), address.host, *own_addresses(ipv6=address.host == "::"))
    return own_certificate(settings.folder / "tls", tuple(dict.fromkeys(names)))


def _first_token(credentials: Credentials, address: Address) -> str:
    """An admin token at the first start on an address that others reach; the empty string otherwise.

    A hub whose credentials were all removed does not come up open: ConfigError says the way out.
    """
    if address.is_loopback:
        return ""
    if not credentials.exists:
        return credentials.create("first", Scope.ADMIN)
    if not credentials.names():
        raise ConfigError(
            f"hub.listen {address} can be reached by others, and there is no credential: "
            "peerwatch token create NAME --scope admin, or listen on 127.0.0.1"
        )
    return ""


def _version() -> str:
    return peerwatch.__version__


async def run_hub(settings: Settings, stop: anyio.Event) -> None:
    """Run a hub until `stop`."""
    clock = SystemClock()
    await learn_at_start(settings.folder / "fleet", clock)
    role = HubRole(settings, clock, process_registry(), samples_itself=False)
    async with anyio.create_task_group() as tasks:
        await tasks.start(role.run, stop)
        print(f"peerwatch hub: {role.url}", flush=True)
        if role.first_token:
            print(f"credential (scope admin, shown only this once): {role.first_token}", flush=True)
    role.close()
