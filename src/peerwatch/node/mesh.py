"""Mesh: hubs and relays among themselves: a DHT that finds where they are, and gossip for what all of them should hear.

Behind the door, with `mesh_host.py`: peers are member ids, addresses are text. What the library does with what a peer
sends can end its services; that is logged, they begin anew, and the host goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
from libp2p.kad_dht import kad_dht, peer_routing
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.records.validator import NamespacedValidator
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.node.bucket import TokenBucket
from peerwatch.node.mesh_host import MeshHost
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id, public_key_of

_log = get_logger("mesh")

TOPIC = "/peerwatch/control/1"
MAX_GOSSIP_BYTES = 12_288
"""Of one message, so that it fits a note to the main process: presence and a digest take 300 bytes, bans the rest."""
_GOSSIP = "/meshsub/1.1.0"
_MAX_RPC_BYTES = 65_536  # several messages and the heartbeat's control part in one frame
_MAX_QUERY_BYTES = 262_144  # twenty peers with sixteen addresses each, signed and plain: 60 KB
_DEGREE, _DEGREE_LOW, _DEGREE_HIGH = 6, 4, 12  # gossipsub's own figures; a fleet of three hubs is a full mesh
_HEARTBEAT_S = 1
_MESSAGES_PER_S, _BURST_MESSAGES = 2.0, 40.0  # of one hub, whoever passes them on: news every 15 s, and bursts of bans
_MOST_SENDERS = 1_024
_LOOKUP_S = 30.0
_TIDY_S = 2.0
_AGAIN_S = 5.0

Hear = Callable[[bytes, bytes], Awaitable[None]]
"""A hub's member id and what it published. Its own signature has been verified, and nothing else."""

Queried = Callable[[float], None]
"""A query of the DHT has ended after so many seconds."""


class Mesh:
    """One per host. `run` until cancelled. Mutable; owned by the node's event loop.

    `speaks` says who may publish (hubs); who belongs at all is the host's to judge. `hear` is called for one after the
    other; when it is slow, 32 messages wait and the next are dropped.
    """

    def __init__(self, host: MeshHost, speaks: Callable[[str], bool], hear: Hear, queried: Queried) -> None:
        self._host = host
        self._speaks = speaks
        self._hear = hear
        self._queried = queried
        self._me = host.get_id()
        self._dht: Any = None
        self._pubsub: _Gossip | None = None
        self._came_in = 0
        kad_dht.MAX_DHT_MESSAGE_SIZE = peer_routing.MAX_DHT_MESSAGE_SIZE = _MAX_QUERY_BYTES

    async def run(self) -> None:
        """Serve, and begin anew after a failure of the library's."""
        while True:
            try:
                await self._live()
            except Exception as error:  # one peer's nonsense must not cost the others the node
                _log.exception("mesh failed", reason=repr(error), again_s=_AGAIN_S)
            await anyio.sleep(_AGAIN_S)

    async def _live(self) -> None:
        """One life of both services."""
        try:
            gossip = GossipSub(
                [_GOSSIP],
                _DEGREE,
                _DEGREE_LOW,
                _DEGREE_HIGH,
                heartbeat_interval=_HEARTBEAT_S,  # theirs is 120 s
                spam_protection_enabled=False,  # theirs drops, ours is in `_Gossip`
                adaptive_gossip_enabled=False,
                eclipse_protection_enabled=False,  # members are certified; hubs of one machine share an address
            )
            pubsub = _Gossip(self._host, gossip, self._speaks, self._count)
            dht = self._new_dht()
            async with AsyncExitStack() as stack:
                for service in (gossip, pubsub, dht):
                    await stack.enter_async_context(background_trio_service(service))
                tasks = await stack.enter_async_context(anyio.create_task_group())
                await pubsub.wait_until_ready()
                heard = await pubsub.subscribe(TOPIC)
                await self._host.start()
                self._dht, self._pubsub = dht, pubsub
                tasks.start_soon(self._tidy, dht, gossip)
                while True:
                    message = await heard.get()
                    origin = public_key_of(str(ID(message.from_id)))
                    if ID(message.from_id) != self._me:
                        await self._hear(origin, message.data)
        finally:
            self._dht = self._pubsub = None
            self._host.stop()

    def _new_dht(self) -> Any:
        """A server that keeps nobody's values or providers, and knows only addresses that peers have signed."""
        nothing = NamespacedValidator({}, strict_validation=True)
        dht = KadDHT(
            self._host,
            DHTMode.SERVER,
            validator=nothing,
            validator_changed=True,
            strict_validation=True,
            max_peers_per_subnet=0,  # members are certified; theirs takes two of a /24
        )
        dht.provider_store.add_provider = lambda *_: None
        add_peer = dht.routing_table.add_peer

        async def add_known(peer: Any, **more: Any) -> bool:
            """Theirs takes whatever address a third peer named, for whomever."""
            peer = getattr(peer, "peer_id", peer)
            known = self._host.store.known(peer)
            return bool(known) and bool(await add_peer(PeerInfo(peer, known), **more))

        dht.routing_table.add_peer = add_known
        look_up = dht.peer_routing.find_closest_peers_network

        async def timed(*args: Any) -> Any:
            """The library asks by itself, too."""
            began_s = anyio.current_time()
            found = await look_up(*args)
            self._queried(anyio.current_time() - began_s)
            return found

        dht.peer_routing.find_closest_peers_network = timed
        return dht

    async def _tidy(self, dht: Any, gossip: Any) -> None:
        """Put who is connected into the routing table, and out of it who belongs no more; drop what else is kept."""
        while True:
            for peer in self._host.get_connected_peers():
                await dht.routing_table.add_peer(peer, skip_server_mode_check=True)
            for peer in dht.routing_table.get_peer_ids():
                if not self._host.belongs(str(peer)):
                    dht.routing_table.remove_peer(peer)
            gossip.recent_message_deliveries.clear()  # one more float for each message, for ever
            gossip.recent_peer_connections.clear()
            await anyio.sleep(_TIDY_S)

    # ---- where peers are

    def learn(self, member: bytes, addresses: Sequence[str]) -> None:
        """Addresses from elsewhere; they count until the member's own signed word."""
        tail = f"/p2p/{peer_id(member)}"
        self._host.store.learn(_id_of(member), [Multiaddr(one.removesuffix(tail)) for one in addresses])

    def known(self, member: bytes) -> tuple[str, ...]:
        """The addresses that are known of a member, most trusted first."""
        return tuple(self._host.known(_id_of(member)))

    async def find(self, member: bytes) -> tuple[str, ...]:
        """Ask the others where a member is, for 30 s at most; none where nobody knows."""
        if self._dht is None:
            return ()
        with anyio.move_on_after(_LOOKUP_S):
            await self._dht.peer_routing.find_closest_peers_network(_id_of(member).to_bytes())
        return self.known(member)

    @property
    def table_size(self) -> int:
        """Peers in the routing table."""
        return self._dht.routing_table.size() if self._dht is not None else 0

    # ---- gossip

    @property
    def gossip_peers(self) -> int:
        """Peers to which what is published goes at once."""
        return len(self._pubsub.router.mesh.get(TOPIC, ())) if self._pubsub is not None else 0

    def take_messages(self) -> int:
        """How many came in since this was asked, those that were dropped included."""
        count, self._came_in = self._came_in, 0
        return count

    def _count(self) -> None:
        self._came_in += 1

    async def publish(self, data: bytes) -> None:
        """Tell every hub. Raises LinkError while gossip is down, QuotaError for what is too large."""
        if len(data) > MAX_GOSSIP_BYTES:
            raise QuotaError(f"gossip of {len(data)} bytes, limit {MAX_GOSSIP_BYTES}")
        if self._pubsub is None:
            raise LinkError("gossip is not up yet")
        await self._pubsub.publish(TOPIC, data)


