"""The swarm: libp2p's own, but for how connections and streams come, are counted, and go.

Its other half is `hardening.py`. What libp2p's services (DHT, gossipsub, relay) call is all there; what it would do by
itself (dial whoever it knows, prune, identify, ban a peer for a minute after a failed dial) it no longer does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from libp2p.host.basic_host import BasicHost
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from multiaddr import Multiaddr

from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.node.connection import DeniedError
from peerwatch.node.gater import Direction
from peerwatch.node.hardening import GuardedYamux, Wire, is_junk
from peerwatch.node.keeper import Keeper
from peerwatch.node.swarm_conn import GuardedConn
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")

_MOST_ADDRESSES = 8  # tried per dial: a peer that announces more does not make us a scanner


async def _nothing() -> None:
    """Instead of something."""


class GuardedSwarm(Swarm):  # type: ignore[misc]
    """Accepts and dials as the keeper says. No bans, no dialling by itself, no queue that one peer can fill."""

    def __init__(self, keeper: Keeper, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keeper = keeper
        self._dialling: dict[Any, anyio.Lock] = {}
        self.auto_connector.maybe_connect = _nothing  # theirs dials every peer it merely knows
        self.auto_connector.record_disconnect = lambda _: None  # a note for its own dials, kept for ever

    async def _handle_inbound_connection(self, read_write_closer: Wire, maddr: Any) -> None:
        """Until the connection is closed: the listener closes the socket when this returns.

        Theirs holds a slot of 250 for each connection there ever was, and a task, until the swarm stops.
        """
        await self.serve(read_write_closer)

    async def serve(self, wire: Wire) -> None:
        """Let in whoever is at the other end of it, or report why not; return when the connection has ended."""
        try:
            conn = await self._let_in(wire)
        except Exception as error:
            self.keeper.refused(wire.address, Direction.IN, error)
            return
        await conn.event_closed.wait()
        await wire.close()  # which may be under way, with a last word: the listener will not wait for it

    async def upgrade(self, wire: Wire, member: bytes) -> None:
        """Make a connection of a wire at whose other end this member should be. Raises LinkError, DeniedError."""
        direction = Direction.OUT if wire.is_initiator else Direction.IN
        peer = library_id(member) if wire.is_initiator else None
        try:
            async with self.keeper.handshake(direction):
                await self._upgraded(wire, peer, direction.value)
        except Exception as error:
            failure = _translated(error, wire.address)
            self.keeper.refused(wire.address, direction, failure)
            raise failure from error

    async def _let_in(self, wire: Wire) -> GuardedConn:
        with self.keeper.arriving(wire.address):
            async with self.keeper.handshake(Direction.IN):
                return await self._upgraded(wire, None, "inbound")

    async def _upgraded(self, wire: Wire, peer_id: Any, direction: str) -> GuardedConn:
        """What the transport needs, Noise, Yamux, then a seat; a failure anywhere leaves nothing behind."""
        try:
            await wire.open()
            secured = await self.upgrader.upgrade_security(wire, peer_id is not None, peer_id)
            muxed = await self.upgrader.upgrade_connection(secured, secured.get_remote_peer())
            return await self.add_conn(muxed, direction)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await wire.close()
            if wire.seat is not None:
                self.keeper.seats.release(wire.seat)
            raise

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> GuardedConn:
        """Register a connection that has passed the gate; of two to one peer, one is closed.

        Raises SwarmException for one that did not come by Noise over a wire of ours.
        """
        seat = muxed_conn.seat if isinstance(muxed_conn, GuardedYamux) else None
        if seat is None or self.background_nursery is None:
            await muxed_conn.close()
            raise SwarmException(f"connection to {muxed_conn.peer_id} has not passed the gate")
        conn = GuardedConn(muxed_conn, self, direction, seat)
        seat.close, seat.give_up_stream = conn.abort, conn.give_up_stream
        loser = self.keeper.seated(seat)
        if loser is seat:
            raise SwarmException(f"connection to {muxed_conn.peer_id} is the second of two at once")
        self.connections.setdefault(muxed_conn.peer_id, []).append(conn)
        self.background_nursery.start_soon(conn.run)
        if loser is not None and loser.close is not None:
            reason = "replaced" if loser.direction is seat.direction else "duplicate"
            self.background_nursery.start_soon(loser.close, reason)
        await muxed_conn.event_started.wait()
        await conn.event_started.wait()
        await self.notify_connected(conn)
        return conn

    def open_connection(self, peer_id: Any) -> GuardedConn | None:
        """The peer's connection, if there is one that lives."""
        for conn in self.connections.get(peer_id, ()):
            if not conn.is_closed and not conn.seat.ended:
                found: GuardedConn = conn
                return found
        return None

    def connection_to(self, member: bytes) -> GuardedConn | None:
        """A member's connection, if there is one that lives."""
        return self.open_connection(library_id(member))

    def open_connections(self) -> list[GuardedConn]:
        """All that are there now."""
        return [conn for conns in self.connections.values() for conn in conns]

    async def dial_peer(self, peer_id: Any) -> list[Any]:
        """What libp2p's services call: by the addresses in the peer store."""
        try:
            addresses = self.peerstore.addrs(peer_id)
        except PeerStoreError:
            addresses = []
        return [await self.dial(peer_id, addresses)]

    async def dial(self, peer_id: Any, addresses: Sequence[Any]) -> GuardedConn:
        """The connection to a peer, one address after the other. Raises LinkError, DeniedError, QuotaError.

        Nobody is banned for a dial that failed, and no dial waits a quarter of a second for nothing.
        """
        failure: Exception = LinkError(f"no address of {peer_id} is known")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                return self.open_connection(peer_id) or await self._dial_one(peer_id, address)
            except Exception as error:
                failure = _translated(error, f"{address}")
                if self.open_connection(peer_id) is None:  # else it dialled us at the same time, and its connection won
                    self.keeper.refused(str(address), Direction.OUT, failure)
        found = self.open_connection(peer_id)
        if found is None:
            raise failure
        return found

    async def _dial_one(self, peer_id: Any, address: Any) -> GuardedConn:
        if all(one.name != "p2p" for one in address.protocols()):
            address = address.encapsulate(Multiaddr(f"/p2p/{peer_id}"))  # the gate judges whom, as well as where
        transport = self.transport_manager.transport_for_dialing(address)
        if transport is None:
            raise LinkError("no transport for this address: TCP and WebSocket (/ws) are dialled, not /wss or QUIC")
        await transport.prepare(address)  # before our turn: of two relays, each behind the other, none would ever go on
        async with self._turn(peer_id):
            return self.open_connection(peer_id) or await self._connected(peer_id, transport, address)

    async def _connected(self, peer_id: Any, transport: Any, address: Any) -> GuardedConn:
        async with self.keeper.handshake(Direction.OUT):
            return await self._upgraded(await transport.dial(address), peer_id, "outbound")

    @asynccontextmanager
    async def _turn(self, peer_id: Any) -> AsyncIterator[None]:
        """One dial of a peer at a time. Whoever has the turn waits for no other peer's."""
        lock = self._dialling.setdefault(peer_id, anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._dialling.pop(peer_id, None)

    def _schedule_auto_connect(self) -> None:
        """As above, after each disconnect."""

    async def _notify(self, method: str, *args: Any) -> None:
        """One after the other; theirs has a nursery for each event, and each stream has two events."""
        for notifee in self.notifees:
            try:
                await getattr(notifee, method)(self, *args)
            except Exception as error:
                _log.warning("notifee failed", notifee=type(notifee).__name__, method=method, error=repr(error))

    def _schedule_prune(self) -> None:
        """Theirs closes connections by its own numbers."""


class GuardedHost(BasicHost):  # type: ignore[misc]
    """Negotiates within limits of number, time and size, and asks nobody to identify itself."""

    def __init__(self, swarm: GuardedSwarm, **kwargs: Any) -> None:
        super().__init__(swarm, **kwargs)
        self._keeper = swarm.keeper

    async def _swarm_stream_handler(self, net_stream: Any) -> None:
        """What it raises resets the stream: see GuardedConn."""
        within_s = self._keeper.limits.handshake_timeout_s
        with self._keeper.negotiating():
            try:
                with anyio.fail_after(within_s):
                    protocol, handler = await self.multiselect.negotiate(MultiselectCommunicator(net_stream))
            except TimeoutError as error:
                raise LinkError(f"no protocol agreed within {within_s:g} s") from error
            except MultiselectError as error:
                if is_junk(error):
                    raise DecodeError(f"no word of multistream-select: {error.__cause__ or error!r}") from error
                raise
        if protocol is None or handler is None:
            raise LinkError("no protocol agreed")
        net_stream.set_protocol(protocol)
        await handler(net_stream)

    def _schedule_identify(self, peer_id: Any, *, reason: str) -> None:
        """Theirs runs in a task that belongs to nobody: what it raises ends the process."""


def library_id(member: bytes) -> Any:
    """A member as libp2p names it."""
    return ID.from_base58(peer_id(member))


def _translated(error: BaseException, what: str) -> Exception:
    """Our own error from inside what libp2p wrapped around it; else a LinkError."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (DeniedError, QuotaError, LinkError)):
            return cause
        cause = cause.__cause__
    words = str(error) or type(error).__name__
    failure = LinkError(f"{what}: {words}")
    failure.__cause__ = error
    return failure
