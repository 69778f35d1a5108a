"""Host: this node among its peers. The door to libp2p: none of its types goes in or out.

Peers are member ids (Ed25519 public keys, 32 bytes), addresses are multiaddrs in text, streams are `connection.Stream`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_noise_key
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.config import ConnectionConfig
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from peerwatch.errors import ConfigError, DecodeError, LinkError
from peerwatch.node import hardening
from peerwatch.node.checks import Checks
from peerwatch.node.circuit import HOP, STOP, Circuits, Reservation
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import Connection, Gate, Listener, Stream, read_exactly
from peerwatch.node.gater import Direction
from peerwatch.node.interfaces import spread
from peerwatch.node.keeper import Keeper, Usage
from peerwatch.node.listening import check_free, check_listen
from peerwatch.node.mesh import Hear, Mesh, Queried
from peerwatch.node.mesh_host import MeshHost
from peerwatch.node.punch import DCUTR, Puncher
from peerwatch.node.relay import Relay
from peerwatch.node.stream import HostStream
from peerwatch.node.swarm import GuardedHost, GuardedSwarm, library_id
from peerwatch.node.swarm_conn import GuardedConn, GuardedStream
from peerwatch.node.websocket import ScreenedWebSocket, is_websocket
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import PrivateKey, peer_id

_log = get_logger("node")

PING = "/ipfs/ping/1.0.0"
PING_BYTES = 32
_PUSH = "/ipfs/id/push/1.0.0"

Handler = Callable[[Stream], Awaitable[None]]
"""Serves one stream of the other side's; when it returns the stream is closed, when it raises it is reset."""


