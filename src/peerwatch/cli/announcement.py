"""Announcement: what a hub says of where it is, in its own entry of the roster, and again when that has changed."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from peerwatch.errors import DecodeError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.roster import MAX_ADDRESS_CHARS, MAX_ADDRESSES
from peerwatch.node.address import Address, parse_address
from peerwatch.serve.address import is_loopback_host
from peerwatch.wire.identity import peer_id


class Announcement:
    """Owned by the hub's role. `urls` are the hub's addresses over HTTPS; those over libp2p come from its node."""

    def __init__(self, authority: Authority, urls: tuple[str, ...], tls_pin: bytes, *, has_node: bool) -> None:
        self._authority = authority
        self._urls = urls
        self._tls_pin = tls_pin
        # What was said before the start stays until the node has said what is: mostly it is the same.
        self._multiaddrs = authority.multiaddrs if has_node else ()

    def make(self) -> None:
        """Say it; nothing happens where the roster says it already."""
        self._authority.announce(self._urls, self._tls_pin, self._multiaddrs)

    def node_listens(self, addresses: Sequence[str]) -> None:
        """What the node says that it is reached by, whenever it says so."""
        self._multiaddrs = worth_announcing(addresses, peer_id(self._authority.member), self._urls)
        self.make()


def worth_announcing(found: Sequence[str], me: str, urls: Sequence[str]) -> tuple[str, ...]:
    """Of a node's multiaddrs those that are of use to others, in the same order, at most `MAX_ADDRESSES`.

    A loopback or link-local address leads others to themselves or nowhere. Loopback is announced only where all is on
    loopback, HTTPS and libp2p: then whoever can reach the hub at all is on the same machine. The node faces the
    network, so what it says is checked: a multiaddr that names another peer, or is none, is left out.
    """
    checked = [(text, address) for text in found if (address := _ours(text, me)) is not None]
    if all(_on_loopback(address) for _, address in checked) and all(map(_is_loopback_url, urls)):
        return tuple(text for text, _ in checked)[:MAX_ADDRESSES]
    return tuple(text for text, address in checked if _leads_here(address))[:MAX_ADDRESSES]


def _ours(text: str, me: str) -> Address | None:
    """The address, where it is one of this node's."""
    try:
        address = parse_address(text)
    except DecodeError:
        return None
    return address if address.peer == me and len(text) <= MAX_ADDRESS_CHARS else None


def _on_loopback(address: Address) -> bool:
    return address.ip.is_loopback if address.ip is not None else address.name == "localhost"


def _leads_here(address: Address) -> bool:
    """Whether others get here by it."""
    if address.relayed or address.name:
        return not _on_loopback(address)
    ip = address.ip
    return ip is not None and not (ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast)


def _is_loopback_url(url: str) -> bool:
    return is_loopback_host(urlsplit(url).hostname or "")
