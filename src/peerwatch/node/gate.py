"""NodeGate: the gater with what the node knows now, for whoever opens connections."""

from __future__ import annotations

from collections.abc import Callable

from peerwatch.model import Clock
from peerwatch.node.bans import Bans
from peerwatch.node.config import NodeConfig
from peerwatch.node.gater import Admit, Attempt, Deny, Direction, PeerList, Reason, Rules, judge
from peerwatch.node.roster_view import RosterView
from peerwatch.wire.identity import peer_id


class NodeGate:
    """Asked twice for each connection, in both directions. Owned by the node's event loop; answers at once.

    `roster` is replaced when the main process says so; before it has, nobody gets in. `is_crowded` tells of an address
    whether too many handshakes from around it have failed; its owner sets it.
    """

    def __init__(self, config: NodeConfig, bans: Bans, clock: Clock) -> None:
        self.roster = RosterView()
        self.is_crowded: Callable[[str], bool] = lambda address: False
        self._allow = PeerList(config.allow)
        self._deny = PeerList(config.deny)
        self._max_pending_per_subnet = config.limits.max_pending_per_subnet
        self._bans = bans
        self._clock = clock

    def screen(self, address: str, direction: Direction, pending_in_subnet: int = 0) -> Deny | None:
        """Before a byte is sent: the multiaddr really dialled, or the one that called."""
        deny = self._judge(Attempt(direction, address, None, pending_in_subnet))
        if deny is None and direction is Direction.IN and self.is_crowded(address):
            return Deny(Reason.CROWDED, f"{address!r}: too many handshakes from around it have failed")
        return deny

    def admit(self, member: bytes, address: str, direction: Direction) -> Deny | None:
        """In the handshake, once the other side has proved that it holds `member`'s key; before the muxer."""
        return self._judge(Attempt(direction, address, peer_id(member)))

    def _judge(self, attempt: Attempt) -> Deny | None:
        rules = Rules(self.roster, self._bans, self._allow, self._deny, self._max_pending_per_subnet)
        verdict = judge(attempt, rules, self._clock.now_ms())
        return None if isinstance(verdict, Admit) else verdict
