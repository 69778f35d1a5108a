"""What the host tells, as metrics."""

from __future__ import annotations

from peerwatch.node.bans import Bans
from peerwatch.node.config import NodeConfig
from peerwatch.node.connection import ConnectionOpened
from peerwatch.node.gater import Direction
from peerwatch.node.keeper import Usage
from peerwatch.node.tally import Tally
from peerwatch.wire.identity import PrivateKey, peer_id

KEY = PrivateKey.generate()
DIRECT = "/ip4/192.0.2.1/tcp/4001"
RELAYED = f"{DIRECT}/p2p/{peer_id(KEY.public)}/p2p-circuit/p2p/{peer_id(KEY.public)}"


def _traversal(*events: ConnectionOpened) -> dict[str, float]:
    usage = Usage(0, 0, 0, 0, 0, 0, relayed=3, reservations=4)
    tally = Tally(NodeConfig.test(), Bans(10), lambda: usage, lambda: 0)
    for event in events:
        tally.hear(event)
    lines = tally.render().decode().splitlines()
    assert "libp2p_relay_connections_active 3.0" in lines and "libp2p_relay_reservations_active 4.0" in lines
    prefix = 'libp2p_nat_traversal{method="'
    found = [line.removeprefix(prefix).split('"} ') for line in lines if line.startswith(prefix)]
    return {method: float(value) for method, value in found}


def test_how_peers_reach_this_node_is_what_has_happened() -> None:
    """B37: a connection that somebody opened to us says it, one that we opened says nothing."""
    nothing = {"direct": 0.0, "relay": 0.0, "hole_punch": 0.0}
    assert _traversal() == nothing
    assert _traversal(ConnectionOpened(KEY.public, RELAYED, Direction.OUT)) == nothing
    assert _traversal(ConnectionOpened(KEY.public, DIRECT, Direction.IN)) == {**nothing, "direct": 1.0}
    assert _traversal(ConnectionOpened(KEY.public, RELAYED, Direction.IN)) == {**nothing, "relay": 1.0}
    for direction in Direction:  # both sides have opened it
        assert _traversal(ConnectionOpened(KEY.public, DIRECT, direction, punched=True)) == {
            **nothing,
            "hole_punch": 1.0,
        }
