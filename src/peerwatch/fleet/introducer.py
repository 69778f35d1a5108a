"""Introducer: a hub's side of mesh probes. Members say where they listen, and are told whom to measure and let in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

import anyio.to_thread

from peerwatch.errors import LinkError, QuotaError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.pairing import Pairing
from peerwatch.fleet.partners import (
    MAX_ADDRESSES,
    MAX_PARTNERS,
    MAX_VISITORS,
    Partner,
    PartnerList,
    seal_partners,
)
from peerwatch.fleet.roster import RosterEntry
from peerwatch.model import Clock
from peerwatch.wire.multiaddr import TcpAddress, unpack_tcp
from peerwatch.wire.peer_info import PeerInfo, open_peer_info

_ANSWERS_PER_S = 16  # an answer costs a millisecond: larger fleets ask less often
_LEAST_REFRESH_MS, _MOST_REFRESH_MS = 5_000, 60_000
_LIFE = 5  # times the refresh, and a minute at least: an answer that is late three times cuts nobody off
_LEAST_LIFE_MS = 60_000
_LEAST_GAP_MS = 1_000  # between two questions of one member

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a member said last: where it listens, and when."""

    addresses: tuple[TcpAddress, ...]
    number: int
    time_ms: int


class Introducer:
    """One per hub, owned by its event loop. Knows nothing after a start: members tell it again within a minute.

    A member is let in by its partners only if they have heard of it before it comes. So a new pairing is told to those
    who let in at once, and to those who probe only when everybody has asked since. Bounded by the roster: who may not
    act is not listened to, and who was silent for as long as a list lives is forgotten.
    """

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._heard: dict[bytes, _Heard] = {}
        self._pairing = Pairing((), ())
        self._coming: Pairing | None = None
        self._made_from: tuple[frozenset[bytes], frozenset[bytes]] = (frozenset(), frozenset())
        self._made_ms = 0

    @property
    def refresh_ms(self) -> int:
        """How often members ask: every five seconds in a small fleet, every minute in one of a thousand."""
        wanted = 1_000 * len(self._heard) // _ANSWERS_PER_S
        return min(max(wanted, _LEAST_REFRESH_MS), _MOST_REFRESH_MS)

    @property
    def _life_ms(self) -> int:
        return max(_LIFE * self.refresh_ms, _LEAST_LIFE_MS)

    async def answer(self, member: bytes, address: str, raw: bytes) -> bytes:
        """The signed list for `member`, which called from `address` (a multiaddr) and said `raw`, its signed PeerInfo.

        Raises QuotaError where it asks too often, SignatureError for who is no member or says it of somebody else,
        DecodeError for nonsense.
        """
        now_ms = self._clock.now_ms()
        entry = self._entry(member, now_ms)
        known = self._heard.get(member)
        if known is not None and now_ms - known.time_ms < _LEAST_GAP_MS:
            raise QuotaError(f"{entry.name} asked less than {_LEAST_GAP_MS} ms ago", _LEAST_GAP_MS / 1000)
        info, number = open_peer_info(raw)
        if info.public != member:
            raise SignatureError(f"peer info of another than {entry.name}, who sent it")
        if known is not None and number < known.number:
            raise SignatureError(f"peer info number {number} of {entry.name}, {known.number} came before")
        self._heard[member] = _Heard(_reachable(info, address), number, now_ms)
        await self._pair(now_ms)
        keys = self._authority.keys
        return seal_partners(
            keys.signing, self._authority.member, self._authority.fleet, member, self._list(member, now_ms)
        )

    def _entry(self, member: bytes, now_ms: int) -> RosterEntry:
        if self._authority.is_revoked:
            raise LinkError("this hub was revoked by its fleet")
        roster = self._authority.membership.roster
        entry = roster.get(member)
        if entry is None or entry.is_invite or not roster.may_act(entry, now_ms):
            raise SignatureError("who asks for partners is no member")
        return entry

    async def _pair(self, now_ms: int) -> None:
        """Let what was made take effect, and make anew where members have come or gone."""
        settle_ms = self.refresh_ms * 3 // 2
        if now_ms - self._made_ms < settle_ms:
            return
        if self._coming is not None:
            self._pairing, self._coming = self._coming, None
        self._forget_silent(now_ms)
        listening = frozenset(member for member, one in self._heard.items() if one.addresses)
        made_from = (frozenset(self._heard), listening)
        if made_from != self._made_from:
            self._made_from, self._made_ms = made_from, now_ms  # first: others ask while it is made
            self._coming = await anyio.to_thread.run_sync(Pairing, sorted(self._heard), sorted(listening))

    def _forget_silent(self, now_ms: int) -> None:
        longest_ms = self._life_ms
        roster = self._authority.membership.roster
        for member, one in list(self._heard.items()):
            entry = roster.get(member)
            if now_ms - one.time_ms > longest_ms or entry is None or not roster.may_act(entry, now_ms):
                del self._heard[member]

    def _list(self, member: bytes, now_ms: int) -> PartnerList:
        chosen = self._pairing.partners(member, now_ms)
        visitors = self._pairing.visitors(member, now_ms)
        if self._coming is not None:
            visitors += self._coming.visitors(member, now_ms)
        partners = self._acting(chosen, now_ms)
        others = self._acting(dict.fromkeys(one for one in visitors if one not in chosen), now_ms)
        return PartnerList(
            partners=tuple(one for one in partners if one.addresses)[:MAX_PARTNERS],
            visitors=tuple(replace(one, addresses=()) for one in others)[:MAX_VISITORS],
            expires_ms=now_ms + self._life_ms,
            refresh_ms=self.refresh_ms,
            candidates=sum(1 for one in self._heard.values() if one.addresses),
        )

    def _acting(self, members: Iterable[bytes], now_ms: int) -> list[Partner]:
        """Those who may act at this moment, whenever the pairs were made."""
        roster = self._authority.membership.roster
        found = []
        for member in members:
            entry, heard = roster.get(member), self._heard.get(member)
            if entry is not None and heard is not None and roster.may_act(entry, now_ms):
                addresses = tuple(map(str, heard.addresses))
                found.append(Partner(member, entry.name, addresses, entry.expires_ms))
        return found


def _reachable(info: PeerInfo, called_from: str) -> tuple[TcpAddress, ...]:
    """Where others can try to reach a member, of what it says of itself.

    Whoever listens on every interface says 0.0.0.0 or ::, which means where it called from. Loopback leads others to
    themselves, unless it called from there.
    """
    here = _ip_of(called_from)
    found: list[TcpAddress] = []
    for raw in info.multiaddrs[:MAX_ADDRESSES]:
        said = unpack_tcp(raw)
        if said.ip.is_unspecified and here is not None and here.version == said.ip.version:
            said = TcpAddress(here, said.port)
        if said.ip.is_unspecified or said.ip.is_multicast or (said.ip.is_loopback and not (here and here.is_loopback)):
            continue
        found.append(said)
    return tuple(dict.fromkeys(found))


def _ip_of(address: str) -> _Ip | None:
    """The IP that a multiaddr begins with; None where there is none, or where it is a relay's."""
    parts = address.split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6") or "p2p-circuit" in parts:
        return None
    try:
        return ipaddress.ip_address(parts[2])
    except ValueError:
        return None
