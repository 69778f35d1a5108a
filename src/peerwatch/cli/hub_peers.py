"""hub_peers: which hubs and relays of the fleet a node is to be connected to, and by which multiaddrs."""

from __future__ import annotations

from collections.abc import Iterable

from peerwatch.errors import DecodeError
from peerwatch.fleet.roster import MAX_ADDRESSES, Roster
from peerwatch.node.address import parse_address
from peerwatch.wire.identity import peer_id


def hub_peers(
    roster: Roster, now_ms: int, *, first: Iterable[str] = (), last: Iterable[str] = (), me: bytes = b""
) -> dict[bytes, tuple[str, ...]]:
    """Every hub that may act, but `me`, with at most `MAX_ADDRESSES` multiaddrs to be tried in order.

    These are `first` (what an operator set), then what the hub itself announces, then `last` (what a token said, which
    may be old). One that is none, or another's, is passed over: a hub chooses what it announces. Who has none is left
    out.
    """
    found: dict[bytes, tuple[str, ...]] = {}
    before, after = _by_peer(first), _by_peer(last)
    for entry in roster:
        if not entry.is_hub or entry.member == me or not roster.may_act(entry, now_ms):
            continue
        peer = peer_id(entry.member)
        said = _by_peer(entry.multiaddrs).get(peer, [])
        addresses = dict.fromkeys([*before.get(peer, []), *said, *after.get(peer, [])])
        if addresses:
            found[entry.member] = tuple(addresses)[:MAX_ADDRESSES]
    return found


def relay_peers(roster: Roster, now_ms: int, set_by_hand: Iterable[str]) -> dict[bytes, tuple[str, ...]]:
    """The nodes that run alone, where an operator set them: whoever cannot be dialled is reached through them."""
    said = _by_peer(set_by_hand)
    return {
        entry.member: tuple(said[peer_id(entry.member)])[:MAX_ADDRESSES]
        for entry in roster
        if entry.is_relay and peer_id(entry.member) in said and roster.may_act(entry, now_ms)
    }


def peer_of(multiaddr: str) -> str:
    """The peer that a multiaddr names; empty where it names none, or is none."""
    try:
        return parse_address(multiaddr).peer
    except DecodeError:
        return ""


def _by_peer(multiaddrs: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in multiaddrs:
        found.setdefault(peer_of(text), []).append(text)
    found.pop("", None)
    return found
