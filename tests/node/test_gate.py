"""The gate of a running node: closed until it is told who belongs, and quick to hear of changes."""

from __future__ import annotations

from peerwatch.node.bans import Bans
from peerwatch.node.config import NodeConfig
from peerwatch.node.gate import NodeGate
from peerwatch.node.gater import Deny, Direction, Reason
from peerwatch.node.roster_view import MemberView, RosterView
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey
from tests.node.kit import PEERS

MEMBER = PrivateKey(bytes(32)).public
PLACE = "/ip4/192.0.2.9/tcp/4001"
IN, OUT = Direction


def _reason(verdict: Deny | None) -> Reason | None:
    return verdict.reason if verdict else None


def test_closed_until_told() -> None:
    """The address may come as far as the handshake, nobody through it."""
    gate = NodeGate(NodeConfig(), Bans(), ManualClock())
    assert gate.screen(PLACE, IN) is None
    assert _reason(gate.admit(MEMBER, PLACE, IN)) is Reason.NOT_A_MEMBER
    gate.roster = RosterView(1, {PEERS[0]: MemberView(("agent",))})
    assert gate.admit(MEMBER, PLACE, IN) is None and gate.admit(MEMBER, PLACE, OUT) is None


def test_changes_count_at_once() -> None:
    """A ban, its end, an expiry, a revocation."""
    bans, clock = Bans(), ManualClock()
    gate = NodeGate(NodeConfig(), bans, clock)
    gate.roster = RosterView(1, {PEERS[0]: MemberView(("agent",), clock.now_ms() + 100_000)})
    bans.ban_temporary("192.0.2.0/24", 60.0, "flood", "hub", clock.now_ms())
    assert _reason(gate.screen(PLACE, IN)) is Reason.BANNED
    assert _reason(gate.screen(PLACE, OUT)) is Reason.BANNED
    clock.advance(60.0)
    assert gate.screen(PLACE, IN) is None and gate.admit(MEMBER, PLACE, IN) is None
    clock.advance(40.0)
    assert _reason(gate.admit(MEMBER, PLACE, IN)) is Reason.NOT_A_MEMBER


def test_lists_and_crowds_come_from_the_config() -> None:
    """The deny list by address, the limit on handshakes by subnet."""
    gate = NodeGate(NodeConfig(deny=("192.0.2.9",)), Bans(), ManualClock())
    assert _reason(gate.screen(PLACE, OUT)) is Reason.DENIED
    crowd = NodeConfig.agent().limits.max_pending_per_subnet
    assert gate.screen("/ip4/192.0.2.8/tcp/1", IN, crowd - 1) is None
    assert _reason(gate.screen("/ip4/192.0.2.8/tcp/1", IN, crowd)) is Reason.CROWDED
