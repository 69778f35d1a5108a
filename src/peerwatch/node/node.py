"""Node: the process that faces the network, put together: host, gate, bans, and the socket to the main process."""

from __future__ import annotations

import random
from pathlib import Path

import anyio

from peerwatch import __version__
from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.fleet.roster import HUB, INVITE, RELAY
from peerwatch.model import Clock
from peerwatch.node.address import parse_address
from peerwatch.node.ban_file import load_bans
from peerwatch.node.ban_keeper import BanKeeper
from peerwatch.node.bans import Ban, Bans
from peerwatch.node.carrier import Carrier
from peerwatch.node.conduct import Conduct
from peerwatch.node.config import NodeConfig
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened
from peerwatch.node.connection import Event as HostEvent
from peerwatch.node.events import Event, EventType
from peerwatch.node.gate import NodeGate
from peerwatch.node.gater import Direction
from peerwatch.node.holder import Holder
from peerwatch.node.host import Host
from peerwatch.node.journal import Journal
from peerwatch.node.mesh_member import MeshMember
from peerwatch.node.messages import (
    AskMetrics,
    AskStatus,
    ClosePeer,
    DeedCount,
    Deliver,
    Delivered,
    Done,
    Inbound,
    Message,
    Metrics,
    Note,
    OpenPeer,
    PeerRecord,
    Presence,
    Probe,
    Probed,
    Publish,
    Reply,
    SetBans,
    SetPartners,
    SetRoster,
    Status,
    to_ban,
    to_view,
)
from peerwatch.node.prober import Prober
from peerwatch.node.reputation import Deed
from peerwatch.node.reservations import Reservations
from peerwatch.node.socket import SOCKET_NAME, NodeServer
from peerwatch.node.tally import Tally
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import PrivateKey, peer_id, public_key_of
from peerwatch.wire.protocols import PUSH

_log = get_logger("node")
_DEEDS = {one.value: one for one in Deed}


