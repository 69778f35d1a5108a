"""Listening: where a node may listen, and whether it can."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from peerwatch.errors import ConfigError
from peerwatch.node.address import parse_address

_LISTEN = re.compile(r"/ip[46]/[^/]+/tcp/[0-9]+(/ws)?")
_OTHERS = {"quic": "QUIC", "quic-v1": "QUIC", "webtransport": "WebTransport"}
_TLS = {"wss", "tls"}


def check_listen(path: str, text: str) -> None:
    """Raise ConfigError unless a node may listen there: over TCP, where limits and gate hold from the first byte.

    WebSocket (/ws) is served behind the same, and experimental.
    """
    parts = text.split("/")
    other = next((name for part, name in _OTHERS.items() if part in parts), "")
    if other:
        raise ConfigError(
            f"{path}: {text!r}: {other} is not offered, for there the gate and its limits would not hold "
            "(docs/libp2p.md, Transports); listen on TCP: /ip4/0.0.0.0/tcp/4001"
        )
    if not _TLS.isdisjoint(parts):
        raise ConfigError(
            f"{path}: {text!r}: the node does not speak TLS; listen on /ip4/127.0.0.1/tcp/4002/ws and put a proxy that "
            "ends TLS in front of it, or listen on TCP, which is encrypted without: /ip4/0.0.0.0/tcp/4001"
        )
    if not _LISTEN.fullmatch(text):
        raise ConfigError(
            f"{path}: {text!r} must be of the form /ip4/0.0.0.0/tcp/4001 or /ip6/::/tcp/4001, with /ws for WebSocket"
        )


def check_free(addresses: Iterable[str]) -> None:
    """Raise ConfigError unless each of these (see `check_listen`) can be listened on, and all of them together.

    libp2p's listeners share a port with whoever else does so, of this node too; plain ones find it taken.
    """
    with ExitStack() as probes:
        for text in addresses:
            address = parse_address(text)
            family = socket.AF_INET if text.startswith("/ip4/") else socket.AF_INET6
            probe = probes.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # else :: would stand in the way of 0.0.0.0
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((text.split("/")[2], address.port))
                probe.listen(1)
            except OSError as error:
                raise ConfigError(f"cannot listen on {text}: {error.strerror}") from error
