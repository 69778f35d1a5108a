"""WebSocket: libp2p's transport for /ws addresses, over the TCP that asks the gate. Experimental.

Behind the door, as `circuit.py`. py-libp2p's own is not used, docs/libp2p.md says why; frames and heads are read by
wsproto. The HTTP upgrade is part of the handshake: it begins when the gate has let the address in and a place is free,
and Noise follows it within the same time. What a proxy says of whom it speaks for is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import IOException
from libp2p.transport.tcp.tcp import TCPListener
from multiaddr import Multiaddr
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from peerwatch.node.hardening import AbuseError, ScreenedTcp, Wire, address_of

_SUFFIX = "/ws"
_MOST_HEAD_BYTES = 8192  # a browser behind a proxy that adds its headers needs a fourth of it
_MOST_MESSAGE_BYTES = 1 << 20  # all fragments together; whoever speaks Noise sends 64 KB
_MOST_EMPTY = 256  # frames in a row that bring nothing, pings among them: the health checks bring something sooner
_READ_BYTES = 1 << 16  # what is kept unread is no more
_SENT_BYTES = 1 << 16
_GOODBYE_S = 0.2  # ours is said, theirs not waited for: what must arrive is Yamux's to say
_HEAD_END = b"\r\n\r\n"
_METHOD = b"GET "
_REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nOnly libp2p over WebSocket is spoken here.\n"


def is_websocket(maddr: Any) -> bool:
    """Whether it is /ip…/tcp/…/ws or /dns…/tcp/…/ws, maybe with a peer: neither TLS nor a relay's."""
    names = [one.name for one in maddr.protocols()]
    return names[1:] in (["tcp", "ws"], ["tcp", "ws", "p2p"])


