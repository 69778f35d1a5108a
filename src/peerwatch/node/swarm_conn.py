"""Connections and streams of the swarm: libp2p's own, but bounded, counted, and told of when they come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.rcmgr import Direction as LibraryDirection

from peerwatch.errors import QuotaError
from peerwatch.node.connection import StreamClosed, StreamOpened
from peerwatch.node.gater import Direction
from peerwatch.node.seats import Seat
from peerwatch.telemetry import get_logger

if TYPE_CHECKING:
    from peerwatch.node.swarm import GuardedSwarm

_log = get_logger("node")

_OPEN = StreamState.OPEN


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
        try:
            if self.event_started.is_set():
                await stream.set_state(_OPEN)
            await self.swarm.notify_opened_stream(stream)
        except BaseException:  # whoever asked for it has given up meanwhile, and would not end it
            self.remove_stream(stream)
            with anyio.CancelScope(shield=True):
                await self._drop(muxed_stream)
            raise
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
