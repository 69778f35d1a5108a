"""Where members live is remembered for a while, in bounds."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from peerwatch.node.places import Places

IP = ip_address("192.0.2.9")


def test_a_home_is_an_address_and_its_neighbourhood() -> None:
    """For a day after it was last seen."""
    places = Places()
    assert not places.is_home(IP, 0.0)
    places.saw(IP, 10.0)
    assert places.is_home(IP, 86_000.0) and places.is_home(ip_network("192.0.2.0/24"), 86_000.0)
    assert not places.is_home(ip_address("192.0.2.10"), 10.0)
    assert not places.is_home(IP, 10.0 + 86_400.0)


def test_what_was_not_seen_for_longest_goes_first() -> None:
    """Whoever stays is seen again and again."""
    places = Places(max_places=4)
    for n in range(50):
        places.saw(IP, float(n))
        places.saw(ip_address(f"198.51.{n}.1"), float(n))
    assert places.is_home(IP, 50.0) and places.is_home(ip_address("198.51.49.1"), 50.0)
    assert not places.is_home(ip_address("198.51.0.1"), 50.0)
