"""Multiaddrs of TCP over IP, between text and libp2p's binary form. Written by hand: hub and agent load no libp2p."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from peerwatch.errors import DecodeError

# The codes of the multiaddr table (multicodec); tcp's value is the port, big endian.
_IP4, _IP6, _TCP = b"\x04", b"\x29", b"\x06"
_MOST_CHARS = 64  # /ip6/, 39 digits and colons, /tcp/, a port


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """/ip4/…/tcp/… or /ip6/…/tcp/…: all that nodes dial."""

    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    def __str__(self) -> str:
        return f"/ip{self.ip.version}/{self.ip}/tcp/{self.port}"

    def pack(self) -> bytes:
        """In libp2p's binary form."""
        code = _IP4 if self.ip.version == 4 else _IP6
        return code + self.ip.packed + _TCP + self.port.to_bytes(2, "big")


def parse_tcp(text: str) -> TcpAddress:
    """From text. Raises DecodeError for anything else, a peer id at the end included."""
    parts = text[: _MOST_CHARS + 1].split("/")
    if len(text) > _MOST_CHARS or len(parts) != 5 or parts[0] or parts[1] not in ("ip4", "ip6") or parts[3] != "tcp":
        raise DecodeError(f"address {text[:200]!r} is none of TCP: /ip4/192.0.2.7/tcp/4001")
    try:
        ip = ipaddress.IPv4Address(parts[2]) if parts[1] == "ip4" else ipaddress.IPv6Address(parts[2])
    except ValueError as error:
        raise DecodeError(f"address {text!r}: {error}") from error
    return TcpAddress(ip, _port(text, parts[4]))


def unpack_tcp(raw: bytes) -> TcpAddress:
    """From libp2p's binary form. Raises DecodeError for anything else."""
    size = {_IP4: 4, _IP6: 16}.get(raw[:1], 0)
    if not size or len(raw) != size + 4 or raw[size + 1 : size + 2] != _TCP:
        raise DecodeError(f"address {raw[:40].hex()} is none of TCP over IP")
    packed = raw[1 : size + 1]
    ip = ipaddress.IPv4Address(packed) if size == 4 else ipaddress.IPv6Address(packed)
    return TcpAddress(ip, _port(raw.hex(), str(int.from_bytes(raw[size + 2 :], "big"))))


def _port(of: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 65535):
        raise DecodeError(f"address {of!r}: port {text[:20]!r}, must be 1 to 65535")
    return int(text)
