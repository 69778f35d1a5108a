"""Circuits: connections through a relay (libp2p's Circuit Relay v2): the side that dials, the side that is called.

Behind the door, as `relay.py`, which is the relay's side. py-libp2p's own is not used, docs/libp2p.md says why; its
messages are. A circuit is a stream on which the two ends make their own Noise handshake: the relay carries bytes that
it cannot read, and the gate judges at each end who the other one is.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
from libp2p.io.exceptions import IOException
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from peerwatch.errors import DecodeError, LinkError
from peerwatch.node.address import parse_address
from peerwatch.node.connection import Connection, Stream, read_exactly
from peerwatch.node.gater import Direction
from peerwatch.node.hardening import Wire
from peerwatch.node.keeper import Keeper
from peerwatch.wire.identity import peer_id, peer_id_bytes, public_key_in, public_key_of

HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"
CIRCUIT = "/p2p-circuit"

OK: Any = pb.Status.Value("OK")
_MOST_MESSAGE_BYTES = 4096  # as go-libp2p: a peer id, a voucher, a few addresses
_MOST_ADDRESSES = 4  # of one relay: where it was dialled, and what it says of itself
_READ_BYTES = 1 << 16
# Of a reservation, whatever a relay's clock and ours say; the specification's hour lies between.
_LEAST_RESERVED_S, _MOST_RESERVED_S = 120.0, 86_400.0


class Peers(Protocol):
    """What circuits are made of: the host."""

    async def dial(self, member: bytes, addresses: Sequence[str]) -> Connection: ...

    async def open_stream(self, member: bytes, protocol: str) -> Stream: ...


@dataclass(frozen=True, slots=True)
class Reservation:
    """A relay's word that others reach us through it. `until_s` is on the event loop's clock."""

    relay: bytes
    until_s: float
    addresses: tuple[str, ...]


async def read_message(stream: Stream, kind: Any) -> Any:
    """The next message of a stream, and not a byte more. Raises DecodeError for nonsense, LinkError at the end."""
    size, shift = 0, 0
    while True:
        byte = (await read_exactly(stream, 1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 14:
            raise DecodeError(f"{stream.protocol}: a length of more than 14 bits, limit {_MOST_MESSAGE_BYTES}")
    if size > _MOST_MESSAGE_BYTES:
        raise DecodeError(f"{stream.protocol}: message of {size} bytes, limit {_MOST_MESSAGE_BYTES}")
    raw = await read_exactly(stream, size)
    try:
        message = kind.FromString(raw)
    except Exception as error:  # protobuf's own, whose door is in wire; reading bytes has no other failure
        raise DecodeError(f"{stream.protocol}: message of {size} bytes is not protobuf") from error
    if "type" in kind.DESCRIPTOR.fields_by_name and not message.HasField("type"):  # its default asks for something
        raise DecodeError(f"{stream.protocol}: message of {size} bytes without a type that is known")
    return message


async def write_message(stream: Stream, message: Any) -> None:
    """Send a message. Raises LinkError."""
    await stream.write(encode_varint_prefixed(message.SerializeToString()))


def status_name(status: Any) -> str:
    """A status in words, also one that the specification does not have."""
    return str(pb.Status.Name(status)) if status in pb.Status.values() else f"status {status}"


class _CircuitSocket:
    """A stream as the socket under a connection."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        """Some bytes; none at the end."""
        try:
            return await self._stream.read(_READ_BYTES if n is None or n < 0 else n)
        except LinkError as error:
            raise IOException(str(error)) from error

    async def write(self, data: bytes) -> None:
        """All of it."""
        try:
            await self._stream.write(data)
        except LinkError as error:
            raise IOException(str(error)) from error

    async def close(self) -> None:
        """What was written still arrives."""
        with suppress(LinkError):
            await self._stream.close()

    def get_remote_address(self) -> None:
        """The relay's says nothing of who is behind it."""


