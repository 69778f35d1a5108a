"""What py-libp2p 0.8.1 gets wrong below the swarm, mended: sockets, Noise, multistream, Yamux. See docs/libp2p.md.

With `swarm.py` and `host.py` the only door to libp2p. Importing changes nothing; `apply` patches what cannot be
replaced by a class of our own, and refuses any other version of libp2p than the one that was tested.
"""

from __future__ import annotations

import logging
import socket
import struct
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import anyio
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.io import msgio
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError, IOException, MessageTooLarge
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from peerwatch.errors import ConfigError
from peerwatch.node.gater import Direction
from peerwatch.node.keeper import Keeper

TESTED = "0.8.1"

WINDOW_BYTES = 1 << 20
"""Most that a peer may send on a stream before we have read it. The library lets it grow to 16 MB, on each of its 256
streams. 1 MB is 10 MB/s at 100 ms of round trip."""

_FIRST_WINDOW_BYTES = 256 << 10  # the muxer's specification: until the first update
_MOST_NAME_BYTES = 1024  # of a protocol; go-libp2p has the same limit
_MOST_RESOLVED = 8  # addresses of a name: more is somebody else's list of targets
_FAMILIES: dict[str, int] = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}
_WRITE_S = 5.0  # for one frame of 64 KB: a peer that takes less than 13 KB/s is as good as gone
_GOODBYE_S = 1.0  # 12 bytes: whoever does not take them in a second has other troubles
_HALF_CLOSED = 64  # streams that we have closed and the other side not yet, besides the open ones


def apply() -> None:
    """Patch libp2p, once per process; more often does no harm. Raises ConfigError for a version that was not tested."""
    found = version("libp2p")
    if found != TESTED:
        raise ConfigError(f"libp2p {found} is installed, the node was hardened and tested for {TESTED}: make p2p")
    # A name that is not UTF-8 raised in the stream handler and ended the host; a length of 2**40, which a stranger may
    # send, had as much memory asked for.
    MultiselectCommunicator.read = _read_name
    # It logs by the root logger's functions, which install a handler that prints everything.
    swarm_connection.logging = logging.getLogger("libp2p.network.swarm_connection")
    yamux.MAX_WINDOW_SIZE = WINDOW_BYTES
    # Theirs gives up after 101 pieces: 64 KB in small packets, or in the messages of a transport, ended the connection.
    msgio.read_exactly = yamux.read_exactly = _read_exactly


async def _read_exactly(reader: Any, n: int) -> bytes:
    """In as many pieces as it takes; the handshake's deadline and the health checks bound the time."""
    data = bytearray()
    while len(data) < n:
        piece = await reader.read(n - len(data))
        if not piece:
            raise IncompleteReadError(f"closed after {len(data)} of {n} bytes", n, len(data))
        data += piece
    return bytes(data)


async def _read_name(self: Any) -> str:
    """The next word of multistream-select."""
    try:
        raw: bytes = await read_varint_prefixed_bytes_limited(self.read_writer, _MOST_NAME_BYTES)
        if not raw.endswith(b"\n"):
            raise ValueError("it does not end in a new line")
        return raw[:-1].decode()
    except (BaseLibp2pError, ValueError) as error:
        raise MultiselectCommunicatorError(f"not a word of multistream-select: {error!r}") from error


def is_junk(error: BaseException) -> bool:
    """Whether a negotiation failed for what the other side said, not for its end or its silence."""
    if "protocol ID mismatch" in str(error):
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ParseError, MessageTooLarge, ValueError)):
            return True
        cause = cause.__cause__
    return False


class Wire(RawConnection):  # type: ignore[misc]
    """A TCP connection that knows its address, of IPv6 too (the library knows none there), and its seat."""

    def __init__(self, stream: Any, initiator: bool, address: str) -> None:
        super().__init__(stream, initiator)
        self.address = address
        self.seat: Any = None
        self.punched = False

    async def open(self) -> None:
        """What must be agreed before Noise; called within the handshake's limits. Over TCP that is nothing."""

    async def read(self, n: int | None = None) -> bytes:
        """The end is an error: theirs asks a hundred times more whether something comes after it (5 ms each close).

        And an error keeps its words, which theirs drops.
        """
        data: bytes = await self.stream.read(n)
        if not data and n != 0:
            raise ConnectionClosedError("the other side has closed the connection")
        return data


def address_of(stream: Any) -> str:
    """The other end of an accepted connection as a multiaddr; empty when it cannot be told."""
    try:
        host, port = stream.stream.socket.getpeername()[:2]
    except (AttributeError, OSError, ValueError):
        return ""
    return f"/ip{6 if ':' in host else 4}/{host.partition('%')[0]}/tcp/{port}"