class Node:
    """Answers the main process, and carries what peers ask it. Nobody gets in before the first roster.

    Mutable; owned by the event loop (trio) that is in `run`. `folder` holds its socket and its bans.
    """

    def __init__(self, key: PrivateKey, config: NodeConfig, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._bans = Bans(config.max_bans)
        self._bans.merge(load_bans(folder / "bans"), clock.now_ms())
        self._gate = NodeGate(config, self._bans, clock)
        self._server = NodeServer(folder / SOCKET_NAME, self, config.socket, f"peerwatch {__version__}")
        self._host = Host(
            key,
            self._gate,
            self._hear_event,
            limits=config.limits,
            listen=config.listen,
            external=config.external,
            may_reserve=self._may_reserve if config.bootstrap else None,
            punches=True,
        )
        self._reservations = Reservations(self._host, self._relays)
        self._is_reached = bool(config.external)
        self._keeper = BanKeeper(self._bans, folder / "bans", clock, self._server, self._cut_off)
        self._journal = Journal(clock)
        self._tally = Tally(config, self._bans, self._host.usage, clock.now_ms)
        count = self._tally.metrics.deed
        self._conduct = Conduct(config, self._bans, clock, self._host.peer_id, self._is_hub, self._on_ban, count)
        self._gate.is_crowded = self._conduct.is_crowded
        self._carrier = Carrier(self._host, self._serve, self._tally.metrics, self._conduct)
        self._tally.watch(self._carrier.held, self._carrier.turns)
        self._prober = Prober(self._host, self._tell_probe, self._tally.metrics, clock, random.Random())
        self._answer_s = config.socket.answer_s
        self._mesh: MeshMember | None = None
        self._holder = Holder(self._host, clock)
        if config.mesh:
            roster, metrics = lambda: self._gate.roster, self._tally.metrics
            self._mesh = MeshMember(self._host, roster, folder, clock, metrics, self._server.tell)
            self._holder = Holder(self._host, clock, self._mesh.where, self._mesh.lookup)
        self._started_s = clock.monotonic_s()

    async def run(self, stop: anyio.Event) -> None:
        """Until `stop`. Raises ConfigError when it cannot listen."""
        async with self._host, anyio.create_task_group() as tasks:
            await tasks.start(self._server.run)
            tasks.start_soon(self._holder.run)
            if self._mesh is not None:
                tasks.start_soon(self._mesh.run)
            if not self._is_reached:  # whoever says where others dial it needs no relay
                tasks.start_soon(self._reservations.run)
            tasks.start_soon(self._prober.run)
            tasks.start_soon(self._keeper.run)
            _log.info("node ready", addresses=" ".join(self._host.addresses))
            self._journal.tell(Event(EventType.NODE_STARTED, self._host.peer_id))
            await stop.wait()
            ran_ms = (self._clock.monotonic_s() - self._started_s) * 1000
            self._journal.tell(Event(EventType.NODE_STOPPED, self._host.peer_id, ran_ms))
            if self._mesh is not None:
                self._mesh.save()
            tasks.cancel_scope.cancel()

    # ---- the main process's side

    async def answer(self, request: Message) -> Reply:
        """See `channel.Handler`."""
        match request:
            case Deliver():
                return await self._deliver(request)
            case SetRoster():
                await self._set_roster(request)
            case SetBans():
                await self._set_bans(request)
            case OpenPeer():
                await self._holder.hold(public_key_of(request.peer), request.addresses, request.wait_ms / 1000)
            case ClosePeer():
                member = public_key_of(request.peer)
                self._holder.drop(member)
                await self._host.close_peer(member, request.reason or "closed")
            case SetPartners():
                partners = {public_key_of(one.peer): tuple(one.addresses) for one in request.partners}
                self._prober.measure(partners, request.interval_ms / 1000)
            case Publish() if self._mesh is not None:
                await self._mesh.publish(request.body)
            case AskStatus():
                if request.measure:
                    await self._host.measure()
                return self._status()
            case AskMetrics():
                if self._mesh is not None:
                    self._mesh.show()
                self._tally.metrics.show_tasks(len(anyio.get_running_tasks()))
                return Metrics(text=self._tally.render())
            case _:
                raise LinkError(f"this node does not do {type(request).__name__}")
        return Done()

    def hear(self, note: Note) -> None:
        """See `channel.Handler`: the main process tells nothing without being asked."""

    async def _deliver(self, request: Deliver) -> Delivered:
        member = public_key_of(request.peer)
        return Delivered(body=await self._carrier.ask(member, request.protocol, request.body, request.wait_ms / 1000))

    async def _set_roster(self, request: SetRoster) -> None:
        view, before = to_view(request), self._gate.roster
        self._gate.roster = view
        now_ms = self._clock.now_ms()
        for one in self._host.connections:  # also those whose time has come since
            peer = peer_id(one.member)
            if not view.is_member(peer, now_ms):
                await self._host.close_peer(one.member, "roster")
                if before.is_of_the_fleet(peer):  # a guest that is no partner any more was not put out
                    self._journal.tell(Event(EventType.MEMBER_REVOKED, peer))
        if self._mesh is not None:
            self._holder.want(self._mesh.wanted())
        if (view.version, view.members.keys()) != (before.version, before.members.keys()):  # else only times changed
            _log.info("roster", version=view.version, before=before.version, members=len(view.members))

    async def _set_bans(self, request: SetBans) -> None:
        for ban in self._bans.merge(map(to_ban, request.bans), self._clock.now_ms()):
            if ban.lifted:
                self._conduct.forget(ban.subject)
                self._tally.metrics.show_bans(len(self._bans.active(self._clock.now_ms())))
                self._journal.tell(Event(EventType.BAN_LIFTED, ban.subject))
            else:
                self._count_ban(ban)
        await self._keeper.settle()

    def _is_hub(self, peer: str) -> bool:
        return self._gate.roster.has_role(peer, HUB, self._clock.now_ms())

    def _on_ban(self, ban: Ban) -> None:
        self._count_ban(ban)
        self._keeper.made(ban)

    def _count_ban(self, ban: Ban) -> None:
        """One that was made here or heard of."""
        now_ms = self._clock.now_ms()
        self._tally.metrics.banned(permanent=ban.permanent, active=len(self._bans.active(now_ms)))
        duration_ms = 0 if ban.permanent else max(0, ban.expires_ms - now_ms)
        self._journal.tell(Event(EventType.PEER_BANNED, ban.subject, duration_ms, error=ban.reason))

    async def _cut_off(self) -> None:
        for one in self._host.connections:
            if self._gate.admit(one.member, one.address, one.direction) is not None:
                await self._host.close_peer(one.member, "banned")

    def _status(self) -> Status:
        began_ms = self._clock.now_ms() - anyio.current_time() * 1000  # of the event loop's clock
        peers = [
            PeerRecord(
                peer_id(one.member),
                one.address,
                one.direction.value,
                round(began_ms + one.opened_s * 1000),
                round(one.rtt_s * 1e6),
                round(self._conduct.score(one.member), 1),
            )
            for one in self._host.connections
        ]
        return Status(
            peer=self._host.peer_id,
            uptime_ms=round((self._clock.monotonic_s() - self._started_s) * 1000),
            addresses=list(self._host.addresses),
            peers=peers,
            routing_table_size=self._mesh.table_size if self._mesh is not None else 0,
            roster_version=self._gate.roster.version,
        )

    def _tell_probe(self, probe: Probe) -> None:
        self._server.tell(Probed(probes=[probe]))

    # ---- relays

    def _may_reserve(self, member: bytes) -> bool:
        """Machines may; the key of an invite is not one yet."""
        return not self._gate.roster.has_role(peer_id(member), INVITE, self._clock.now_ms())

    def _relays(self) -> list[bytes]:
        """Hubs and lone nodes that this node has dialled itself."""
        roster, now_ms = self._gate.roster, self._clock.now_ms()
        return [
            one.member
            for one in self._host.connections
            if one.direction is Direction.OUT
            and not parse_address(one.address).relayed
            and any(roster.has_role(peer_id(one.member), role, now_ms) for role in (HUB, RELAY))
        ]

    # ---- the network's side

    async def _serve(self, member: bytes, protocol: str, body: bytes) -> bytes:
        """What a peer asks is the main process's to answer: this one believes nothing and keeps nothing."""
        address = next((one.address for one in self._host.connections if one.member == member), "")
        inbound = Inbound(peer=peer_id(member), address=address, protocol=protocol, body=body)
        try:
            reply = await self._server.request(inbound, self._answer_s)
        except DecodeError:
            # A question about the roster may also be refused for a clock that is wrong: that bans nobody.
            self._conduct.did(Deed.MALFORMED if protocol == PUSH else Deed.DENIED, member)
            raise
        except QuotaError:
            self._conduct.did(Deed.DENIED, member)
            raise
        if not isinstance(reply, Delivered):
            raise LinkError(f"the main process answered with {type(reply).__name__}")
        self._judge(member, protocol, reply)
        return reply.body

    def _judge(self, member: bytes, protocol: str, reply: Delivered) -> None:
        """What the main process found, which has verified what this one cannot."""
        deeds = reply.deeds or ([DeedCount(Deed.DELIVERED.value)] if protocol == PUSH else [])
        for one in deeds:
            if one.deed in _DEEDS:
                self._conduct.did(_DEEDS[one.deed], member, one.times)

    def _hear_event(self, event: HostEvent) -> None:
        self._tally.hear(event)
        self._conduct.hear(event)
        self._journal.hear(event)
        if not isinstance(event, ConnectionOpened | ConnectionClosed):
            return
        connected = isinstance(event, ConnectionOpened)
        if isinstance(event, ConnectionClosed):
            if not self._host.is_connected(event.member):  # else a newer one took its place
                self._carrier.forget(event.member)
            self._holder.wake()
        elif self._mesh is not None:
            self._mesh.opened(event)
        self._server.tell(
            Presence(
                peer=peer_id(event.member),
                connected=connected,
                direction=event.direction.value,
                address=event.address,
                time_ms=self._clock.now_ms(),
            )
        )