class _Gossip(Pubsub):  # type: ignore[misc]
    """Passes on what a hub has signed, is short, and comes slowly; the rest does not reach the library's checks."""

    def __init__(self, host: MeshHost, router: Any, speaks: Callable[[str], bool], count: Callable[[], None]) -> None:
        super().__init__(
            host,
            router,
            max_subscriptions_per_rpc=4,
            max_subscriptions_per_peer=4,
            max_inbound_rpc_size=_MAX_RPC_BYTES,
            allowed_topics={TOPIC},
        )
        self._speaks = speaks
        self._forwarders = _Rates(10 * _MESSAGES_PER_S, 10 * _BURST_MESSAGES)
        self._origins = _Rates(_MESSAGES_PER_S, _BURST_MESSAGES)
        self._count = count
        self.set_topic_validator(TOPIC, self._in_time, False)

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """Theirs ends the service for what it cannot read."""
        try:
            if msg_forwarder == self.my_id:
                await super().push_msg(msg_forwarder, msg)
                return
            self._count()
            if self._forwarders.take(msg_forwarder.to_bytes()) and self._may_pass(msg):
                await super().push_msg(msg_forwarder, msg)
        except Exception as error:
            _log.warning("gossip not read", peer=str(msg_forwarder), error=repr(error)[:200])

    def _may_pass(self, msg: Any) -> bool:
        """By size, topic and whose it says that it is; whether that is so is proved by its signature, after this."""
        if len(msg.data) > MAX_GOSSIP_BYTES or list(msg.topicIDs) != [TOPIC] or self._is_msg_seen(msg):
            return False
        try:
            origin = peer_id(public_key_of(str(ID(msg.from_id))))
        except (DecodeError, ValueError):
            return False
        return self._speaks(origin)

    def _in_time(self, _: Any, msg: Any) -> bool:
        """After the signature: before it, anybody could use up what another hub may send."""
        return self._origins.take(msg.from_id)


class _Rates:
    """A bucket of messages for each sender, a thousand at most: hubs and relays are fewer."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: dict[bytes, TokenBucket] = {}

    def take(self, sender: bytes) -> bool:
        """Whether one more may come now."""
        now_s = anyio.current_time()
        if sender not in self._buckets:
            if len(self._buckets) >= _MOST_SENDERS:
                self._buckets = {one: bucket for one, bucket in self._buckets.items() if not bucket.is_full(now_s)}
            self._buckets[sender] = TokenBucket(self._burst, self._rate_per_s, now_s)
        return not self._buckets[sender].take(1.0, now_s)


def _id_of(member: bytes) -> Any:
    return ID.from_base58(peer_id(member))
