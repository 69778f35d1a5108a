"""What a multiaddr says is read exactly, or not at all."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.node.address import Address, parse_address, parse_network, parse_subject, subnet_of
from tests.node.kit import PEERS

A, B = PEERS[:2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/ip4/192.0.2.1/tcp/4001", Address(ip_address("192.0.2.1"), port=4001)),
        (f"/ip4/192.0.2.1/tcp/4001/p2p/{A}", Address(ip_address("192.0.2.1"), port=4001, peer=A)),
        ("/ip6/2001:db8::1/udp/4001/quic-v1", Address(ip_address("2001:db8::1"), port=4001)),
        ("/ip6/::ffff:192.0.2.1/tcp/1", Address(ip_address("192.0.2.1"), port=1)),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Address(ip_address("fe80::1"), port=1)),
        ("/dns4/hub.example/tcp/443/wss", Address(name="hub.example", port=443)),
        (
            f"/ip4/192.0.2.1/tcp/4001/p2p/{A}/p2p-circuit/p2p/{B}",
            Address(ip_address("192.0.2.1"), port=4001, peer=B, relay=A, relayed=True),
        ),
        (f"/p2p/{A}/p2p-circuit", Address(relay=A, relayed=True)),
    ],
)
def test_parts(text: str, expected: Address) -> None:
    """Host, port, peer, relay; IPv4 in IPv6 clothes is IPv4."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "192.0.2.1:4001",
        "/ip4",
        "/ip4/",
        "/ip4/192.0.2.1/",
        "/ip4/192.0.2.256/tcp/1",
        "/ip4/192.0.2.01/tcp/1",
        "/ip4/::1/tcp/1",
        "/ip4/192.0.2.1/tcp/65536",
        "/ip4/192.0.2.1/tcp/-1",
        "/ip4/192.0.2.1/tcp/１",
        "/ip4/192.0.2.1/onion3/abc:80",
        "/ip4/192.0.2.1/ip4/192.0.2.2/tcp/1",
        "/tcp/4001",
        "/ws",
        "/p2p/nonsense",
        "/p2p-circuit",
        f"/ip4/192.0.2.1/tcp/1/p2p-circuit/p2p/{A}",
        f"/p2p/{A}/p2p/{B}",
        f"/p2p/{A}/ip4/192.0.2.1",
        f"/p2p/{A}/p2p-circuit/p2p/{B}/p2p-circuit/p2p/{A}",
        "/ip6zone/eth0",
        "/ip4/192.0.2.1" + "/ws" * 400,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """An address that is half understood is not understood."""
    with pytest.raises(DecodeError, match="address"):
        parse_address(text)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["ip4", "ip6", "tcp", "udp", "p2p", "p2p-circuit", "dns", "ws", "::1", "192.0.2.1", "1", A, ""])
        | st.text(max_size=5),
        max_size=8,
    )
)
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    """No text raises anything but our own error."""
    with contextlib.suppress(DecodeError):
        parse_address("/" + "/".join(parts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ("::/0", "::/0"),
    ],
)
def test_networks_have_one_form(text: str, expected: str) -> None:
    """However they are written."""
    assert parse_network(text) == ip_network(expected)


@pytest.mark.parametrize("text", ["192.0.2.0/33", "192.0.2", "x.y", "1" * 2000 + "."])
def test_what_is_no_network_is_refused(text: str) -> None:
    """With its text."""
    with pytest.raises(DecodeError, match="network"):
        parse_network(text)


def test_a_subject_is_a_peer_or_a_network() -> None:
    """And nothing between."""
    assert parse_subject(A) == A
    assert parse_subject("192.0.2.0/24") == ip_network("192.0.2.0/24")
    with pytest.raises(DecodeError, match="peer id"):
        parse_subject("hub")


def test_neighbourhoods() -> None:
    """A /24 of IPv4, a /64 of IPv6."""
    assert str(subnet_of(ip_address("192.0.2.77"))) == "192.0.2.0/24"
    assert str(subnet_of(ip_address("::ffff:192.0.2.77"))) == "192.0.2.0/24"
    assert str(subnet_of(ip_address("2001:db8:1:2:3::4"))) == "2001:db8:1:2::/64"
