"""Seats: who is connected, counted exactly. Decisions only; whoever calls closes what it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from peerwatch.errors import QuotaError
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import Connection
from peerwatch.node.gater import Direction
from peerwatch.wire.identity import peer_id

_SIMULTANEOUS_S = 5.0  # two dials that cross: longer than a handshake takes, shorter than a dead peer is missed


@dataclass(slots=True, eq=False)
class Seat:
    """A connection's place, from the moment its peer is known. Owned by the node's event loop.

    `close` ends the connection for a reason, `give_up_stream` the newest stream of the other side's; both are set once
    there is one. `ended` is why it ended, once that is known.
    """

    member: bytes
    address: str
    direction: Direction
    since_s: float
    used_s: float
    close: Callable[[str], Awaitable[None]] | None = None
    give_up_stream: Callable[[], None] | None = None
    ended: str = ""
    counted: bool = True
    rtt_s: float = 0.0
    punched: bool = False
    streams: dict[Direction, int] = field(default_factory=lambda: {Direction.IN: 0, Direction.OUT: 0})

    @property
    def relayed(self) -> bool:
        """Whether there is a relay between."""
        return "/p2p-circuit" in self.address

    def value(self) -> Connection:
        """What others may know of it."""
        return Connection(
            self.member,
            self.address,
            self.direction,
            self.since_s,
            self.streams[Direction.IN],
            self.streams[Direction.OUT],
            self.rtt_s,
        )


def newer_wins(old: Seat, new: Seat, me: bytes) -> bool:
    """Which of two connections to one peer stays.

    The newer: a peer that comes again has lost the old one, whatever it looks like from here. Unless both sides dialled
    at once; then both must keep the same one: that of the side with the smaller key, and a direct one before any.
    """
    if old.relayed is not new.relayed and new.since_s - old.since_s <= _SIMULTANEOUS_S:
        return old.relayed
    if old.direction is new.direction or new.since_s - old.since_s > _SIMULTANEOUS_S:
        return True
    mine = me < new.member
    return (new.direction is Direction.OUT) == mine


class Seats:
    """One seat per member, one handshake per member and direction. Full means QuotaError, at exactly the limit.

    A handshake counts from the moment the peer is known, so no number of handshakes at once goes past a limit. The one
    that will take the place of an older one needs no room of its own.
    """

    def __init__(self, limits: NodeLimits, me: bytes) -> None:
        self._limits = limits
        self.me = me
        self._most = {Direction.IN: limits.max_inbound, Direction.OUT: limits.max_outbound}
        self._taken = {Direction.IN: 0, Direction.OUT: 0}
        self._seated: dict[bytes, Seat] = {}
        self._coming: dict[tuple[bytes, Direction], Seat] = {}
        self._streams = {Direction.IN: 0, Direction.OUT: 0}
        self._most_streams = {Direction.IN: limits.process_streams_in, Direction.OUT: limits.process_streams_out}

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._seated.values()))

    def get(self, member: bytes) -> Seat | None:
        """The member's place, when it is connected."""
        return self._seated.get(member)

    def taken(self, direction: Direction) -> int:
        """How many places are taken, handshakes of known peers included."""
        return self._taken[direction]

    def has_room(self, direction: Direction) -> bool:
        """Whether one more may come."""
        return (
            self._taken[direction] < self._most[direction] and sum(self._taken.values()) < self._limits.max_connections
        )

    def reserve(self, member: bytes, address: str, direction: Direction, now_s: float) -> Seat:
        """A place for a peer whose handshake goes on; `release` gives it back. Raises QuotaError."""
        if (member, direction) in self._coming:
            raise QuotaError(f"{peer_id(member)} has a handshake running, limit 1 in each direction")
        seat = Seat(member, address, direction, now_s, now_s)
        old = self._seated.get(member)
        if old is not None and old.direction is direction and old.counted:
            seat.counted = False
        elif self.has_room(direction):
            self._taken[direction] += 1
        else:
            raise QuotaError(self.full(direction))
        self._coming[member, direction] = seat
        return seat

    def full(self, direction: Direction) -> str:
        """What is taken, in words."""
        return (
            f"{self._taken[direction]} {direction.value} connections, limit {self._most[direction]}; "
            f"{sum(self._taken.values())} in all, limit {self._limits.max_connections}"
        )

    def establish(self, seat: Seat, now_s: float) -> Seat | None:
        """The handshake is done. Returns the connection that must go: the older one, or this one; None mostly."""
        self._coming.pop((seat.member, seat.direction), None)
        seat.since_s = seat.used_s = now_s
        old = self._seated.get(seat.member)
        if old is not None and not newer_wins(old, seat, self.me):
            return seat
        self._seated[seat.member] = seat
        if old is not None:
            self._hand_over(old, seat)
        return old

    def _hand_over(self, old: Seat, new: Seat) -> None:
        if old.counted:
            old.counted = False
            self._taken[old.direction] -= 1
        if not new.counted:
            new.counted = True
            self._taken[new.direction] += 1

    def release(self, seat: Seat) -> None:
        """The connection, or its handshake, is over. More than once does no harm."""
        if self._coming.get((seat.member, seat.direction)) is seat:
            del self._coming[seat.member, seat.direction]
        if self._seated.get(seat.member) is seat:
            del self._seated[seat.member]
            heir = self._coming.get((seat.member, seat.direction))
            if heir is not None and not heir.counted:
                self._hand_over(seat, heir)  # else somebody else takes the room that its replacement counts on
        if seat.counted:
            seat.counted = False
            self._taken[seat.direction] -= 1

    # ---- streams

    @property
    def streams(self) -> int:
        """All of the process."""
        return sum(self._streams.values())

    def take_stream(self, seat: Seat, direction: Direction) -> None:
        """Count one more stream of a connection. Raises QuotaError at the limit of the connection or of the process."""
        most = self._limits.max_streams_in if direction is Direction.IN else self._limits.max_streams_out
        if seat.streams[direction] >= most:
            raise QuotaError(f"{seat.streams[direction]} {direction.value} streams of one connection, limit {most}")
        if self.streams >= self._limits.max_streams:
            raise QuotaError(f"{self.streams} streams in all, limit {self._limits.max_streams}")
        if self._streams[direction] >= self._most_streams[direction]:
            most = self._most_streams[direction]
            raise QuotaError(f"{self._streams[direction]} {direction.value} streams in all, limit {most}")
        seat.streams[direction] += 1
        self._streams[direction] += 1

    def greediest(self, seat: Seat) -> Seat | None:
        """Who must give up a stream for one more of this seat, where all of the process are taken.

        The one with the most that others opened, if it keeps more than this one will have; None where none has.
        """
        mine = seat.streams[Direction.IN]
        if mine >= self._limits.max_streams_in:
            return None
        most = max(self._seated.values(), key=lambda one: one.streams[Direction.IN], default=seat)
        return most if most.streams[Direction.IN] > mine + 1 else None

    def drop_stream(self, seat: Seat, direction: Direction) -> None:
        """One stream less."""
        seat.streams[direction] -= 1
        self._streams[direction] -= 1
