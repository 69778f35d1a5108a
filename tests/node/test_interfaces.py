"""An address that means all of a machine's."""

from __future__ import annotations

from peerwatch.node.interfaces import own_addresses, spread


def test_a_wildcard_stands_for_every_own_address_of_its_kind() -> None:
    """Others stay as they are."""
    fixed = "/ip4/192.0.2.7/tcp/1"
    every = own_addresses(ipv6=True)
    found = spread(["/ip4/0.0.0.0/tcp/4001", fixed, "/ip6/::/tcp/4002"])
    v4 = [f"/ip4/{one}/tcp/4001" for one in every if ":" not in one]
    v6 = [f"/ip6/{one}/tcp/4002" for one in every if ":" in one]
    assert found == [*v4, fixed, *v6]
    assert every and not any(one in ("0.0.0.0", "::") for one in every)
