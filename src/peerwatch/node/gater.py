"""Gater: who may connect, judged on the address really dialled, in and out, failing closed (requirement B14).

A connection is judged twice: by its address before the handshake (`peer` None), and by its identity in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from peerwatch.errors import DecodeError
from peerwatch.node.address import IP, Address, parse_address, parse_subject
from peerwatch.node.networks import Networks
from peerwatch.node.roster_view import RosterView


class Direction(Enum):
    """Who opened the connection. The value is a label."""

    IN = "inbound"
    OUT = "outbound"


class Reason(StrEnum):
    """Why somebody was refused. The value is the `reason` label of p2p_denied_total."""

    ADDRESS = "address"
    """Unknown, unparsable, or a name that was not resolved."""
    IDENTITY = "identity"
    """Another peer answered than was dialled."""
    DENIED = "denied"
    """On the deny list."""
    BANNED = "banned"
    NOT_ALLOWED = "not_allowed"
    """There is an allow list and it is not on it."""
    NOT_A_MEMBER = "not_a_member"
    CROWDED = "crowded"
    """Too many handshakes from its neighbourhood, or too many of these have failed."""
    GATE_FAILED = "gate_failed"
    """Judging it raised: a bug of ours, and no reason to let anybody in."""


@dataclass(frozen=True, slots=True)
class Admit:
    """Let it through."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Close it. `words` are for logs: they hold the peer, the address, the rule."""

    reason: Reason
    words: str


Verdict = Admit | Deny


class PeerList:
    """Peer ids and networks, as an operator listed them. A value. Raises DecodeError for what is neither."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        subjects = [parse_subject(one) for one in entries]
        self.peers = frozenset(one for one in subjects if isinstance(one, str))
        self._networks = Networks()
        for one in subjects:
            if not isinstance(one, str):
                self._networks.add(one)

    def __bool__(self) -> bool:
        return bool(self.peers or self._networks)

    def has_ip(self, ip: IP | None) -> bool:
        """Whether a listed network holds the address."""
        return ip is not None and bool(self._networks.holding(ip))


class Blocker(Protocol):
    """Who is banned: `Bans`, or a fake."""

    def blocking(self, peers: Iterable[str], ip: IP | None, now_ms: int) -> str:
        """Why one of the peers, or the address, is banned now; empty when none is."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection that somebody wants. `address` is the multiaddr really dialled, or the one that called.

    `peer` is the other side's id (text), None only before it has proved one. `pending_in_subnet`: handshakes that run
    from its subnet besides this one.
    """

    direction: Direction
    address: str
    peer: str | None = None
    pending_in_subnet: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What attempts are judged by. The deny list wins over bans, these over the allow list, that over the roster."""

    roster: RosterView
    bans: Blocker
    allow: PeerList
    deny: PeerList
    max_pending_per_subnet: int


def judge(attempt: Attempt, rules: Rules, now_ms: int) -> Verdict:
    """Whether the connection may be. Never raises for what a peer can choose: what is not understood is denied.

    A relayed connection is judged on the relay's identity and address, and on the identity of the peer behind it; the
    relay's address says nothing for that peer.
    """
    try:
        address = parse_address(attempt.address)
    except DecodeError as error:
        return Deny(Reason.ADDRESS, str(error))
    if address.name or (address.ip is None and not address.relayed):
        return Deny(Reason.ADDRESS, f"address {attempt.address!r} has no IP: judged is what is really dialled")
    if attempt.peer is not None and address.peer not in ("", attempt.peer):
        return Deny(Reason.IDENTITY, f"{attempt.address!r} names another peer than {attempt.peer!r}")
    peer = address.peer or attempt.peer
    who = [one for one in (peer, address.relay or None) if one is not None]
    return (
        _judge_lists(who, address.ip, rules, now_ms)
        or _judge_allowed(peer, address, rules.allow)
        or _judge_members(who, rules.roster, now_ms)
        or _judge_crowd(attempt, peer, rules)
        or Admit()
    )


def _judge_lists(who: list[str], ip: IP | None, rules: Rules, now_ms: int) -> Deny | None:
    listed = rules.deny.peers.intersection(who)
    if listed or rules.deny.has_ip(ip):
        return Deny(Reason.DENIED, f"{', '.join(listed) or ip} is on the deny list")
    ban = rules.bans.blocking(who, ip, now_ms)
    return Deny(Reason.BANNED, ban) if ban else None


def _judge_allowed(peer: str | None, address: Address, allow: PeerList) -> Deny | None:
    """An empty list allows everybody. Before the handshake a list that names peers cannot refuse yet."""
    if not allow:
        return None
    if address.relay and address.relay not in allow.peers and not allow.has_ip(address.ip):
        return Deny(Reason.NOT_ALLOWED, f"relay {address.relay} is not on the allow list")
    if not address.relay and allow.has_ip(address.ip):
        return None
    if peer in allow.peers or (peer is None and allow.peers):
        return None
    return Deny(Reason.NOT_ALLOWED, f"{peer or address.ip} is not on the allow list")


def _judge_members(who: list[str], roster: RosterView, now_ms: int) -> Deny | None:
    for one in who:
        if not roster.is_member(one, now_ms):
            return Deny(Reason.NOT_A_MEMBER, f"{one} is not a member (roster version {roster.version})")
    return None


def _judge_crowd(attempt: Attempt, peer: str | None, rules: Rules) -> Deny | None:
    if peer is None and attempt.pending_in_subnet >= rules.max_pending_per_subnet:
        words = f"{attempt.pending_in_subnet} handshakes from its subnet, limit {rules.max_pending_per_subnet}"
        return Deny(Reason.CROWDED, f"{attempt.address!r}: {words}")
    return None
