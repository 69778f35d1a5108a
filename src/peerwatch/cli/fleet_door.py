"""FleetDoor: what members ask of the fleet's roster over libp2p. The sender is believed no more than over HTTPS."""

from __future__ import annotations

from peerwatch.errors import ConfigError, LinkError, QuotaError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.model import Clock
from peerwatch.node.messages import Inbound
from peerwatch.wire.protocols import ENROL, MEMBERSHIP, ROSTER


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
        if inbound.protocol == ENROL:
            return self._enrol(inbound.body)
        raise LinkError(f"nobody answers {inbound.protocol} here")

    def _enrol(self, request: bytes) -> bytes:
        """As over HTTPS: whoever carries it, it is signed by the invite's key and by both new ones."""
        try:
            entry = self._authority.enrol(request)
        except (SignatureError, ConfigError) as error:  # denied: the same request never passes
            raise QuotaError(str(error)) from error
        return self._authority.membership.welcome(entry.member)
