"""Conduct: what each peer may take, and what follows from what it does (requirements B26, B28, B30 to B32).

What counts is what this process has seen itself, or what its main process has proved: never another peer's word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_network

from peerwatch.errors import DecodeError, PeerError
from peerwatch.model import Clock
from peerwatch.node.address import IP, parse_address, subnet_of
from peerwatch.node.bans import Ban, Bans
from peerwatch.node.buckets import Buckets
from peerwatch.node.config import NodeConfig
from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    Event,
    StreamOpened,
    StreamRefused,
)
from peerwatch.node.gater import Direction, Reason
from peerwatch.node.places import Places
from peerwatch.node.reputation import BanOrder, Deed, Reputation
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")
_REPEATS_KEPT = 4_096
_MOST_GROWTHS = 32  # a float ends somewhere
_FAILED_HANDSHAKES = frozenset(
    {
        Reason.NOT_A_MEMBER.value,
        Reason.BANNED.value,
        Reason.DENIED.value,
        Reason.NOT_ALLOWED.value,
        Reason.IDENTITY.value,
        "handshake",
        "timeout",
    }
)


class Conduct:
    """Decides; whoever owns it waits, refuses and closes. Owned by the node's event loop; bounded like its parts.

    `is_hub` tells of a peer id whether it is a hub of the fleet: hubs are never banned here, they are revoked by
    people. `on_ban` is told of each ban that was made, `count` of each deed.
    """

    def __init__(
        self,
        config: NodeConfig,
        bans: Bans,
        clock: Clock,
        me: str,
        is_hub: Callable[[str], bool],
        on_ban: Callable[[Ban], None],
        count: Callable[[Deed], None],
    ) -> None:
        rates, now_s = config.rates, clock.monotonic_s()
        self._config = config.reputation
        self._bans = bans
        self._clock = clock
        self._me = me
        self._is_hub = is_hub
        self._on_ban = on_ban
        self._count = count
        self._reputation = Reputation(config.reputation)
        self._places = Places()
        self._messages = Buckets(rates.burst_messages, rates.messages_per_s, rates.max_peers, now_s)
        self._bytes = Buckets(rates.burst_bytes, rates.bytes_per_s, rates.max_peers, now_s)
        self._attempts = Buckets(rates.burst_attempts, rates.attempts_per_s, rates.max_peers, now_s)
        self._failures = Buckets(rates.burst_failures, rates.failures_per_s, rates.max_peers, now_s)
        self._where: dict[bytes, IP] = {}
        self._repeats: OrderedDict[str, tuple[int, float]] = OrderedDict()

    # ---- what a peer may take

    def charge(self, member: bytes, size_bytes: int) -> float:
        """A request of so many bytes: 0.0 when it is granted and paid for, else how long to wait before asking again.

        One that is larger than the bucket is granted from a full one. So back-fill after an outage is slowed down to
        the member's rate, and never refused for being much.
        """
        peer, now_s = peer_id(member), self._clock.monotonic_s()
        factor = self._reputation.factor(peer, self._where.get(member), now_s)
        wait_s = max(
            self._messages.lacks(peer, 1.0, factor, now_s), self._bytes.lacks(peer, float(size_bytes), factor, now_s)
        )
        if not wait_s:
            self._messages.take(peer, 1.0, factor, now_s)
            self._bytes.take(peer, float(size_bytes), factor, now_s)
        return wait_s

    def attempted(self, member: bytes) -> None:
        """It opened a stream, or was told to wait: more of that than anybody needs is a flood."""
        if self._attempts.take(peer_id(member), 1.0, 1.0, self._clock.monotonic_s()):
            self.did(Deed.FLOOD, member)

    def is_crowded(self, address: str) -> bool:
        """Whether so many handshakes from its place have come to nothing that this one must wait."""
        ip = _ip_of(address)
        return ip is not None and bool(self._failures.lacks(self._place(ip), 1.0, 1.0, self._clock.monotonic_s()))

    def _place(self, ip: IP) -> str:
        """A neighbourhood shares one account of failures; an address at which a member lives has its own."""
        at_home = self._places.is_home(ip, self._clock.monotonic_s())
        return str(ip) if at_home else str(subnet_of(ip))

    def score(self, member: bytes) -> float:
        """Its points now: 0 for who is not known, negative after misdeeds."""
        return self._reputation.score(peer_id(member), self._clock.monotonic_s())

    # ---- what it does

    def hear(self, event: Event) -> None:
        """One event of the host."""
        match event:
            case ConnectionOpened():
                self._settle_in(event)
            case ConnectionClosed():
                if event.reason == "abuse":  # before the address is forgotten
                    self.did(Deed.MALFORMED, event.member)
                if self._where.get(event.member) == _ip_of(event.address):
                    self._where.pop(event.member, None)
            case ConnectionRefused() if event.direction is Direction.IN:
                self._failed(event)
            case StreamOpened() if event.direction is Direction.IN:
                self.attempted(event.member)
            case StreamRefused():
                self.attempted(event.member)
                if event.reason == "malformed":
                    self.did(Deed.MALFORMED, event.member)
            case _:
                pass

    def did(self, deed: Deed, member: bytes, times: int = 1) -> None:
        """A member did something that is proved; a ban may follow."""
        self._record(deed, peer_id(member), self._where.get(member), times)

    def forget(self, subject: str) -> None:
        """Its ban was lifted: it begins anew."""
        self._reputation.forget(subject)
        self._repeats.pop(subject, None)

    def _settle_in(self, event: ConnectionOpened) -> None:
        ip = _ip_of(event.address)
        if ip is not None:
            self._where[event.member] = ip
            self._places.saw(ip, self._clock.monotonic_s())

    def _failed(self, event: ConnectionRefused) -> None:
        ip = _ip_of(event.address)
        if ip is None or self._bans.is_blocked(None, ip, self._clock.now_ms()):
            return  # it is kept out already, before it costs anything
        if event.reason == Reason.CROWDED.value:
            self._record(Deed.FLOOD, None, ip)
        elif event.reason in _FAILED_HANDSHAKES:
            self._failures.take(self._place(ip), 1.0, 1.0, self._clock.monotonic_s())
            self._record(Deed.STRANGER, None, ip)

    # ---- what follows

    def _record(self, deed: Deed, peer: str | None, ip: IP | None, times: int = 1) -> None:
        self._count(deed)
        for order in self._reputation.record(deed, peer, ip, self._clock.monotonic_s(), times):
            subject = self._subject(order, ip)
            if subject:
                self._ban(subject, order)

    def _subject(self, order: BanOrder, ip: IP | None) -> str:
        """Whom an order is carried out on: a peer as it says, a place no further than strangers live. Empty: nobody."""
        if "/" not in order.subject:
            return "" if self._spares_hub(order) else order.subject
        now_s = self._clock.monotonic_s()
        if now_s - order.since_s < self._config.probation_s or ip is None:
            return ""
        if not self._places.is_home(ip_network(order.subject), now_s):
            return order.subject
        return "" if self._places.is_home(ip, now_s) else str(ip_network(ip))

    def _spares_hub(self, order: BanOrder) -> bool:
        if not self._is_hub(order.subject):
            return False
        _log.warning("hub misbehaves", peer=order.subject, reason=order.reason, remedy="peerwatch revoke")
        self._reputation.forget(order.subject)
        return True

    def _ban(self, subject: str, order: BanOrder) -> None:
        now_ms = self._clock.now_ms()
        if self._bans.blocking([subject], None, now_ms):
            return
        duration_s = order.duration_s if "/" in subject else self._grown(subject, order.duration_s)
        try:
            ban = self._bans.ban_temporary(subject, duration_s, order.reason, self._me, now_ms)
        except PeerError as error:  # the list is full of longer ones
            _log.error("ban not made", subject=subject, reason=order.reason, error=str(error))
            return
        self._on_ban(ban)

    def _grown(self, peer: str, duration_s: float) -> float:
        now_s, most_s = self._clock.monotonic_s(), self._config.most_ban_s
        times, forgotten_s = self._repeats.pop(peer, (0, 0.0))
        if now_s >= forgotten_s:
            times = 0
        lasts_s = min(most_s, duration_s * self._config.ban_growth ** min(times, _MOST_GROWTHS))
        self._repeats[peer] = (times + 1, now_s + lasts_s + most_s)
        if len(self._repeats) > _REPEATS_KEPT:
            self._repeats.popitem(last=False)
        return lasts_s


def _ip_of(address: str) -> IP | None:
    try:
        found = parse_address(address)
    except DecodeError:
        return None
    return None if found.relayed else found.ip
