"""MeshHost: the host as libp2p's DHT and gossip see it: nobody is there but the members of the mesh.

They dial, open streams to, and remember whoever a peer names; here that comes to nothing for everybody else. Behind the
door, with `mesh.py`: see docs/libp2p.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from multiaddr import Multiaddr

from peerwatch.errors import LinkError, PeerError, QuotaError
from peerwatch.node.bucket import TokenBucket
from peerwatch.node.swarm import GuardedHost
from peerwatch.node.swarm_conn import GuardedConn, GuardedStream

RECORD_S = 7200  # how long a signed record of addresses is good for: libp2p's own figure; each message brings a new one
_MOST_ADDRESSES = 16  # of one peer; as many as a roster entry has
_MOST_STREAMS = 4  # of one peer and protocol at a time; the DHT serves twelve in all
_MOST_PEERS = 1_024  # whose rate is counted; members of the mesh are hubs and relays
_BYTES_PER_S, _BURST_BYTES = 32_768.0, 262_144.0  # heartbeats and control messages are some 1 KB/s
_TELL_S = 5.0

Belongs = Callable[[str], bool]
"""Whether the peer of this id is a member of the mesh now."""
Negotiate = Callable[[GuardedConn, str], Awaitable[GuardedStream]]
"""A stream on a connection, once its protocol is agreed. Raises LinkError, QuotaError."""


class MeshStore(PeerStore):  # type: ignore[misc]
    """Addresses of the mesh's members, as they have signed them themselves: nobody speaks for another.

    Bounded by the mesh, 16 addresses each. What others say of a peer's addresses without its signature is passed over.
    """

    def __init__(self, belongs: Belongs) -> None:
        super().__init__()
        self.belongs = belongs

    def consume_peer_record(self, envelope: Any, ttl: int) -> bool:
        """A record that a peer signed; False for one that is not believed."""
        record = envelope.record()
        if not self.belongs(str(record.peer_id)) or len(record.addrs) > _MOST_ADDRESSES:
            return True  # nothing wrong with whoever passed it on
        taken: bool = super().consume_peer_record(envelope, ttl)
        if taken:
            super().add_addrs(record.peer_id, record.addrs, ttl)
        return taken

    def add_addrs(self, peer_id: Any, addrs: Sequence[Any], ttl: int = 0) -> None:
        """What the library calls for each address that somebody says of somebody: nothing."""

    def learn(self, peer_id: Any, addrs: Sequence[Any]) -> None:
        """Addresses from elsewhere: the roster, a file, a dial that worked. They count until the peer's own word."""
        room = _MOST_ADDRESSES - len(self.known(peer_id))
        new = [one for one in addrs if one not in self.known(peer_id)][: max(0, room)]
        if new:
            super().add_addrs(peer_id, new, RECORD_S)

    def known(self, peer_id: Any) -> list[Any]:
        """Addresses of a peer, none where it is not known."""
        try:
            return list(self.addrs(peer_id))
        except PeerStoreError:
            return []


