"""Multiaddrs of TCP: libp2p's own bytes, both ways, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.wire.multiaddr import TcpAddress, parse_tcp, unpack_tcp

ADDRESSES = st.builds(TcpAddress, st.ip_addresses(), st.integers(1, 65535))


@given(ADDRESSES)
def test_text_and_bytes_round_trip(address: TcpAddress) -> None:
    """Whatever the address."""
    assert unpack_tcp(address.pack()) == parse_tcp(str(address)) == address


@given(ADDRESSES)
def test_the_bytes_are_those_of_libp2p(address: TcpAddress) -> None:
    """As its own library writes them."""
    multiaddr = pytest.importorskip("multiaddr", reason="the extra p2p is not installed: make p2p")
    assert multiaddr.Multiaddr(str(address)).to_bytes() == address.pack()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/ip4/192.0.2.7",
        "/ip4/192.0.2.7/udp/4001",
        "/dns4/example.org/tcp/4001",
        "/ip4/192.0.2.7/tcp/0",
        "/ip4/192.0.2.7/tcp/65536",
        "/ip4/192.0.2.7/tcp/-1",
        "/ip4/192.0.2.7/tcp/²",
        "/ip4/192.0.2.256/tcp/4001",
        "/ip6/192.0.2.7/tcp/4001",
        "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWN4a2vLxWXkFJ8H2rFNEfMFKoWZsmhQfBYMPzx2KWK2Gz",
        "/ip4/192.0.2.7/tcp/" + "0" * 60 + "1",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    """With what it should be."""
    with pytest.raises(DecodeError):
        parse_tcp(text)


@given(st.binary(max_size=30))
def test_other_bytes_are_refused(raw: bytes) -> None:
    """They are the address that they give back, or none."""
    try:
        address = unpack_tcp(raw)
    except DecodeError:
        return
    assert address.pack() == raw


def test_a_port_of_nothing_is_refused() -> None:
    """Also in bytes."""
    with pytest.raises(DecodeError):
        unpack_tcp(TcpAddress(ipaddress.IPv4Address("192.0.2.7"), 0).pack())
