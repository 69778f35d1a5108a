"""Networks: a set of CIDR networks that is asked by address."""

from __future__ import annotations

from collections import Counter

from peerwatch.node.address import IP, Network, plain_ip

_Key = tuple[int, int, int]


class Networks:
    """Asking costs one look-up per distinct prefix length, however many networks there are. Bounded by its owner."""

    def __init__(self) -> None:
        self._networks: dict[_Key, Network] = {}
        self._lengths: Counter[tuple[int, int]] = Counter()

    def __len__(self) -> int:
        return len(self._networks)

    def add(self, network: Network) -> None:
        """Put it in; a second time changes nothing."""
        key = _key(network)
        if key not in self._networks:
            self._networks[key] = network
            self._lengths[key[:2]] += 1

    def discard(self, network: Network) -> None:
        """Take it out, if it is there."""
        key = _key(network)
        if self._networks.pop(key, None) is not None:
            self._lengths[key[:2]] -= 1
            if not self._lengths[key[:2]]:
                del self._lengths[key[:2]]

    def holding(self, ip: IP) -> list[Network]:
        """The networks that the address lies in; an IPv4-mapped one is looked up as IPv4."""
        meant = plain_ip(ip)
        value, version = int(meant), meant.version
        keys = [(version, shift, value >> shift) for listed, shift in self._lengths if listed == version]
        return [self._networks[key] for key in keys if key in self._networks]


def _key(network: Network) -> _Key:
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift
