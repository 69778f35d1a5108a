"""What the tests of the node share."""

from __future__ import annotations

from peerwatch.wire.identity import PrivateKey, peer_id

PEERS = [peer_id(PrivateKey(bytes([n] * 32)).public) for n in range(8)]
"""Peer ids of eight members."""
NOW = 1_700_000_000_000