class ScreenedWebSocket(ScreenedTcp):
    """libp2p's transport for them. Names are resolved, addresses judged, and sockets accepted as TCP's."""

    def protocols(self) -> list[str]:
        """Of multiaddrs, by which the library looks for a transport."""
        return ["ws"]

    def can_dial(self, maddr: Any) -> bool:
        """What it can listen on, too."""
        return is_websocket(maddr)

    def create_listener(self, handler_function: Any) -> Any:
        """Hands over wires that are not upgraded: until `open` nothing has been read."""
        return _Listener(handler_function)

    async def dial(self, maddr: Any) -> Any:
        """A connected socket; the upgrade is for `open`. The request names the host as the address does."""
        wire = await super().dial(maddr)
        host, port = (maddr.value_for_protocol(one.name) for one in maddr.protocols()[:2])
        return WebSocketWire(wire.stream, True, wire.address, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


class _Listener(TCPListener):  # type: ignore[misc]
    """TCP's, under the name of what is spoken there."""

    def __init__(self, handler_function: Any) -> None:
        super().__init__(lambda stream: handler_function(WebSocketWire(stream, False, _address_of(stream))))

    def get_addrs(self) -> tuple[Any, ...]:
        """Where it listens."""
        return tuple(one.encapsulate(Multiaddr(_SUFFIX)) for one in super().get_addrs())


def _address_of(stream: Any) -> str:
    found = address_of(stream)
    return f"{found}{_SUFFIX}" if found else ""


class WebSocketWire(Wire):
    """A wire whose bytes travel in binary messages. `authority` is what a request calls the host: HOST:PORT."""

    def __init__(self, stream: Any, initiator: bool, address: str, authority: str = "") -> None:
        super().__init__(_Messages(stream, initiator), initiator, address)
        self._authority = authority

    async def open(self) -> None:
        """The HTTP upgrade. Raises IOException when the other side does not go along."""
        if self.is_initiator:
            await self.stream.request(self._authority)
        else:
            await self.stream.accept()


class _Messages:
    """Binary messages over a TCP stream, as a stream of bytes; what libp2p's layers want of a socket.

    Bounded: it reads 64 KB from the socket when all that came before is used up. A ping is answered before anything
    else is read. Whatever is no binary message of 1 MB at most raises AbuseError; the reader then closes.
    """

    def __init__(self, tcp: Any, initiator: bool) -> None:
        self._tcp = tcp
        self._protocol = WSConnection(ConnectionType.CLIENT if initiator else ConnectionType.SERVER)
        self._sending = anyio.Lock()
        self._closing = anyio.Lock()
        self._events: Iterator[Any] = iter(())
        self._unread = memoryview(b"")
        self._message_bytes = 0
        self._empty = 0
        self._ended = False
        self._goodbye = CloseReason.NORMAL_CLOSURE

    # ---- the upgrade

    async def accept(self) -> None:
        """Wait for the request and agree to it."""
        head = await self._read_head()
        try:
            self._protocol.receive_data(head)
        except (RemoteProtocolError, UnicodeError) as error:
            raise await self._refused(f"no WebSocket request: {error}") from error
        if not any(isinstance(event, Request) for event in self._protocol.events()):
            raise await self._refused("no WebSocket request")
        await self._send(AcceptConnection())

    async def _read_head(self) -> bytes:
        """As far as the empty line; nobody has anything to say behind it before he is answered."""
        head = b""
        while _HEAD_END not in head:
            if len(head) >= _MOST_HEAD_BYTES:
                raise await self._refused(f"request without an end, limit {_MOST_HEAD_BYTES} bytes")
            piece = await self._tcp.read(_MOST_HEAD_BYTES - len(head))
            if not piece:
                raise IOException(f"the other side has closed after {len(head)} bytes of a request")
            head += piece
            if head[: len(_METHOD)] != _METHOD[: len(head)]:
                raise await self._refused("no HTTP request: is it dialled as TCP?")
        if not head.endswith(_HEAD_END) or head.count(_HEAD_END) > 1:
            raise await self._refused("more than a request before it was answered")
        return head

    async def _refused(self, words: str) -> IOException:
        with suppress(BaseLibp2pError):
            await self._tcp.write(_REFUSAL)
        return IOException(words)

    async def request(self, authority: str) -> None:
        """Ask, and read the answer."""
        await self._send(Request(host=authority, target="/"))
        read_bytes = 0
        while read_bytes <= _MOST_HEAD_BYTES:
            piece = await self._tcp.read(_MOST_HEAD_BYTES)
            if not piece:
                raise IOException("the other side has closed instead of becoming a WebSocket")
            read_bytes += len(piece)
            if self._answered(piece):
                return
        raise IOException(f"answer to the upgrade of more than {_MOST_HEAD_BYTES} bytes")

    def _answered(self, piece: bytes) -> bool:
        try:
            self._protocol.receive_data(piece)
        except RemoteProtocolError as error:
            raise IOException(f"the other side is no WebSocket: {error}") from error
        self._events = self._protocol.events()  # what came right behind the answer is for `read`
        event = next(self._events, None)
        if isinstance(event, RejectConnection):
            raise IOException(f"the other side answers {event.status_code}, and does not become a WebSocket")
        return isinstance(event, AcceptConnection)

    # ---- as a socket

    async def read(self, n: int | None = None) -> bytes:
        """Some bytes; none at the end. Raises AbuseError, and what the socket does."""
        if n == 0:
            return b""
        await anyio.lowlevel.checkpoint()  # a peer whose messages are of one byte does not keep others from their turn
        while not self._unread and not self._ended:
            event = next(self._events, None)
            if event is None:
                await self._fill()
            else:
                await self._take(event)
        data = bytes(self._unread[:n])
        self._unread = self._unread[len(data) :]
        return data

    async def _fill(self) -> None:
        data = await self._tcp.read(_READ_BYTES)
        if not data:
            self._ended = True
            return
        self._protocol.receive_data(data)
        self._events = self._protocol.events()

    async def _take(self, event: Any) -> None:
        """One event; of a message that is not all there, each part as it comes."""
        data = event.data if isinstance(event, BytesMessage) else b""
        self._empty = 0 if data else self._empty + 1
        if self._empty > _MOST_EMPTY:
            raise self._abuse(CloseReason.POLICY_VIOLATION, f"{self._empty} frames with nothing in them in a row")
        match event:
            case BytesMessage():
                self._message_bytes += len(data)
                if self._message_bytes > _MOST_MESSAGE_BYTES:
                    raise self._abuse(CloseReason.MESSAGE_TOO_BIG, f"message of more than {_MOST_MESSAGE_BYTES} bytes")
                if event.message_finished:
                    self._message_bytes = 0
                self._unread = memoryview(data)
            case TextMessage():
                raise self._abuse(CloseReason.UNSUPPORTED_DATA, "text, where libp2p has binary messages only")
            case Ping():
                await self._send(event.response())
            case CloseConnection() if self._protocol.state is ConnectionState.OPEN:
                raise self._abuse(CloseReason.PROTOCOL_ERROR, event.reason or "a frame that is none")
            case CloseConnection():
                self._ended = True
            case Pong():
                pass

    def _abuse(self, code: CloseReason, words: str) -> AbuseError:
        self._goodbye = code
        return AbuseError(f"WebSocket: {words}")

    async def write(self, data: bytes) -> None:
        """All of it, in messages of 64 KB."""
        for at in range(0, len(data), _SENT_BYTES):
            await self._send(BytesMessage(data[at : at + _SENT_BYTES]))

    async def _send(self, event: Any) -> None:
        async with self._sending:
            try:
                raw = self._protocol.send(event)
            except LocalProtocolError as error:
                raise IOException(f"the WebSocket is closed: {error}") from error
            await self._tcp.write(raw)

    async def close(self) -> None:
        """Say so, to whoever takes it at once, and close the socket."""
        async with self._closing:  # several may close it, and the second cut off the first one's word
            try:
                if self._protocol.connection is not None and not self._sending.locked():
                    with anyio.move_on_after(_GOODBYE_S, shield=True), suppress(BaseLibp2pError):
                        await self._send(CloseConnection(self._goodbye))
            finally:
                await self._tcp.close()

    def get_remote_address(self) -> Any:
        """The socket's."""
        return self._tcp.get_remote_address()
