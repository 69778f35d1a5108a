"""FleetDoor: what members ask of the fleet's roster over libp2p. The sender is believed no more than over HTTPS."""

from __future__ import annotations

from peerwatch.errors import LinkError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.model import Clock
from peerwatch.node.messages import Inbound
from peerwatch.wire.protocols import MEMBERSHIP, ROSTER


class FleetDoor:
    """A hub's answers. Owned by its event loop."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._exchange = Exchange(authority, clock)

    def answer(self, inbound: Inbound) -> bytes:
        """The answer to a request of another protocol than the push. Raises LinkError, PeerError, StoreError."""
        if inbound.protocol == MEMBERSHIP:  # a revoked hub too: its hubs' signed word on that is in it
            return self._authority.membership.welcome(b"")
        if self._authority.is_revoked:
            raise LinkError("this hub was revoked by its fleet")
        if inbound.protocol == ROSTER:
            return self._exchange.answer(inbound.body)
        raise LinkError(f"nobody answers {inbound.protocol} here")
