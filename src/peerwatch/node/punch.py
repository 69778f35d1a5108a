"""Punch: from a relayed connection to a direct one through two NATs (libp2p's DCUtR), by TCP's simultaneous open.

Behind the door, as `circuit.py`. Both ends tell each other at which address their router should show them, then connect
to each other from the same moment on, each from the port that it has told: the first packet of each opens its own
router for the other's. That needs routers that keep port numbers and drop what they did not ask for. Where one does
not, the relayed connection stays.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import anyio
import anyio.abc
from libp2p.exceptions import BaseLibp2pError
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from multiaddr import Multiaddr

from peerwatch.errors import DecodeError, LinkError, PeerError
from peerwatch.node.address import parse_address
from peerwatch.node.circuit import Peers, read_message, write_message
from peerwatch.node.connection import Stream
from peerwatch.node.gater import Direction
from peerwatch.node.hardening import Wire
from peerwatch.node.keeper import Keeper
from peerwatch.node.seats import Seat
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id, public_key_of

DCUTR = "/libp2p/dcutr"
_IDENTIFY = "/ipfs/id/1.0.0"
_log = get_logger("node")
_TRIES = 3  # of one relayed connection (the specification's number)
_SWITCHED = 2  # of these the one with the Noise roles switched: see `_begin`
_LOOK_S = 1.0
_AGAIN_S = 10.0
_CONNECT_S = 5.0  # one try; the kernel sends a lost first packet again after 1 and 3 s
_PAUSE_S = 0.1
_MOST_CONNECTS = 20  # in one try: an address that a member made up is not knocked at for longer
_MOST_TOLD = 2


class Dialler(Protocol):
    """What a punch is made of, below: the screened TCP transport."""

    async def dial_from(self, address: str, port: int) -> Wire: ...


class Upgrades(Protocol):
    """And above: the swarm."""

    async def upgrade(self, wire: Wire, member: bytes) -> None: ...


class Puncher:
    """Owned by the host's event loop. `run` tries for each relayed connection that others opened, three times."""

    def __init__(self, peers: Peers, keeper: Keeper, tcp: Dialler, swarm: Upgrades) -> None:
        self._peers = peers
        self._keeper = keeper
        self._tcp = tcp
        self._swarm = swarm
        self._tries: dict[Seat, tuple[int, float]] = {}
        self._busy: set[bytes] = set()
        self._tasks: anyio.abc.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled. The side that was called begins, as the specification has it."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                now_s = anyio.current_time()
                relayed = [seat for seat in self._keeper.seats if seat.relayed and seat.direction is Direction.IN]
                self._tries = {seat: self._tries.get(seat, (0, now_s + _LOOK_S)) for seat in relayed}
                for seat, (made, due_s) in self._tries.items():
                    if made < _TRIES and due_s <= now_s:
                        self._tries[seat] = made + 1, now_s + _AGAIN_S
                        self._tasks.start_soon(self._try, seat, self._begin, seat, made + 1 == _SWITCHED)
                await anyio.sleep(_LOOK_S)

    async def _try(self, seat: Seat, way: Callable[..., Awaitable[None]], *words: Any) -> None:
        try:
            with anyio.fail_after(_CONNECT_S + 2 * self._keeper.limits.handshake_timeout_s):
                await way(*words)
        except (LinkError, PeerError, TimeoutError, OSError) as error:
            reason = str(error) or "too slow"
            _log.info("no direct connection", peer=peer_id(seat.member), reason=reason)

    async def _begin(self, seat: Seat, initiator: bool) -> None:
        """Where both first packets cross, who begins is the responder of the Noise handshake, says the specification.

        But a caller that listens at the address that it tells, as go-libp2p's do, accepts the first packet and then is
        the responder too, so that neither speaks: one of the tries is made as `initiator`, for that case.
        """
        port, mine = await self._predicted(seat)
        stream = await self._peers.open_stream(seat.member, DCUTR)
        try:
            asked_s = anyio.current_time()
            await write_message(stream, HolePunch(type=HolePunch.CONNECT, ObsAddrs=[mine]))
            theirs = _told(await read_message(stream, HolePunch))
            there_s = (anyio.current_time() - asked_s) / 2
            await write_message(stream, HolePunch(type=HolePunch.SYNC))
        finally:
            with anyio.CancelScope(shield=True):
                await stream.close()
        await anyio.sleep(min(there_s, 2.0))  # then the other side has the word to begin
        await self._connect(seat, theirs, port, initiator)

    async def answer(self, stream: Stream) -> None:
        """The other side begins. What it raises resets the stream."""
        seat = self._keeper.seats.get(stream.member)
        if seat is None or not seat.relayed:
            raise LinkError(f"{peer_id(stream.member)} is connected directly")
        with anyio.fail_after(self._keeper.limits.handshake_timeout_s):
            theirs = _told(await read_message(stream, HolePunch))
            port, mine = await self._predicted(seat)
            await write_message(stream, HolePunch(type=HolePunch.CONNECT, ObsAddrs=[mine]))
            if (await read_message(stream, HolePunch)).type != HolePunch.SYNC:
                raise DecodeError(f"{DCUTR}: not the word to begin")
        if self._tasks is not None:  # not in this task, which ends with the relayed connection
            self._tasks.start_soon(self._try, seat, self._connect, seat, theirs, port, True)

    async def _predicted(self, seat: Seat) -> tuple[int, bytes]:
        """A free port of ours, and the address at which a router that keeps ports shows it."""
        stream = await self._peers.open_stream(public_key_of(parse_address(seat.address).relay), _IDENTIFY)
        try:
            seen = parse_address(str(Multiaddr((await read_message(stream, Identify)).observed_addr)))
        except (ValueError, TypeError, KeyError) as error:
            raise DecodeError(f"the relay does not say where it sees this node: {error!r}") from error
        finally:
            with anyio.CancelScope(shield=True):
                await stream.reset()
        if seen.ip is None or seen.ip.version != 4 or seen.relayed:
            raise LinkError("this node is not seen at an IPv4 address")
        port = _free_port()
        return port, Multiaddr(f"/ip4/{seen.ip}/tcp/{port}").to_bytes()

    async def _connect(self, seat: Seat, theirs: Sequence[str], port: int, initiator: bool) -> None:
        """Connect until the other side does so too. Raises LinkError."""
        if seat.member in self._busy:
            raise LinkError("a try is running")
        self._busy.add(seat.member)
        try:
            with anyio.fail_after(_CONNECT_S):
                wire = await self._met(seat.member, theirs, port)
        except TimeoutError as error:
            raise LinkError(f"nobody came to {', '.join(theirs)} within {_CONNECT_S:g} s") from error
        finally:
            self._busy.discard(seat.member)
        wire.is_initiator, wire.punched = initiator, True
        await self._swarm.upgrade(wire, seat.member)
        _log.info("direct connection in place of a relayed one", peer=peer_id(seat.member), address=wire.address)

    async def _met(self, member: bytes, theirs: Sequence[str], port: int) -> Wire:
        failure: Exception = LinkError("the other side tells no address that can be used")
        for _ in range(_MOST_CONNECTS):
            for address in theirs:
                try:
                    return await self._tcp.dial_from(f"{address}/p2p/{peer_id(member)}", port)
                except (BaseLibp2pError, OSError) as error:
                    failure = error
            await anyio.sleep(_PAUSE_S)
        raise LinkError(f"not met at {', '.join(theirs)}: {failure}") from failure


def _told(message: Any) -> list[str]:
    """The addresses that a peer says it has. Raises DecodeError for what is no CONNECT."""
    if message.type != HolePunch.CONNECT:
        raise DecodeError(f"{DCUTR}: message of type {message.type}, not a CONNECT")
    found: list[str] = []
    for raw in message.ObsAddrs[:_MOST_TOLD]:
        try:
            text = str(Multiaddr(raw)).partition("/p2p/")[0]
            address = parse_address(text)
        except (DecodeError, ValueError, TypeError, KeyError):
            continue
        if address.ip is not None and address.ip.version == 4 and address.port and text.count("/") == 4:
            found.append(text)
    return found


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("0.0.0.0", 0))
        port: int = probe.getsockname()[1]
        return port