class ScreenedTcp(TCP):  # type: ignore[misc]
    """TCP that asks before it dials: about the resolved address, not the name."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__()
        self._keeper = keeper

    def can_dial(self, maddr: Any) -> bool:
        """Not through a relay: theirs would dial the relay and take it for the peer behind."""
        return super().can_dial(maddr) and all(one.name != "p2p-circuit" for one in maddr.protocols())

    def create_listener(self, handler_function: Any) -> Any:
        """Hands over wires, which know whom they come from."""
        return TCPListener(lambda stream: handler_function(Wire(stream, False, address_of(stream))))

    async def prepare(self, maddr: Any) -> None:
        """Nothing is needed before the handshake."""

    async def dial(self, maddr: Any) -> Any:
        """By the system's resolver, which knows /etc/hosts too; theirs asks a name server only."""
        host = maddr.protocols()[0].name
        if host not in _FAMILIES:
            return await super().dial(maddr)
        failure: Exception = OpenConnectionError(f"{maddr} has no address")
        for address in await _resolved(maddr, _FAMILIES[host]):
            try:
                return await self._dial_resolved(address)
            except Exception as error:  # the next one may do; the last one's trouble is told
                failure = error
        raise failure

    async def dial_from(self, address: str, port: int) -> Wire:
        """From a port of ours, which the other side expects. Raises what libp2p does, and DeniedError."""
        wire: Wire = await self._dial_resolved(Multiaddr(address), ("0.0.0.0", port))
        return wire

    async def _dial_resolved(self, maddr: Any, source: tuple[str, int] | None = None) -> Any:
        address = str(maddr)
        self._keeper.screen(address, Direction.OUT)
        raw = await super()._dial_resolved(maddr, source)
        return Wire(raw.stream, True, address)


async def _resolved(maddr: Any, family: int) -> list[Any]:
    name, port = maddr.value_for_protocol(maddr.protocols()[0].name), int(maddr.value_for_protocol("tcp"))
    tail = str(maddr).partition(f"/tcp/{port}")[2]
    try:
        found = await anyio.getaddrinfo(name, port, family=family, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OpenConnectionError(f"{maddr}: {error}") from error
    return [
        Multiaddr(f"/ip{6 if ':' in str(sock[0]) else 4}/{sock[0]}/tcp/{port}{tail}")
        for _, _, _, _, sock in found[:_MOST_RESOLVED]
    ]


class MemberNoise(NoiseTransport):  # type: ignore[misc]
    """Noise that lets members pass only: judged in the handshake, before the muxer has a byte."""

    def __init__(self, key_pair: Any, noise_key: Any, keeper: Keeper) -> None:
        super().__init__(key_pair, noise_privkey=noise_key)
        self._keeper = keeper

    async def secure_inbound(self, conn: Any) -> Any:
        """As the library, then judged."""
        return await self._judged(conn, await super().secure_inbound(conn), Direction.IN)

    async def secure_outbound(self, conn: Any, peer_id: Any) -> Any:
        """As the library, then judged. Noise itself has compared the peer with the one that was dialled."""
        return await self._judged(conn, await super().secure_outbound(conn, peer_id), Direction.OUT)

    async def _judged(self, conn: Any, secured: Any, direction: Direction) -> Any:
        address = getattr(conn, "address", "")
        try:
            seat = self._keeper.admit(str(secured.get_remote_peer()), address, direction)
        except BaseException:
            await secured.close()
            raise
        seat.punched = getattr(conn, "punched", False)
        conn.seat = secured.seat = seat
        return secured


class Upgrader(TransportUpgrader):  # type: ignore[misc]
    """Noise, then our Yamux; nothing else is offered or accepted."""

    def __init__(self, noise: MemberNoise, keeper: Keeper) -> None:
        timeout_s = max(1, int(keeper.limits.handshake_timeout_s))  # theirs is an int; the keeper's deadline is exact
        super().__init__({"/noise": noise}, {yamux.PROTOCOL_ID: yamux.Yamux}, timeout_s)
        limits = keeper.limits
        self._most_streams = limits.max_streams_in + limits.max_streams_out + _HALF_CLOSED

    async def upgrade_connection(self, conn: Any, peer_id: Any) -> Any:
        """The library's own makes its own Yamux, whatever class it is told."""
        await self.muxer_multistream.select_transport(conn)
        return GuardedYamux(conn, peer_id, self._most_streams)


class AbuseError(IOException):  # type: ignore[misc]
    """The other side breaks the muxer's or its transport's rules. An IOException: that ends the library's reading."""


def _is_abuse(error: BaseException) -> bool:
    """Whether it is one, or came of one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, AbuseError):
        cause = cause.__cause__
    return cause is not None


def judge_frame(header: bytes, peer_is_initiator: bool, streams: dict[int, Any], most_streams: int) -> str:
    """What is wrong with a frame, before its body is read; empty when it may come.

    The library only logs what goes past a window, takes any stream id, and keeps every stream that is not ended.
    """
    frame_version, kind, flags, stream_id, length = struct.unpack(yamux.YAMUX_HEADER_FORMAT, header)
    if frame_version or kind > yamux.TYPE_GO_AWAY:
        return f"frame of version {frame_version}, type {kind}"
    if kind not in (yamux.TYPE_DATA, yamux.TYPE_WINDOW_UPDATE):
        return ""
    known = streams.get(stream_id)
    if flags & yamux.FLAG_SYN:
        if stream_id == 0 or (stream_id % 2 == 1) is not peer_is_initiator:
            return f"stream {stream_id} opened, which is not the other side's to open"
        if len(streams) >= most_streams:
            return f"{len(streams)} streams not ended, limit {most_streams}"
    if kind == yamux.TYPE_DATA:
        window = known.recv_window if known else _FIRST_WINDOW_BYTES if flags & yamux.FLAG_SYN else WINDOW_BYTES
        if length > window:
            return f"{length} bytes on stream {stream_id}, window {window}"
    elif known and known.send_window + length > 0xFFFFFFFF:
        return f"window of stream {stream_id} raised past 32 bits"
    return ""


class _FrameGuard:
    """Stands between Noise and Yamux and looks at each frame's header as it is read."""

    def __init__(self, secured: Any, muxer: GuardedYamux) -> None:
        self._secured = secured
        self._muxer = muxer
        self._body_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._secured, name)

    async def read(self, n: int | None = None) -> Any:
        """What the muxer asks for: 12 bytes of header, or a body in as many pieces as it takes."""
        try:
            data = await self._secured.read(n)
        except Exception as error:
            if _is_abuse(error):  # below Noise: of the transport's own rules
                self._muxer.ended = "abuse"
            raise
        if self._body_bytes:
            self._body_bytes -= len(data)
        elif len(data) == yamux.HEADER_SIZE:
            self._look_at(data)
        return data

    def _look_at(self, header: bytes) -> None:
        muxer = self._muxer
        wrong = judge_frame(header, not muxer.is_initiator, muxer.streams, muxer.most_streams)
        if wrong:
            muxer.ended = "abuse"
            raise AbuseError(wrong)
        _, kind, flags, _, length = struct.unpack(yamux.YAMUX_HEADER_FORMAT, header)
        if kind == yamux.TYPE_DATA:
            self._body_bytes = length
        elif kind == yamux.TYPE_PING and flags & yamux.FLAG_ACK:
            muxer.pong(length)