class Host:
    """Use as an async context manager, on trio. Raises ConfigError for addresses that cannot be had.

    `gate` judges everybody, `listener` is told of everything (both in the event loop: they answer at once). Whatever a
    peer does ends its own stream or connection. Leaving closes every socket and ends every task.

    A member has one connection at most. A newer one takes the place of the older; of two that cross, both sides keep
    the one dialled by the smaller key.

    With `may_reserve` it is a relay, for the members of which that says so. If it `punches`, it tries to have direct
    connections in place of relayed ones.
    """

    def __init__(
        self,
        key: PrivateKey,
        gate: Gate,
        listener: Listener,
        *,
        limits: NodeLimits | None = None,
        listen: Sequence[str] = (),
        external: Sequence[str] = (),
        may_reserve: Callable[[bytes], bool] | None = None,
        punches: bool = False,
    ) -> None:
        hardening.apply()
        self.member = key.public
        self.peer_id = peer_id(key.public)
        self.limits = limits or NodeLimits()
        self._listen = [_listen_address(text) for text in listen]
        self._external = [_parsed(text) for text in external]
        self._keeper = Keeper(self.member, self.limits, gate, listener)
        self._circuits = Circuits(self._keeper)
        tcp = hardening.ScreenedTcp(self._keeper)
        self._swarm = _new_swarm(key, self._keeper, [tcp, ScreenedWebSocket(self._keeper), self._circuits])
        self._host = GuardedHost(self._swarm, announce_addrs=self._external or None, negotiate_timeout=10)
        self._host.remove_stream_handler(_PUSH)  # whoever pushes would fill the peer store as he likes
        self._stack = AsyncExitStack()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._checks = Checks(self._swarm, self.limits)
        self.handle(PING, _echo)
        self._circuits.attach(self, self._swarm.serve)
        self.handle(STOP, self._circuits.answer)
        self._puncher = Puncher(self, self._keeper, tcp, self._swarm) if punches else None
        if self._puncher is not None:
            self.handle(DCUTR, self._puncher.answer)
        self._relay = Relay(self, self._keeper, may_reserve, self._direct_addresses) if may_reserve else None
        if self._relay is not None:
            self.handle(HOP, self._relay.answer)

    # ---- life

    async def __aenter__(self) -> Self:
        check_free(map(str, self._listen))
        failure = None
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background_trio_service(self._swarm))
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.push_async_callback(self._close)
            try:
                await self._start_listening()
            except ConfigError as error:  # raised here, it would come out inside two exception groups
                failure = error
            else:
                await self._tasks.start(self._checks.run)
                if self._puncher is not None:
                    self._tasks.start_soon(self._puncher.run)
                self._stack = stack.pop_all()
        if failure is not None:
            raise failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(None, None, None)  # the block's own error comes out as it is, not inside a group

    async def _start_listening(self) -> None:
        if not self._listen:
            await self._swarm.event_background_nursery_created.wait()
            return
        await self._swarm.listen(*self._listen)
        missing = [str(one) for one in self._listen if str(one) not in self._swarm.listeners]
        if missing:  # the library is content with any one of them
            raise ConfigError(f"cannot listen on {', '.join(missing)}")
        for address in self._listen:
            if is_websocket(address):
                _log.warning("listens by WebSocket, which is experimental", address=str(address))

    async def _close(self) -> None:
        """Listeners first, then every connection at once; the library takes 0.2 s for each, one after the other."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for listener in list(self._swarm.listeners.values()):
                await listener.close()
            async with anyio.create_task_group() as closing:
                for conn in self._swarm.open_connections():
                    closing.start_soon(conn.abort, "shutdown")

    # ---- what is

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others may reach this node, with its peer id: the external addresses, what it listens on, by relays."""
        relayed = (address for held in self.reservations for address in held.addresses)
        return (*self._direct_addresses(), *(f"{one}/p2p/{self.peer_id}" for one in relayed))

    def _direct_addresses(self) -> tuple[str, ...]:
        texts = [*map(str, self._external), *spread(map(str, self._listening()))]
        bare = dict.fromkeys(text.partition("/p2p/")[0] for text in texts)
        return tuple(f"{one}/p2p/{self.peer_id}" for one in bare)

    def _listening(self) -> list[Any]:
        """In the order in which they were asked for: the library opens them all at once."""
        opened = self._swarm.listeners
        return [found for asked in self._listen if str(asked) in opened for found in opened[str(asked)].get_addrs()]

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Who is connected now."""
        return tuple(seat.value() for seat in self._keeper.seats)

    def is_connected(self, member: bytes) -> bool:
        """Whether there is a connection to this member now."""
        return self._swarm.connection_to(member) is not None

    def usage(self) -> Usage:
        """What is used of each limit now."""
        usage = self._keeper.usage()
        if self._relay is None:
            return usage
        return replace(usage, relayed=self._relay.circuits, reservations=self._relay.reservations)

    # ---- connections

    async def dial(self, member: bytes, addresses: Sequence[str]) -> Connection:
        """Be connected to a member: as it is, or by one of its addresses, in this order.

        Raises LinkError (nobody there, too slow, refused, another peer answers), DeniedError, QuotaError.
        """
        if member == self.member:
            raise LinkError("this node does not dial itself")
        conn = await self._swarm.dial(library_id(member), self._usable(addresses))
        return conn.seat.value()

    def _usable(self, addresses: Sequence[str]) -> list[Any]:
        """Those that the library can read; another is refused alone, or one would stand in the way of all."""
        usable = []
        for text in addresses:
            try:
                usable.append(_parsed(text))
            except ConfigError as error:
                self._keeper.refused(text, Direction.OUT, DecodeError(str(error)))
        if addresses and not usable:
            raise LinkError(f"no address of these can be read: {', '.join(addresses)[:500]}")
        return usable

    async def close_peer(self, member: bytes, reason: str = "closed") -> None:
        """End the member's connection, if there is one. Streams that wait on it fail with LinkError."""
        conn = self._swarm.connection_to(member)
        if conn is not None:
            await conn.end(reason)

    def watch(self, member: bytes) -> None:
        """Close the member's connection when it does not answer us on a stream within 5 s, until `unwatch` or its end.

        While it owes no answer it is left alone: a hub of 1000 agents would spend as much on their pings as on what
        they deliver, and lose them all together when it is too busy to answer in time.
        """
        self._checks.watch(member)

    def unwatch(self, member: bytes) -> None:
        """Leave it to the idle timers again."""
        self._checks.unwatch(member)

    async def measure(self) -> None:
        """Ping every connection; `connections` has the round trips then. Who does not answer is left to the timers."""
        await self._checks.measure()

    # ---- relays

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """The relays through which others reach this node now."""
        return self._circuits.reservations

    async def reserve(self, relay: bytes) -> Reservation:
        """Be reached through a connected relay for a while. Raises LinkError (it refuses, too), PeerError."""
        return await self._circuits.reserve(relay)

    # ---- streams

    def handle(self, protocol: str, handler: Handler) -> None:
        """Serve a protocol from now on."""

        async def serve(stream: GuardedStream) -> None:
            ours = HostStream(stream, protocol)
            await handler(ours)
            await ours.close()

        self._host.set_stream_handler(protocol, serve)

    async def open_stream(self, member: bytes, protocol: str) -> Stream:
        """A stream on the member's connection. Raises LinkError (not connected, not spoken there), QuotaError."""
        conn = self._swarm.connection_to(member)
        if conn is None:
            raise LinkError(f"{peer_id(member)} is not connected")
        return HostStream(await self._negotiated(conn, protocol), protocol)

    async def _negotiated(self, conn: GuardedConn, protocol: str) -> GuardedStream:
        stream = None
        try:
            stream = await conn.new_stream()
            with anyio.fail_after(self.limits.handshake_timeout_s):
                await self._host.multiselect_client.select_one_of([protocol], MultiselectCommunicator(stream))
        except BaseException as error:
            if stream is not None:
                with anyio.CancelScope(shield=True):
                    await stream.reset()
            if isinstance(error, (BaseLibp2pError, TimeoutError)):
                raise LinkError(f"{conn.muxed_conn.peer_id}, {protocol}: {error or 'too slow'}") from error
            raise
        stream.set_protocol(protocol)
        return stream

    def mesh(self, belongs: Callable[[str], bool], speaks: Callable[[str], bool], hear: Hear, queried: Queried) -> Mesh:
        """DHT and gossip with those that `belongs` names by peer id; of these, whoever `speaks` may publish.

        Until `run` is called on it nobody is served.
        """
        return Mesh(MeshHost(self._host, lambda: self.addresses, belongs, self._negotiated), speaks, hear, queried)

    async def ping(self, member: bytes, within_s: float = 10.0) -> float:
        """Round trip in seconds, over libp2p's ping protocol. Raises LinkError."""
        question = secrets.token_bytes(PING_BYTES)
        try:
            with anyio.fail_after(within_s):
                rtt_s, answer = await self._ask(await self.open_stream(member, PING), question)
        except TimeoutError as error:
            raise LinkError(f"{peer_id(member)}: no answer to a ping within {within_s:g} s") from error
        if answer != question:
            raise LinkError(f"{peer_id(member)}: the answer to a ping is another than the question")
        return rtt_s

    @staticmethod
    async def _ask(stream: Stream, question: bytes) -> tuple[float, bytes]:
        """How long the answer took, and what it is."""
        try:
            began_s = anyio.current_time()
            await stream.write(question)
            answer = await read_exactly(stream, len(question))
            return anyio.current_time() - began_s, answer
        finally:
            with anyio.CancelScope(shield=True):
                await stream.reset()


def _new_swarm(key: PrivateKey, keeper: Keeper, transports: list[Any]) -> GuardedSwarm:
    pair = create_new_key_pair(key.seed)
    own_id = ID.from_pubkey(pair.public_key)
    store = PeerStore()
    store.add_key_pair(own_id, pair)
    noise = hardening.MemberNoise(pair, create_new_noise_key().private_key, keeper)
    most = keeper.limits.max_connections
    return GuardedSwarm(
        keeper,
        own_id,
        store,
        hardening.Upgrader(noise, keeper),
        transports,
        connection_config=ConnectionConfig(
            max_connections=most, min_connections=0, low_watermark=0, high_watermark=most, max_connections_per_peer=1
        ),
    )


def _parsed(text: str) -> Any:
    try:
        return Multiaddr(text)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"address {text[:200]!r} is not a multiaddr: {error}") from error


def _listen_address(text: str) -> Any:
    check_listen("listen address", text)
    return _parsed(text)


async def _echo(stream: Stream) -> None:
    """Answer pings until the other side ends."""
    while data := await stream.read(PING_BYTES):
        await stream.write(data)
