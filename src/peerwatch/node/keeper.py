"""Keeper: judges, counts and reports every connection and stream. It knows nothing of libp2p."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.node.address import parse_address, subnet_of
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    DeniedError,
    Event,
    Gate,
    Listener,
    StreamRefused,
)
from peerwatch.node.gater import Deny, Direction, Reason
from peerwatch.node.seats import Seat, Seats
from peerwatch.node.turnstile import Turnstile
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import public_key_of

_log = get_logger("node")


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used of each limit now; the names are those of `NodeLimits`."""

    inbound: int
    outbound: int
    pending: int
    waiting: int
    streams: int
    negotiating: int
    relayed: int = 0
    reservations: int = 0
    pending_per_subnet: int = 0
    """Inbound handshakes, waiting ones included, of the neighbourhood that has the most."""


class Keeper:
    """One per host, owned by its event loop. What the gate raises is a refusal, what the listener raises is logged."""

    def __init__(self, me: bytes, limits: NodeLimits, gate: Gate, listener: Listener) -> None:
        self.limits = limits
        self.seats = Seats(limits, me)
        self._gate = gate
        self._listener = listener
        self._turnstiles = {
            direction: Turnstile(limits.max_pending, limits.max_waiting)
            for direction in Direction  # one each: a flood from outside does not keep us from dialling
        }
        self._pending: Counter[str] = Counter()
        self._negotiating = 0

    def usage(self) -> Usage:
        """The numbers of this moment."""
        turnstiles = self._turnstiles.values()
        return Usage(
            inbound=self.seats.taken(Direction.IN),
            outbound=self.seats.taken(Direction.OUT),
            pending=sum(one.inside for one in turnstiles),
            waiting=sum(one.waiting for one in turnstiles),
            streams=self.seats.streams,
            negotiating=self._negotiating,
            pending_per_subnet=max(self._pending.values(), default=0),
        )

    def tell(self, event: Event) -> None:
        """Report; a listener that fails must not cost a connection."""
        try:
            self._listener(event)
        except Exception:
            _log.exception("event listener failed", event_kind=type(event).__name__)

    # ---- connections

    @asynccontextmanager
    async def handshake(self, direction: Direction) -> AsyncIterator[None]:
        """From the first byte to the muxer, within the limits of number and time. Raises QuotaError, LinkError."""
        inbound = direction is Direction.IN
        within_s = self.limits.handshake_timeout_s if inbound else self.limits.dial_timeout_s
        async with self._turnstiles[direction].passing(within_s):
            try:
                with anyio.fail_after(within_s):
                    yield
            except TimeoutError as error:
                raise LinkError(f"no connection within {within_s:g} s") from error

    @contextmanager
    def arriving(self, address: str) -> Iterator[None]:
        """From an inbound call to the end of its handshake, waiting included: counted by its /24 or /64.

        Raises what `screen` does. Bounded by what may run and wait; a subnet with none is forgotten.
        """
        self.screen(address, Direction.IN)
        subnet = _subnet(address)
        self._pending[subnet] += 1
        try:
            yield
        finally:
            self._pending[subnet] -= 1
            if not self._pending[subnet]:
                del self._pending[subnet]

    def screen(self, address: str, direction: Direction) -> None:
        """Judge an address. Raises DeniedError, and QuotaError for a dial when every outbound place is taken.

        An inbound call goes on to the handshake though all places are taken: the caller may have one of them.
        """
        if not address:
            raise DeniedError(Deny(Reason.ADDRESS, "the address of the other side is not known"))
        others = self._pending[_subnet(address)] if direction is Direction.IN else 0
        self._judge(lambda: self._gate.screen(address, direction, others))
        if direction is Direction.OUT and not self.seats.has_room(direction):
            raise QuotaError(self.seats.full(direction))

    def admit(self, peer: str, address: str, direction: Direction) -> Seat:
        """Judge a peer that has proved who it is, and reserve its place. Raises DeniedError, QuotaError."""
        try:
            member = public_key_of(peer)
        except DecodeError as error:
            raise DeniedError(Deny(Reason.IDENTITY, str(error))) from error
        if member == self.seats.me:
            raise DeniedError(Deny(Reason.IDENTITY, f"{address} is this node itself"))
        self._judge(lambda: self._gate.admit(member, address, direction))
        return self.seats.reserve(member, address, direction, anyio.current_time())

    def judge(self, seat: Seat) -> None:
        """Judge a member that is connected once more. Raises DeniedError."""
        self._judge(lambda: self._gate.admit(seat.member, seat.address, seat.direction))

    @staticmethod
    def _judge(ask: Callable[[], Deny | None]) -> None:
        try:
            deny = ask()
        except Exception as error:  # fails closed
            _log.exception("gate failed")
            raise DeniedError(Deny(Reason.GATE_FAILED, f"the gate failed: {error!r}")) from error
        if deny is not None:
            raise DeniedError(deny)

    def seated(self, seat: Seat) -> Seat | None:
        """The connection is up. Returns the one of this peer that must be closed, which may be this one."""
        loser = self.seats.establish(seat, anyio.current_time())
        if loser is not seat:
            self.tell(ConnectionOpened(seat.member, seat.address, seat.direction, seat.punched))
        return loser

    def unseated(self, seat: Seat) -> None:
        """The connection is gone, for the reason in its `ended`."""
        self.seats.release(seat)
        lasted_s = anyio.current_time() - seat.since_s
        self.tell(ConnectionClosed(seat.member, seat.address, seat.direction, lasted_s, seat.ended or "remote"))

    def refused(self, address: str, direction: Direction, error: BaseException) -> None:
        """A connection did not come to be."""
        self.tell(ConnectionRefused(address, direction, reason_of(error), str(error) or type(error).__name__))

    # ---- streams

    @contextmanager
    def negotiating(self) -> Iterator[None]:
        """While a stream's protocol is being agreed. Raises QuotaError at the limit."""
        if self._negotiating >= self.limits.max_negotiating:
            raise QuotaError(f"{self._negotiating} streams negotiate, limit {self.limits.max_negotiating}")
        self._negotiating += 1
        try:
            yield
        finally:
            self._negotiating -= 1

    def stream_refused(self, seat: Seat, error: BaseException) -> None:
        """A stream of the other side's was reset before it began."""
        self.tell(StreamRefused(seat.member, reason_of(error), str(error) or type(error).__name__))


def _subnet(address: str) -> str:
    """The neighbourhood of an address; the gate refuses what has none."""
    try:
        ip = parse_address(address).ip
    except DecodeError:
        return ""
    return str(subnet_of(ip)) if ip is not None else ""


def reason_of(error: BaseException) -> str:
    """One word for a refusal."""
    if isinstance(error, DeniedError):
        return error.reason
    if isinstance(error, DecodeError):
        return "malformed"
    if isinstance(error, QuotaError):
        return "limit" if error.wait_s is None else "queue"
    if isinstance(error, LinkError):
        return "timeout" if isinstance(error.__cause__, TimeoutError) else "unreachable"
    return "handshake"
