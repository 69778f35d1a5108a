"""Hosts on loopback, an ear for their events, and a peer that says whatever a test wants."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import anyio
import anyio.abc
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_noise_key
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import Transport as NoiseTransport

from peerwatch.model import SystemClock
from peerwatch.node.bans import Bans
from peerwatch.node.conduct import Conduct
from peerwatch.node.config import NodeConfig, NodeLimits, RateConfig
from peerwatch.node.connection import Event
from peerwatch.node.gater import Deny, Direction, Reason
from peerwatch.node.host import Host
from peerwatch.node.reputation import Deed
from peerwatch.wire.identity import PrivateKey, peer_id

QUICK = NodeLimits(handshake_timeout_s=5.0, dial_timeout_s=5.0)
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
BY_WEBSOCKET = f"{ANYWHERE}/ws"
YAMUX = "/yamux/1.0.0"
DATA, WINDOW, PING, GO_AWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8

_BELOW = (
    ("max_inbound", "max_connections"),
    ("max_outbound", "max_connections"),
    ("max_pending_per_subnet", "max_pending"),
    ("process_streams_in", "max_streams"),
    ("process_streams_out", "max_streams"),
    ("max_negotiating", "max_streams"),
    ("max_relayed", "max_streams"),
    ("max_relayed_each", "max_relayed"),
)

E = TypeVar("E")


def run(story: Callable[[], Awaitable[None]], within_s: float = 30.0) -> None:
    """The story, on trio; it fails when it takes longer."""

    async def main() -> None:
        with anyio.fail_after(within_s):
            await story()

    anyio.run(main, backend="trio")


class OpenGate:
    """Lets in whoever is not in `denied` and whatever address does not contain one of `closed`."""

    def __init__(self) -> None:
        self.denied: set[bytes] = set()
        self.closed: set[str] = set()
        self.screened: list[tuple[str, Direction]] = []
        self.crowds: list[int] = []

    def screen(self, address: str, direction: Direction, pending_in_subnet: int = 0) -> Deny | None:
        """By address."""
        self.screened.append((address, direction))
        self.crowds.append(pending_in_subnet)
        bad = [one for one in self.closed if one in address]
        return Deny(Reason.DENIED, f"{address} is on the list") if bad else None

    def admit(self, member: bytes, address: str, direction: Direction) -> Deny | None:
        """By identity."""
        return Deny(Reason.NOT_A_MEMBER, f"{peer_id(member)} is no member") if member in self.denied else None


class Ear:
    """Keeps events, and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.also: Callable[[Event], None] = lambda event: None
        self._news = anyio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.also(event)
        self._news.set()
        self._news = anyio.Event()

    def of(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [one for one in self.events if isinstance(one, kind)]

    async def wait(self, kind: type[E], count: int = 1) -> list[E]:
        """Events of a kind, once there are as many."""
        while len(self.of(kind)) < count:
            await self._news.wait()
        return self.of(kind)


@dataclass
class Node:
    """A host with its gate and its ear."""

    host: Host
    gate: OpenGate
    ear: Ear
    key: PrivateKey

    @property
    def member(self) -> bytes:
        """Its member id."""
        return self.host.member

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.host.addresses[0].split("/")[4])

    async def settled(self) -> None:
        """Until nobody is connected and nothing runs."""
        await until(lambda: not self.host.connections and not any(vars_of(self.host.usage())))


async def until(condition: Callable[[], bool]) -> None:
    """Until it is so; the story's own deadline bounds it."""
    while not condition():  # noqa: ASYNC110  # numbers of libp2p, for which there is no event
        await anyio.sleep(0.01)


def vars_of(value: Any) -> tuple[int, ...]:
    """The numbers of a Usage."""
    return tuple(getattr(value, name) for name in value.__slots__)


def node(
    limits: NodeLimits = QUICK,
    *,
    listen: bool = True,
    at: str = ANYWHERE,
    key: PrivateKey | None = None,
    **more: Any,
) -> Node:
    """One that is not started: `async with one.host`."""
    gate, ear, key = OpenGate(), Ear(), key or PrivateKey.generate()
    host = Host(key, gate, ear, limits=limits, listen=[at] if listen else [], **more)
    return Node(host, gate, ear, key)


def conduct(ear: Ear, deeds: list[Deed] | None = None, rates: RateConfig | None = None) -> Conduct:
    """A conduct that hears what `ear` hears, and notes `deeds`; nobody is a hub."""
    config = NodeConfig(rates=rates or RateConfig())
    noted = deeds if deeds is not None else []
    made = Conduct(config, Bans(), SystemClock(), "me", lambda peer: False, lambda ban: None, noted.append)
    ear.also = made.hear
    return made


