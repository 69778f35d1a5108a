"""PartnerList: a hub's signed word to one member: whom it measures, and who may measure it (docs/formats/node.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import valid_name
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import KEY_BYTES, PrivateKey
from peerwatch.wire.multiaddr import parse_tcp
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message, split_message

MAX_PARTNERS = 32
"""17 in a fleet of 100,000; each costs 20 series and a connection."""
MAX_VISITORS = 128
"""Whom a member lets in for probes: about as many as it probes itself, by chance four times that."""
MAX_LIFE_MS = 15 * 60_000
"""Who is revoked is let in no longer than this by a member that hears of nothing; a hub gives five minutes."""
MAX_ADDRESSES = 8
_MOST_BYTES = 64 << 10  # 160 members of 200 bytes, and the addresses of 32
_MIN_REFRESH_MS, _MAX_REFRESH_MS = 1_000, MAX_LIFE_MS


@dataclass(frozen=True, slots=True)
class Partner:
    """Another member. `addresses` are multiaddrs without its peer id; `expires_ms` 0: its membership does not end."""

    member: bytes
    name: str
    addresses: tuple[str, ...] = ()
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class PartnerList:
    """Good until `expires_ms`. `candidates` is how many members can be probed at all, in the whole fleet."""

    partners: tuple[Partner, ...]
    visitors: tuple[Partner, ...]
    expires_ms: int
    refresh_ms: int
    candidates: int


def seal_partners(key: PrivateKey, hub: bytes, fleet: bytes, to: bytes, answer: PartnerList) -> bytes:
    """The signed bytes of a list; `key` is the hub's signing key."""
    payload = pb.PartnerList(
        fleet=fleet,
        to=to,
        hub=hub,
        expires_ms=answer.expires_ms,
        refresh_ms=answer.refresh_ms,
        candidates=answer.candidates,
        partners=map(_message, answer.partners),
        visitors=map(_message, answer.visitors),
    ).SerializeToString()
    return sign_message(key, Domain.PARTNER_LIST, payload)


def open_partners(raw: bytes, membership: Membership, me: bytes, now_ms: int) -> PartnerList:
    """The list, once a hub of this fleet is known to have signed it for `me`, and for now.

    Raises DecodeError for what is none or too large, SignatureError for a word that does not count.
    """
    if len(raw) > _MOST_BYTES:
        raise DecodeError(f"partner list of {len(raw)} bytes, limit {_MOST_BYTES}")
    message = parse_message(pb.PartnerList, split_message(raw)[0])
    open_message(raw, Domain.PARTNER_LIST, membership.hub_verifier(message.hub, now_ms))
    if message.fleet != membership.fleet or message.to != me:
        raise SignatureError("partner list is for another fleet or another member")
    if not now_ms < message.expires_ms <= now_ms + MAX_LIFE_MS:
        raise SignatureError(
            f"partner list is good until {message.expires_ms} ms, it is {now_ms} ms here and {MAX_LIFE_MS} ms are the "
            "limit: an old list, or clocks that differ"
        )
    return PartnerList(
        _partners(message.partners, MAX_PARTNERS, me),
        _partners(message.visitors, MAX_VISITORS, me),
        message.expires_ms,
        min(max(message.refresh_ms, _MIN_REFRESH_MS), _MAX_REFRESH_MS),
        message.candidates,
    )


def _message(partner: Partner) -> pb.Partner:
    return pb.Partner(
        member=partner.member, name=partner.name, addresses=partner.addresses, expires_ms=partner.expires_ms
    )


def _partners(messages: Sequence[pb.Partner], most: int, me: bytes) -> tuple[Partner, ...]:
    if len(messages) > most:
        raise DecodeError(f"partner list of {len(messages)} members, limit {most}")
    found = tuple(map(_checked, messages))
    if len({one.member for one in found} | {me}) <= len(found):
        raise DecodeError("partner list that names a member twice, or the one that it is for")
    return found


def _checked(message: pb.Partner) -> Partner:
    if len(message.member) != KEY_BYTES or not valid_name(message.name) or message.expires_ms < 0:
        raise DecodeError(
            f"partner {message.name[:140]!r}: a key of {len(message.member)} bytes, or a bad name or time"
        )
    if len(message.addresses) > MAX_ADDRESSES:
        raise DecodeError(f"partner {message.name}: {len(message.addresses)} addresses, limit {MAX_ADDRESSES}")
    addresses = tuple(str(parse_tcp(one)) for one in message.addresses)
    return Partner(message.member, message.name, addresses, message.expires_ms)