class GuardedYamux(yamux.Yamux):  # type: ignore[misc]
    """Yamux that holds the other side to the rules, gives up on one that takes nothing, and pings when asked."""

    def __init__(self, secured: Any, peer_id: Any, most_streams: int) -> None:
        super().__init__(_FrameGuard(secured, self), peer_id, is_initiator=secured.is_initiator)
        self.seat = getattr(secured, "seat", None)
        self.most_streams = most_streams
        self.ended = ""
        self._pings: dict[int, anyio.Event] = {}
        self._nonce = 0

    async def _measure_rtt_loop(self) -> None:
        """Theirs pings every connection twice a minute and does nothing about one that does not answer."""

    async def ping(self, within_s: float) -> float:
        """Round trip in seconds. Raises TimeoutError after `within_s`, and whatever a closed connection raises."""
        self._nonce = (self._nonce + 1) & 0xFFFFFFFF
        nonce, answered = self._nonce, anyio.Event()
        self._pings[nonce] = answered
        try:
            with anyio.fail_after(within_s):
                began_s = anyio.current_time()
                frame = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, nonce)
                await super()._write_frame(frame)  # cut off in the middle of it, the connection is closed anyway
                await answered.wait()
                self._rtt = anyio.current_time() - began_s
                return self._rtt
        finally:
            del self._pings[nonce]

    def pong(self, nonce: int) -> None:
        """An answer came; one to a question that nobody waits for is passed over."""
        if nonce in self._pings:
            self._pings[nonce].set()

    async def _write_frame(self, data: bytes) -> None:
        """Whole or not at all: a frame cut off by a cancellation would break every stream of the connection."""
        with anyio.move_on_after(_WRITE_S, shield=True) as scope:
            await super()._write_frame(data)
        if scope.cancelled_caught:
            self.ended = self.ended or "stuck"
            await self.abort()
            raise RawConnError(f"a frame of {len(data)} bytes was not taken within {_WRITE_S:g} s")

    async def close(self, error_code: int = yamux.GO_AWAY_NORMAL) -> None:
        """Say goodbye to who listens, then end. Theirs waits for who does not, and 0.1 s for nobody."""
        if self.event_closed.is_set():
            return
        if not self.event_shutting_down.is_set():
            goodbye = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_GO_AWAY, 0, 0, error_code)
            with anyio.move_on_after(_GOODBYE_S), suppress(IOException):
                await super()._write_frame(goodbye)
        await self._cleanup_on_error()

    async def abort(self) -> None:
        """Close the socket, at once; the reading task then does the rest."""
        with anyio.CancelScope(shield=True):
            await self.secured_conn.close()

    def _finalize_stream_locked(self, stream: Any, *, fully_closed: bool) -> None:
        """A stream that was reset needs no unread bytes; theirs keeps them, and takes more, for minutes."""
        if fully_closed and stream.reset_received and stream.stream_id in self.stream_buffers:
            self.stream_buffers[stream.stream_id].clear()
        reader = self.stream_events.get(stream.stream_id)
        super()._finalize_stream_locked(stream, fully_closed=fully_closed)
        if reader is not None and stream.stream_id not in self.stream_events:
            reader.set()  # theirs forgets whoever still reads, when it is this side that resets: he would wait for ever