class Circuits:
    """libp2p's transport for /p2p-circuit addresses, and the answer to relays that bring somebody.

    Only a relay with which we have reserved may bring somebody. Owned by the host's event loop.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._peers: Peers | None = None
        self._serve: Callable[[Wire], Awaitable[None]] | None = None
        self._held: dict[bytes, Reservation] = {}

    def attach(self, peers: Peers, serve: Callable[[Wire], Awaitable[None]]) -> None:
        """`serve` makes a connection that others began of a wire, and returns when it has ended."""
        self._peers, self._serve = peers, serve

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """Those that hold: made with a relay that is still connected, and not over."""
        now_s = anyio.current_time()
        for relay, one in list(self._held.items()):
            if one.until_s <= now_s or self._keeper.seats.get(relay) is None:
                del self._held[relay]
        return tuple(self._held.values())

    # ---- as libp2p's transport

    def protocols(self) -> list[str]:
        """Of multiaddrs, by which the library looks for a transport."""
        return ["p2p-circuit"]

    def can_dial(self, maddr: Any) -> bool:
        """Whether it is an address behind a relay."""
        return any(one.name == "p2p-circuit" for one in maddr.protocols())

    def can_listen(self, maddr: Any) -> bool:
        """Listening is reserving."""
        return False

    async def prepare(self, maddr: Any) -> None:
        """Be connected to the relay, before the handshake behind it takes a place. Raises what `Host.dial` does."""
        before, _, _ = str(maddr).partition(CIRCUIT)
        relay = parse_address(before).peer
        assert self._peers is not None
        await self._peers.dial(public_key_of(relay), [before])

    async def dial(self, maddr: Any) -> Wire:
        """A wire to the peer behind the relay. Raises LinkError, DecodeError, DeniedError, QuotaError."""
        found = parse_address(str(maddr))
        relay, peer = public_key_of(found.relay), public_key_of(found.peer)
        where = self._where(relay, found.peer)
        self._keeper.screen(where, Direction.OUT)
        asked = pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=peer_id_bytes(peer)))
        assert self._peers is not None
        stream = await self._peers.open_stream(relay, HOP)
        try:
            await self._ask(stream, asked)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.reset()
            raise
        return Wire(_CircuitSocket(stream), True, where)

    # ---- reserving, and being called

    async def reserve(self, relay: bytes) -> Reservation:
        """Have a connected relay lead others to us. Raises LinkError, DecodeError, QuotaError."""
        assert self._peers is not None
        dialled = self._where(relay, "").partition(CIRCUIT)[0]
        stream = await self._peers.open_stream(relay, HOP)
        try:
            answer = await self._ask(stream, pb.HopMessage(type=pb.HopMessage.RESERVE))
        finally:
            with anyio.CancelScope(shield=True):
                await stream.reset()
        told_s = answer.reservation.expire - time.time()  # the protocol's clock is the wall's
        lasts_s = min(max(told_s, _LEAST_RESERVED_S), _MOST_RESERVED_S)
        told = [_told(raw, relay) for raw in answer.reservation.addrs[:_MOST_ADDRESSES]]
        bases = list(dict.fromkeys([dialled, *(one for one in told if one)]))[:_MOST_ADDRESSES]
        addresses = tuple(f"{one}{CIRCUIT}" for one in bases)
        held = self._held[relay] = Reservation(relay, anyio.current_time() + lasts_s, addresses)
        return held

    async def _ask(self, stream: Stream, question: Any) -> Any:
        try:
            with anyio.fail_after(self._keeper.limits.handshake_timeout_s):
                await write_message(stream, question)
                answer = await read_message(stream, pb.HopMessage)
        except TimeoutError as error:
            raise LinkError(f"relay {peer_id(stream.member)} does not answer") from error
        if answer.type != pb.HopMessage.STATUS or answer.status != OK:
            raise LinkError(f"relay {peer_id(stream.member)} refuses: {status_name(answer.status)}")
        return answer

    async def answer(self, stream: Stream) -> None:
        """A relay brings somebody: who it is, he proves himself in the handshake that follows."""
        with anyio.fail_after(self._keeper.limits.handshake_timeout_s):
            message = await read_message(stream, pb.StopMessage)
        if all(one.relay != stream.member for one in self.reservations):
            await write_message(stream, _stop(pb.Status.Value("PERMISSION_DENIED")))
            return
        if message.type != pb.StopMessage.CONNECT:
            await write_message(stream, _stop(pb.Status.Value("UNEXPECTED_MESSAGE")))
            return
        where = self._where(stream.member, peer_id(public_key_in(message.peer.id)))
        await write_message(stream, _stop(OK))
        assert self._serve is not None
        await self._serve(Wire(_CircuitSocket(stream), False, where))

    def _where(self, relay: bytes, peer: str) -> str:
        """The address of a peer behind a relay as the gate judges it: on the relay's address really connected."""
        seat = self._keeper.seats.get(relay)
        if seat is None or CIRCUIT in seat.address:
            raise LinkError(f"relay {peer_id(relay)} is not connected, or only through another relay")
        bare = seat.address.partition("/p2p/")[0]
        return f"{bare}/p2p/{peer_id(relay)}{CIRCUIT}" + (f"/p2p/{peer}" if peer else "")


def _stop(status: Any) -> Any:
    return pb.StopMessage(type=pb.StopMessage.STATUS, status=status)


def _told(raw: bytes, relay: bytes) -> str:
    """An address that a relay says it has; empty for one that nobody can use."""
    try:
        text = str(Multiaddr(raw))
        found = parse_address(text)
    except (DecodeError, ValueError, TypeError, KeyError):
        return ""
    usable = found.peer == peer_id(relay) and not found.relayed and not (found.ip and found.ip.is_unspecified)
    return text if usable else ""
