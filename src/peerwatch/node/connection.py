"""Connections and streams as the rest of the node sees them: who, where, which way, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from peerwatch.errors import LinkError, PeerError
from peerwatch.node.gater import Deny, Direction


class DeniedError(PeerError):
    """The other side, or its address, is not let in, or not dialled. Waiting does not help."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(deny.words)
        self.reason = deny.reason.value


class Gate(Protocol):
    """Who may connect. Called in the event loop: answers at once. Whatever it raises counts as a refusal."""

    def screen(self, address: str, direction: Direction, pending_in_subnet: int = 0) -> Deny | None:
        """Before a byte is sent: judged is the multiaddr really dialled, or the one that called."""
        ...

    def admit(self, member: bytes, address: str, direction: Direction) -> Deny | None:
        """In the handshake, once the other side has proved that it holds `member`'s key; before the muxer."""
        ...


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection. `opened_s` is on the event loop's clock."""

    member: bytes
    address: str
    direction: Direction
    opened_s: float
    streams_in: int
    streams_out: int
    rtt_s: float = 0.0
    """The last round trip that was measured; 0: none yet."""


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A member is connected."""

    member: bytes
    address: str
    direction: Direction
    punched: bool = False
    """Whether it came to be through two NATs (punch.py)."""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """It is no longer. `reason` is one of `connection.REASONS`, or what a caller of `close_peer` said."""

    member: bytes
    address: str
    direction: Direction
    lasted_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """Somebody was not let in or could not be reached. `reason` is a `Deny`'s, or one of `connection.REFUSALS`."""

    address: str
    direction: Direction
    reason: str
    words: str


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A stream whose protocol is agreed."""

    member: bytes
    protocol: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """It ended. `reason`: closed, reset, failed (its handler raised), or the connection's."""

    member: bytes
    protocol: str
    direction: Direction
    lasted_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """A stream of the other side's was reset: over a limit, or no protocol was agreed. `reason`: one of `REFUSALS`."""

    member: bytes
    reason: str
    words: str


Event = ConnectionOpened | ConnectionClosed | ConnectionRefused | StreamOpened | StreamClosed | StreamRefused
Listener = Callable[[Event], None]
"""Called in the event loop: must neither wait nor raise."""

REASONS = ("remote", "closed", "replaced", "duplicate", "health", "frozen", "abuse", "stuck", "shutdown")
"""Why connections end: the other side ended it; we did; a newer one of the same peer took its place; both sides dialled
at once; the health check of an idle one failed; a watched peer did not answer; it broke the muxer's rules; it took
nothing of what we wrote; the node stops."""

REFUSALS = ("limit", "queue", "timeout", "unreachable", "handshake", "malformed", "gate_failed", "address", "identity")
"""Why connections do not come to be, besides what the gate says: no room; the queue of handshakes is full; it took too
long; nobody answers there; it ended the handshake, or spoke nonsense in it; it spoke nonsense on a stream; the gate
raised; the address is none; it has no Ed25519 key, or is this node itself."""


class Stream(Protocol):
    """A stream to a member. Every failure is a LinkError; after one it can only be reset.

    A cancelled `read` or `write` may have lost bytes: reset the stream then, the connection goes on.
    """

    member: bytes
    protocol: str
    direction: Direction

    async def read(self, most_bytes: int) -> bytes:
        """What has come, 1 to `most_bytes` bytes; empty when the other side has ended the stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Hand over to the connection; waits while the other side does not read, for 5 s at most."""
        ...

    async def close(self) -> None:
        """End our side; what was written still arrives."""
        ...

    async def reset(self) -> None:
        """Drop it, both ways."""
        ...


async def read_exactly(stream: Stream, size_bytes: int) -> bytes:
    """As many bytes as that. Raises LinkError where the stream ends before."""
    data = bytearray()
    while len(data) < size_bytes:
        piece = await stream.read(size_bytes - len(data))
        if not piece:
            raise LinkError(f"stream {stream.protocol} ended after {len(data)} of {size_bytes} bytes")
        data += piece
    return bytes(data)
