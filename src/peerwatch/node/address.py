"""Address: a multiaddr as the gater needs it: which IP, which peer, through which relay. The unknown is refused."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from peerwatch.errors import DecodeError
from peerwatch.wire.identity import public_key_of

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_CHARS = 1_024  # the longest that is dialled, through a relay and with both peer ids, has some 250
_NAMES = frozenset({"dns", "dns4", "dns6", "dnsaddr"})
_PORTS = frozenset({"tcp", "udp"})
_PLAIN = frozenset({"quic", "quic-v1", "ws", "wss", "tls", "noise", "webtransport"})
_WITH_VALUE = frozenset({"sni", "certhash"})
_SUBNET_BITS = {4: 24, 6: 64}  # what one subscriber has: more addresses from there are still one neighbour
_MAPPED_BITS = 96  # ::ffff:0:0/96 holds the IPv4 addresses


@dataclass(frozen=True, slots=True)
class Address:
    """`ip` is None where there is only a DNS name or nothing. `peer` is the one at the end, `relay` the one between.

    With a `relay`, `ip` is the relay's.
    """

    ip: IP | None = None
    name: str = ""
    port: int = 0
    peer: str = ""
    relay: str = ""
    relayed: bool = False


def parse_address(text: str) -> Address:
    """The parts of a multiaddr. Raises DecodeError for what is none, or has a part that is not known here."""
    if len(text) > _MAX_CHARS:
        raise DecodeError(f"address of {len(text)} characters, limit {_MAX_CHARS}")
    if not text.startswith("/") or text.endswith("/"):
        raise DecodeError(f"address {text!r} is not a multiaddr: /ip4/192.0.2.1/tcp/4001")
    try:
        return _walk(text[1:].split("/"))
    except (DecodeError, ValueError) as error:
        raise DecodeError(f"address {text!r}: {error}") from error


def _walk(parts: list[str]) -> Address:
    found = _Found()
    rest = iter(parts)
    for protocol in rest:
        if protocol == "p2p-circuit":
            found.circuit()
        elif protocol in _PLAIN:
            found.need_host(protocol)
        else:
            value = next(rest, "")
            if not value:
                raise DecodeError(f"/{protocol} is not known, or lacks its value")
            found.put(protocol, value)
    return found.done()


class _Found:
    """What has been read of one address so far."""

    def __init__(self) -> None:
        self._ip: IP | None = None
        self._name = ""
        self._port = 0
        self._peers: list[str] = []
        self._circuits = 0

    def circuit(self) -> None:
        """Who came before is a relay, who comes now is behind it."""
        self._circuits += 1
        if self._circuits > 1:
            raise DecodeError("more than one relay in a row")
        if not self._peers:
            raise DecodeError("the relay is not named")

    def need_host(self, protocol: str) -> None:
        """These stand on an address."""
        if self._ip is None and not self._name:
            raise DecodeError(f"/{protocol} before any host")

    def put(self, protocol: str, value: str) -> None:
        """Read a part that has a value."""
        if protocol in ("ip4", "ip6", "ip6zone") or protocol in _NAMES:
            self._put_host(protocol, value)
        elif protocol in _PORTS:
            self.need_host(protocol)
            self._port = _port(value)
        elif protocol in ("p2p", "ipfs"):
            self._put_peer(value)
        elif protocol in _WITH_VALUE:
            self.need_host(protocol)
        else:
            raise DecodeError(f"/{protocol} is not known")

    def _put_host(self, protocol: str, value: str) -> None:
        if self._ip is not None or self._name or self._peers:
            raise DecodeError("a second host")
        if protocol == "ip6zone":
            return  # which of our interfaces; the ip6 part follows
        if protocol == "ip4":
            self._ip = ipaddress.IPv4Address(value)
        elif protocol == "ip6":
            self._ip = plain_ip(ipaddress.IPv6Address(value))
        else:
            self._name = value

    def _put_peer(self, value: str) -> None:
        public_key_of(value)
        if len(self._peers) > self._circuits:
            raise DecodeError("two peers without a relay between")
        self._peers.append(value)

    def done(self) -> Address:
        """The whole."""
        if self._ip is None and not self._name and not self._peers:
            raise DecodeError("names neither host nor peer")
        relay = self._peers[0] if self._circuits else ""
        peers = self._peers[1:] if self._circuits else self._peers
        return Address(self._ip, self._name, self._port, peers[0] if peers else "", relay, bool(self._circuits))


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 5 or int(value) > 65_535:
        raise DecodeError(f"port {value[:20]!r}, limit 0 to 65535")
    return int(value)


def plain_ip(ip: IP) -> IP:
    """The address that is meant: an IPv4 one in IPv6 clothes (::ffff:192.0.2.1) is IPv4, or it would pass every rule.

    A zone (fe80::1%eth0) is left out: it says which of our interfaces, not who.
    """
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.ipv4_mapped or ipaddress.IPv6Address(int(ip))
    return ip


def parse_network(text: str) -> Network:
    """A network, or one address as a network of itself, IPv4-mapped ones as IPv4. Raises DecodeError."""
    if len(text) > _MAX_CHARS:
        raise DecodeError(f"network of {len(text)} characters, limit {_MAX_CHARS}")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise DecodeError(f"network {text!r} is not of the form 192.0.2.0/24 or 2001:db8::/32") from error
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= _MAPPED_BITS:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def parse_subject(text: str) -> str | Network:
    """A peer id (as text) or a network: what lists and bans are about. Raises DecodeError for what is neither."""
    if "." in text or ":" in text:
        return parse_network(text)
    public_key_of(text)
    return text


def subnet_of(ip: IP) -> Network:
    """The neighbourhood that is judged as one: /24 of IPv4, /64 of IPv6."""
    meant = plain_ip(ip)
    return ipaddress.ip_network((meant, _SUBNET_BITS[meant.version]), strict=False)
