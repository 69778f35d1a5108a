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
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr import Direction as LibraryDirection
from multiaddr import Multiaddr

from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.node.connection import DeniedError, StreamClosed, StreamOpened
from peerwatch.node.gater import Direction
from peerwatch.node.hardening import GuardedYamux, Wire, address_of, is_junk
from peerwatch.node.keeper import Keeper
from peerwatch.node.seats import Seat
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")

_OPEN = StreamState.OPEN
_MOST_ADDRESSES = 8  # tried per dial: a peer that announces more does not make us a scanner


async def _nothing() -> None:
    """Instead of something."""


class GuardedStream(NetStream):  # type: ignore[misc]
    """A stream that stamps its use, is counted until it ends, and is told of once."""

    def __init__(self, muxed_stream: Any, conn: GuardedConn, direction: Direction) -> None:
        super().__init__(muxed_stream, conn, None)
        self._direction = LibraryDirection.from_string(direction.value)
        self.way = direction
        self.used_s = self.since_s = anyio.current_time()
        self.ended = ""
        self.owed = False
        """We asked for something on it, and nothing has come since."""
        self._counted = True

    def set_protocol(self, protocol_id: Any) -> None:
        """Both sides know what is spoken: from here on it is told of, libp2p's own services' streams too."""
        super().set_protocol(protocol_id)
        seat = self.swarm_conn.seat
        self.swarm_conn.keeper.tell(StreamOpened(seat.member, str(protocol_id), self.way))

    async def read(self, n: int | None = None) -> Any:
        """As the library's."""
        data = await super().read(n)
        self.used_s = anyio.current_time()
        self.owed = False
        return data

    async def write(self, data: bytes) -> None:
        """As the library's."""
        self.owed = self.way is Direction.OUT
        await super().write(data)
        self.used_s = anyio.current_time()

    async def reset(self) -> None:
        """As the library's."""
        self.ended = self.ended or "reset"
        await super().reset()

    def uncount(self) -> None:
        """It has ended: by close, by reset, with its handler or with the connection."""
        if not self._counted:
            return
        self._counted = False
        conn = self.swarm_conn
        conn.keeper.seats.drop_stream(conn.seat, self.way)
        conn.seat.used_s = anyio.current_time()  # from here the connection counts as idle (requirement B12)
        if self.get_protocol() is not None:
            lasted_s = anyio.current_time() - self.since_s
            reason = self.ended or "closed"
            conn.keeper.tell(StreamClosed(conn.seat.member, self.get_protocol(), self.way, lasted_s, reason))


