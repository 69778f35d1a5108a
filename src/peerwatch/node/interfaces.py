"""This machine's own addresses, and what an address that means all of them stands for."""

from __future__ import annotations

import socket
from collections.abc import Iterable

_WILDCARDS = {"/ip4/0.0.0.0/": "ip4", "/ip6/::/": "ip6"}


def own_addresses(*, ipv6: bool) -> list[str]:
    """Those that other machines may reach, IPv4 first and IPv6 where asked for; loopback when there is no other."""
    import psutil  # 1 MB that a hub on loopback need not have

    found: list[str] = []
    for addresses in psutil.net_if_addrs().values():
        found.extend(
            one.address for one in addresses if one.family == socket.AF_INET or (one.family == socket.AF_INET6 and ipv6)
        )
    usable = [one for one in found if not one.startswith(("127.", "169.254.", "fe80")) and one != "::1"]
    return sorted(usable, key=lambda one: ":" in one) or ["127.0.0.1"]


def spread(listening: Iterable[str]) -> list[str]:
    """Multiaddrs with 0.0.0.0 and :: replaced by this machine's addresses of that kind (:: takes no IPv4)."""
    found: list[str] = []
    for text in listening:
        start = next((one for one in _WILDCARDS if text.startswith(one)), None)
        if start is None:
            found.append(text)
            continue
        kind = _WILDCARDS[start]
        hosts = [one for one in own_addresses(ipv6=True) if (":" in one) is (kind == "ip6")]
        found.extend(f"/{kind}/{host}/{text.removeprefix(start)}" for host in hosts)
    return found