def limits(**changed: Any) -> NodeLimits:
    """QUICK with changes; what may not be above a lowered number is lowered with it."""
    for name, most in _BELOW:
        if most in changed and name not in changed:
            changed[name] = min(getattr(QUICK, name), changed[most])
    return replace(QUICK, **changed)


class _Socket:
    """What libp2p's layers want of a stream."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        """Some bytes; none at the end."""
        try:
            return await self._stream.receive(n or 65536)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    async def write(self, data: bytes) -> None:
        """All of it."""
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise IOException(str(error)) from error

    async def close(self) -> None:
        """At once."""
        await self._stream.aclose()

    def get_remote_address(self) -> None:
        """Nobody asks."""


class Target(Protocol):
    """What an attacker must know of a node: a `Node` of the test's own, or that of a process."""

    @property
    def member(self) -> bytes:
        """Its member id."""
        ...

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        ...


class Attacker:
    """A peer that goes as far into the protocol as a test says and then sends what it likes."""

    def __init__(self, stream: anyio.abc.SocketStream, key: PrivateKey) -> None:
        self.key = key
        self.socket = _Socket(stream)
        self.raw = RawConnection(self.socket, True)
        self.secured: Any = None

    @classmethod
    async def connect(cls, target: Target, key: PrivateKey | None = None, source: str | None = None) -> Attacker:
        """TCP only. `source` is one of this machine's addresses."""
        stream = await anyio.connect_tcp("127.0.0.1", target.port, local_host=source)
        return cls(stream, key or PrivateKey.generate())

    @classmethod
    async def muxed(cls, target: Target, key: PrivateKey | None = None) -> Attacker:
        """As far as Yamux."""
        attacker = await cls.connect(target, key)
        await attacker.shake(target.member)
        await attacker.select(attacker.secured, YAMUX)
        return attacker

    async def __aenter__(self) -> Attacker:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self.socket.close()

    async def select(self, conn: Any, *protocols: str) -> str:
        """multistream-select."""
        chosen = await MultiselectClient().select_one_of(list(protocols), MultiselectCommunicator(conn), 5)
        return str(chosen)

    async def shake(self, member: bytes, *, sign_with: PrivateKey | None = None) -> None:
        """Noise. With `sign_with` the identity that is shown is `key`'s and the signature somebody else's."""
        await self.select(self.raw, "/noise")
        pair = create_new_key_pair(self.key.seed)
        noise = NoiseTransport(pair, create_new_noise_key().private_key)
        if sign_with is not None:
            noise.libp2p_privkey = _Liar(pair, create_new_key_pair(sign_with.seed))
        self.secured = await noise.secure_outbound(self.raw, ID.from_base58(peer_id(member)))

    async def frame(self, kind: int, flags: int, stream_id: int, length: int = 0, body: bytes = b"") -> None:
        """One frame of Yamux; `length` is as said, whatever the body has."""
        await self.secured.write(struct.pack("!BBHII", 0, kind, flags, stream_id, length) + body)

    async def data(self, stream_id: int, body: bytes, flags: int = 0) -> None:
        """A frame with data."""
        await self.frame(DATA, flags, stream_id, len(body), body)

    async def read_frame(self) -> tuple[int, int, int, bytes]:
        """Kind, flags, stream, body of what comes next. Raises IOException at the end."""
        header = await self._exactly(12)
        _, kind, flags, stream_id, length = struct.unpack("!BBHII", header)
        return kind, flags, stream_id, await self._exactly(length) if kind == DATA else b""

    async def _exactly(self, size: int) -> bytes:
        data: bytes = await self.secured.read(size) if size else b""
        if len(data) < size:
            raise IOException("closed")
        return data

    async def until(self, kind: int, flags: int, stream_id: int) -> None:
        """Read on until such a frame comes."""
        while True:
            got = await self.read_frame()
            if (got[0], got[2]) == (kind, stream_id) and got[1] & flags:
                return

    async def closed(self) -> None:
        """Until the other side has closed."""
        if self.secured is None:
            while await self.socket.read():
                pass
            return
        try:
            while True:
                await self.read_frame()
        except Exception:
            return


class _Liar:
    """Signs with one key and shows another."""

    def __init__(self, shown: Any, signing: Any) -> None:
        self._shown, self._signing = shown, signing

    def sign(self, data: bytes) -> bytes:
        """By the key that it has."""
        signature: bytes = self._signing.private_key.sign(data)
        return signature

    def get_public_key(self) -> Any:
        """The one that it has not."""
        return self._shown.public_key


def word(text: bytes) -> bytes:
    """A word of multistream-select as bytes."""
    size, out = len(text) + 1, bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size]) + text + b"\n"


MULTISTREAM = word(b"/multistream/1.0.0")