class MeshHost:
    """Stands for the host before one DHT and one Pubsub. Owned by the node's event loop.

    Streams that others open are served for members of the mesh only, four of a peer and protocol at a time, and no
    faster than control messages come. Connections are told of once `start` was called: nobody waits for a service that
    is not there yet.
    """

    def __init__(
        self, host: GuardedHost, addresses: Callable[[], Sequence[str]], belongs: Belongs, negotiate: Negotiate
    ) -> None:
        self._host = host
        self._addresses = addresses
        self.belongs = belongs
        self._negotiate = negotiate
        self.store = MeshStore(belongs)
        self._swarm = host.get_network()
        self._notifees: list[Any] = []
        self._serving: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, TokenBucket] = {}
        self._protocols: set[str] = set()
        self._started = False

    # ---- what the mesh asks

    async def start(self) -> None:
        """Tell of connections from now on, first of those that are there."""
        self._started = True
        self._swarm.register_notifee(self)
        for peer_id in self.get_connected_peers():
            for conn in self.get_connections(peer_id):
                await self.connected(self, conn)

    def stop(self) -> None:
        """Serve and tell nothing any more."""
        if self._started:
            self._swarm.remove_notifee(self)
            self._started = False
        for protocol in self._protocols:
            self._host.remove_stream_handler(protocol)
        self._notifees.clear()

    def known(self, peer_id: Any) -> list[str]:
        """A member's addresses as text, each with its peer id: one by a relay does not lead there without."""
        tail = f"/p2p/{peer_id}"
        return [f"{str(one).removesuffix(tail)}{tail}" for one in self.store.known(peer_id)]

    def _bucket(self, peer: str) -> TokenBucket:
        """One for all streams of a peer, so that a new stream is no new allowance."""
        if peer not in self._buckets:
            if len(self._buckets) >= _MOST_PEERS:  # members come and go; those that are gone make room
                self._buckets = {one: bucket for one, bucket in self._buckets.items() if self.belongs(one)}
            self._buckets[peer] = TokenBucket(_BURST_BYTES, _BYTES_PER_S, anyio.current_time())
        return self._buckets[peer]

    @contextmanager
    def _counted(self, peer: str, protocol: str) -> Iterator[None]:
        key = peer, protocol
        if self._serving[key] >= _MOST_STREAMS:
            raise QuotaError(f"{protocol}: {self._serving[key]} streams of {peer}, limit {_MOST_STREAMS}")
        self._serving[key] += 1
        try:
            yield
        finally:
            self._serving[key] -= 1
            if not self._serving[key]:
                del self._serving[key]

    # ---- what the swarm tells

    async def connected(self, _: Any, conn: Any) -> None:
        """Passed on for members of the mesh; whoever does not take it in time is not waited for."""
        await self._tell("connected", conn)

    async def disconnected(self, _: Any, conn: Any) -> None:
        """Passed on for everybody: it may have been a member until now."""
        await self._tell("disconnected", conn)

    async def opened_stream(self, *_: Any) -> None:
        """Of no interest."""

    closed_stream = listen = listen_close = opened_stream

    async def _tell(self, what: str, conn: Any) -> None:
        if what == "connected" and not self.belongs(str(conn.muxed_conn.peer_id)):
            return
        for notifee in self._notifees:
            with anyio.move_on_after(_TELL_S):
                await getattr(notifee, what)(self, conn)

    # ---- what the library asks of a host

    def get_id(self) -> Any:
        """This peer's."""
        return self._host.get_id()

    def get_public_key(self) -> Any:
        """This peer's."""
        return self._host.get_public_key()

    def get_private_key(self) -> Any:
        """This peer's, with which it signs its addresses and what it publishes."""
        return self._host.get_private_key()

    def get_addrs(self) -> list[Any]:
        """What this peer signs as its addresses."""
        me = f"/p2p/{self.get_id()}"
        return [Multiaddr(one.removesuffix(me)) for one in self._addresses()][:_MOST_ADDRESSES]

    def get_peerstore(self) -> MeshStore:
        """The mesh's own."""
        return self.store

    def get_network(self) -> MeshHost:
        """The same object: of a network only connections and their coming and going are asked."""
        return self

    def get_connections(self, peer_id: Any) -> list[Any]:
        """Those of a member of the mesh."""
        conn = self._swarm.open_connection(peer_id) if self.belongs(str(peer_id)) else None
        return [conn] if conn is not None else []

    def get_connected_peers(self) -> list[Any]:
        """Members of the mesh that are connected."""
        return [one for one in self._swarm.connections if self.get_connections(one)]

    def register_notifee(self, notifee: Any) -> None:
        """Who is told of connections to members of the mesh."""
        self._notifees.append(notifee)

    def set_stream_handler(self, protocol: str, handler: Callable[[Any], Awaitable[None]]) -> None:
        """Serve a protocol for members of the mesh."""

        async def serve(stream: GuardedStream) -> None:
            peer = str(stream.muxed_conn.peer_id)
            if not self.belongs(peer):
                raise LinkError(f"{peer} is no hub or relay: {protocol} is not served to it")
            with self._counted(peer, protocol):
                await handler(_Metered(stream, self._bucket(peer)))

        self._protocols.add(protocol)
        self._host.set_stream_handler(protocol, serve)

    def remove_stream_handler(self, protocol: str) -> None:
        """Serve it no longer."""
        self._host.remove_stream_handler(protocol)

    async def new_stream(self, peer_id: Any, protocols: Sequence[str]) -> GuardedStream:
        """A stream to a member of the mesh, which is dialled if need be. Raises SwarmException."""
        if not self.belongs(str(peer_id)):
            raise SwarmException(f"{peer_id} is no hub or relay")
        try:
            conn = await self._swarm.dial(peer_id, self.store.known(peer_id))
            return await self._negotiate(conn, protocols[0])  # each service here has one
        except (LinkError, PeerError) as error:
            raise SwarmException(str(error)) from error


class _Metered:
    """A stream whose other side may send so much and no more. Everything else is the stream's own."""

    def __init__(self, stream: GuardedStream, bucket: TokenBucket) -> None:
        self._stream = stream
        self._bucket = bucket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, n: int | None = None) -> Any:
        """Raises StreamError past the rate; the library resets the stream then."""
        data = await self._stream.read(n)
        wait_s = self._bucket.take(len(data), anyio.current_time())
        if wait_s:
            raise StreamError(f"{self._stream.muxed_conn.peer_id} sends more than {_BYTES_PER_S:g} bytes/s to the mesh")
        return data