class GuardedConn(SwarmConn):  # type: ignore[misc]
    """A connection whose streams are bounded and whose handlers can only end themselves."""

    def __init__(self, muxed_conn: Any, swarm: GuardedSwarm, direction: str, seat: Seat) -> None:
        super().__init__(muxed_conn, swarm, direction=direction)
        self.seat = seat
        self.keeper = swarm.keeper
        self.strays: set[Any] = set()

    async def run(self) -> None:
        """Until it is closed by either side. Whatever fails ends this connection and nothing else."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.start)
                await self.muxed_conn.start()
                await self.end("remote")
                tasks.cancel_scope.cancel()  # handlers that wait for something else than the other side
        except Exception as error:
            _log.warning("connection failed", peer=str(self.muxed_conn.peer_id), error=repr(error))
        finally:
            await self.end("remote")

    async def end(self, reason: str) -> None:
        """Close it; the first reason given is the one that is told."""
        self.seat.ended = self.seat.ended or self.muxed_conn.ended or reason
        await self.close()

    async def abort(self, reason: str) -> None:
        """Close the socket first: for a peer that is gone, and would not take a goodbye."""
        self.seat.ended = self.seat.ended or reason
        await self.muxed_conn.abort()
        await self.close()

    async def close(self) -> None:
        """As the library's, never half done, and the seat is given back after the socket."""
        if self.is_closed:
            return
        self.seat.ended = self.seat.ended or self.muxed_conn.ended
        try:
            with anyio.CancelScope(shield=True):
                await super().close()
        finally:
            for stream in list(self.streams):
                self.remove_stream(stream)
            self.keeper.unseated(self.seat)

    async def _cleanup(self) -> None:
        """As the library's, less 0.1 s of sleep."""
        self.swarm.remove_conn(self)
        for stream in self.streams.copy():
            stream.ended = stream.ended or self.seat.ended or "remote"
            await stream.reset()
        await self._notify_disconnected()

    # ---- streams

    async def _handle_muxed_stream(self, muxed_stream: Any) -> None:
        """Theirs let the handler's exception through, which ended the host; and queued what was over the limit."""
        try:
            self._take_inbound()
        except QuotaError as error:
            await self._drop(muxed_stream)
            self.keeper.stream_refused(self.seat, error)
            return
        stream = await self._counted(muxed_stream, Direction.IN)
        try:
            await self.swarm.common_stream_handler(stream)
        except Exception as error:
            await self._failed(stream, error)
        except BaseException:
            stream.ended = "reset"
            raise
        finally:
            self.remove_stream(stream)

    def _take_inbound(self) -> None:
        """A place for a stream of the other side's; where all are taken, one of whoever has the most."""
        seats = self.keeper.seats
        try:
            seats.take_stream(self.seat, Direction.IN)
        except QuotaError:
            loser = seats.greediest(self.seat)
            if loser is None or loser.give_up_stream is None:
                raise
            loser.give_up_stream()
            seats.take_stream(self.seat, Direction.IN)

    def give_up_stream(self) -> None:
        """End the newest stream that the other side has opened: others need its place."""
        theirs = [one for one in self.streams if one.way is Direction.IN]
        if not theirs:
            return
        newest = max(theirs, key=lambda one: one.since_s)
        newest.ended = newest.ended or "reset"
        self.remove_stream(newest)
        self.swarm.background_nursery.start_soon(self._drop, newest.muxed_stream)
        self.keeper.stream_refused(self.seat, QuotaError("gave up a stream to others, who have fewer"))

    async def _failed(self, stream: GuardedStream, error: Exception) -> None:
        protocol = stream.get_protocol()
        stream.ended = "failed"
        await stream.reset()
        if protocol is None:
            self.keeper.stream_refused(self.seat, error)
        else:
            peer = str(self.muxed_conn.peer_id)
            _log.warning("stream failed", peer=peer, protocol=protocol, error=repr(error))

    @staticmethod
    async def _drop(muxed_stream: Any) -> None:
        try:
            await muxed_stream.reset()
        except Exception as error:  # the connection broke meanwhile; its own task tells
            _log.debug("reset failed", error=repr(error))

    async def new_stream(self) -> GuardedStream:
        """Raises QuotaError at the limit; theirs would wait there for ever."""
        self.keeper.seats.take_stream(self.seat, Direction.OUT)
        try:
            muxed_stream = await self.muxed_conn.open_stream()
        except BaseException:
            self.keeper.seats.drop_stream(self.seat, Direction.OUT)
            raise
        return await self._counted(muxed_stream, Direction.OUT)

    async def _counted(self, muxed_stream: Any, direction: Direction) -> GuardedStream:
        stream = GuardedStream(muxed_stream, self, direction)
        self.streams.add(stream)
        if self.event_started.is_set():
            await stream.set_state(_OPEN)
        await self.swarm.notify_opened_stream(stream)
        return stream

    def remove_stream(self, stream: Any) -> None:
        """Called by whatever ends a stream, maybe more than once."""
        super().remove_stream(stream)
        stream.uncount()

    @property
    def owes(self) -> bool:
        """Whether the other side has not answered on a stream that we opened."""
        return any(stream.owed for stream in self.streams)

    def refresh(self, now_s: float) -> None:
        """A health check is under way: until it is idle again for as long, none is due."""
        self.seat.used_s = now_s
        for stream in self.streams:
            stream.used_s = now_s

    async def sweep(self) -> None:
        """Reset the streams that we ended and the other side has not, for the second time in a row.

        The library keeps each of them, with what it has sent, for as long as the connection lasts.
        """
        ours = {stream.muxed_stream for stream in self.streams}
        strays = {one for one in self.muxed_conn.streams.values() if one not in ours and one.send_closed}
        for one in strays & self.strays:
            await self._drop(one)
        self.strays = strays - self.strays


class GuardedSwarm(Swarm):  # type: ignore[misc]
    """Accepts and dials as the keeper says. No bans, no dialling by itself, no queue that one peer can fill."""

    def __init__(self, keeper: Keeper, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keeper = keeper
        self._dialling: dict[Any, anyio.Lock] = {}
        self.auto_connector.maybe_connect = _nothing  # theirs dials every peer it merely knows
        self.auto_connector.record_disconnect = lambda _: None  # a note for its own dials, kept for ever

    async def _handle_inbound_connection(self, read_write_closer: Any, maddr: Any) -> None:
        """Until the connection is closed: the listener closes the socket when this returns.

        Theirs holds a slot of 250 for each connection there ever was, and a task, until the swarm stops.
        """
        await self.serve(Wire(read_write_closer, False, address_of(read_write_closer)))

    async def serve(self, wire: Wire) -> None:
        """Let in whoever is at the other end of it, or report why not; return when the connection has ended."""
        try:
            conn = await self._let_in(wire)
        except Exception as error:
            self.keeper.refused(wire.address, Direction.IN, error)
            return
        await conn.event_closed.wait()

    async def upgrade(self, wire: Wire, member: bytes) -> None:
        """Make a connection of a wire at whose other end this member should be. Raises LinkError, DeniedError."""
        direction = Direction.OUT if wire.is_initiator else Direction.IN
        peer = ID.from_base58(peer_id(member)) if wire.is_initiator else None
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

    async def _upgraded(self, wire: Any, peer_id: Any, direction: str) -> GuardedConn:
        """Noise, then Yamux, then a seat; a failure anywhere leaves nothing behind."""
        try:
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
            raise LinkError("no transport for this address")
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
