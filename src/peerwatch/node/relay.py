"""Relay: carries connections between members of which one cannot be dialled (the hop of libp2p's Circuit Relay v2).

Behind the door, as `circuit.py`. Members only: whoever asks and whoever is asked for have passed the gate, and are
judged by it again. What is carried is theirs alone: they make their own Noise handshake through it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from multiaddr import Multiaddr

from peerwatch.errors import DecodeError, LinkError, PeerError
from peerwatch.node.circuit import CIRCUIT, OK, STOP, Peers, read_message, status_name, write_message
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import DeniedError, Stream
from peerwatch.node.keeper import Keeper
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id, peer_id_bytes, public_key_in

_log = get_logger("relay")
_PIECE_BYTES = 1 << 16


class _RefusalError(Exception):
    """Why a relay says no; `status` is the protocol's."""

    def __init__(self, status: str, words: str) -> None:
        super().__init__(words)
        self.status: Any = pb.Status.Value(status)


class Relay:
    """Owned by the host's event loop. `may_reserve` says who may be reached through it besides the gate's judgement.

    Past a limit the answer is RESOURCE_LIMIT_EXCEEDED. A circuit ends with either of its connections, after
    `circuit_s`, after `circuit_bytes`; its ends then dial anew.
    """

    def __init__(
        self,
        peers: Peers,
        keeper: Keeper,
        may_reserve: Callable[[bytes], bool],
        addresses: Callable[[], Sequence[str]],
    ) -> None:
        self._peers = peers
        self._keeper = keeper
        self._limits: NodeLimits = keeper.limits
        self._may_reserve = may_reserve
        self._addresses = addresses
        self._reserved: dict[bytes, float] = {}
        self._circuits: Counter[bytes] = Counter()

    @property
    def circuits(self) -> int:
        """Carried now."""
        return self._circuits.total()

    @property
    def reservations(self) -> int:
        """Members that can be reached through this node now."""
        now_s, seats = anyio.current_time(), self._keeper.seats
        for member, until_s in list(self._reserved.items()):
            if until_s <= now_s or seats.get(member) is None:
                del self._reserved[member]
        return len(self._reserved)

    async def answer(self, stream: Stream) -> None:
        """Serve one stream: one question, and what follows from it. What it raises resets the stream."""
        with anyio.fail_after(self._limits.handshake_timeout_s):
            message = await read_message(stream, pb.HopMessage)
        try:
            self._check(stream.member)
            if message.type == pb.HopMessage.RESERVE:
                await self._reserve(stream)
            elif message.type == pb.HopMessage.CONNECT:
                await self._connect(stream, _wanted(message))
            else:
                raise _RefusalError("UNEXPECTED_MESSAGE", f"message of type {message.type}")
        except _RefusalError as error:
            _log.info("relay refuses", peer=peer_id(stream.member), reason=str(error))
            await write_message(stream, pb.HopMessage(type=pb.HopMessage.STATUS, status=error.status))

    def _check(self, member: bytes) -> None:
        """Whether the member may speak with us still, and does so directly: no relay behind a relay."""
        seat = self._keeper.seats.get(member)
        if seat is None or CIRCUIT in seat.address:
            raise _RefusalError("PERMISSION_DENIED", f"{peer_id(member)} is not connected directly")
        try:
            self._keeper.judge(seat)
        except DeniedError as error:
            raise _RefusalError("PERMISSION_DENIED", str(error)) from error

    # ---- reserving

    async def _reserve(self, stream: Stream) -> None:
        member, limits = stream.member, self._limits
        if not self._may_reserve(member):
            raise _RefusalError("PERMISSION_DENIED", f"{peer_id(member)} may not be reached through others")
        if self.reservations >= limits.max_reservations and member not in self._reserved:
            raise _RefusalError("RESOURCE_LIMIT_EXCEEDED", f"reservations at their limit, {limits.max_reservations}")
        self._reserved[member] = anyio.current_time() + limits.reservation_s
        held = pb.Reservation(
            expire=round(time.time() + limits.reservation_s),  # the protocol's clock is the wall's
            addrs=[Multiaddr(one).to_bytes() for one in self._addresses()],
        )
        await write_message(stream, _ok(limits, held))

    # ---- connecting

    async def _connect(self, stream: Stream, wanted: bytes) -> None:
        _ = self.reservations  # those that are over go
        if wanted not in self._reserved or wanted == stream.member:
            raise _RefusalError("NO_RESERVATION", f"{peer_id(wanted)} has not reserved")
        self._check(wanted)
        with self._circuit(stream.member):
            try:
                onward = await self._onward(wanted, stream.member)
            except (LinkError, PeerError, TimeoutError) as error:
                raise _RefusalError("CONNECTION_FAILED", f"{peer_id(wanted)}: {str(error) or 'too slow'}") from error
            try:
                await write_message(stream, _ok(self._limits))
                over = await self._carry(stream, onward)
                if over:
                    _log.info("circuit over", of=peer_id(stream.member), to=peer_id(wanted), reason=over)
                    await stream.reset()
                    await onward.reset()
                else:
                    await onward.close()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await onward.reset()
                raise

    @contextmanager
    def _circuit(self, source: bytes) -> Iterator[None]:
        """While a circuit is made and carried: counted in all and by who asked for it."""
        limits = self._limits
        if self.circuits >= limits.max_relayed:
            raise _RefusalError("RESOURCE_LIMIT_EXCEEDED", f"circuits at their limit, {limits.max_relayed}")
        if self._circuits[source] >= limits.max_relayed_each:
            words = f"{self._circuits[source]} circuits of {peer_id(source)}, limit {limits.max_relayed_each}"
            raise _RefusalError("RESOURCE_LIMIT_EXCEEDED", words)
        self._circuits[source] += 1
        try:
            yield
        finally:
            self._circuits[source] -= 1
            if not self._circuits[source]:
                del self._circuits[source]

    async def _onward(self, wanted: bytes, source: bytes) -> Stream:
        """A stream to the peer that is asked for, once it has said yes."""
        stream = await self._peers.open_stream(wanted, STOP)
        asked = pb.StopMessage(
            type=pb.StopMessage.CONNECT, peer=pb.PeerId(id=peer_id_bytes(source)), limit=_limit(self._limits)
        )
        try:
            with anyio.fail_after(self._limits.handshake_timeout_s):
                await write_message(stream, asked)
                answer = await read_message(stream, pb.StopMessage)
            if answer.type != pb.StopMessage.STATUS or answer.status != OK:
                raise LinkError(f"it says {status_name(answer.status)}")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.reset()
            raise
        return stream

    async def _carry(self, one: Stream, other: Stream) -> str:
        """Both ways, until either side ends; why it is to be cut off where neither has ended it properly."""
        limits, over, carried = self._limits, "", 0

        async def copy(source: Stream, target: Stream, scope: anyio.CancelScope) -> None:
            nonlocal over, carried
            try:
                while data := await source.read(_PIECE_BYTES):
                    carried += len(data)
                    if carried > limits.circuit_bytes:
                        over = f"{limits.circuit_bytes} bytes carried, the limit"
                        break
                    await target.write(data)
            except LinkError as error:  # one of the two is gone: so is the circuit
                over = str(error)
            scope.cancel()

        with anyio.move_on_after(limits.circuit_s) as lifetime:
            async with anyio.create_task_group() as both:
                both.start_soon(copy, one, other, both.cancel_scope)
                both.start_soon(copy, other, one, both.cancel_scope)
        return f"{limits.circuit_s:g} s, the limit" if lifetime.cancelled_caught else over


def _wanted(message: Any) -> bytes:
    try:
        return public_key_in(message.peer.id)
    except DecodeError as error:
        raise _RefusalError("MALFORMED_MESSAGE", str(error)) from error


def _limit(limits: NodeLimits) -> Any:
    return pb.Limit(duration=round(limits.circuit_s), data=limits.circuit_bytes)


def _ok(limits: NodeLimits, reservation: Any = None) -> Any:
    return pb.HopMessage(type=pb.HopMessage.STATUS, status=OK, reservation=reservation, limit=_limit(limits))
