"""HubWays: how an agent reaches each hub of its fleet: over libp2p, over HTTPS, or by the one where the other fails."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from hashlib import sha256

from peerwatch.agent.ship import Link
from peerwatch.cli.known_hub import KnownHub
from peerwatch.cli.node_process import NodeProcess
from peerwatch.errors import LinkError
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import RosterEntry
from peerwatch.links.first import FirstLink
from peerwatch.links.hub_https import NO_ADDRESS_S, HttpsAddress, HubHttps
from peerwatch.links.p2p import P2pLink
from peerwatch.wire.identity import peer_id


class HubWays:
    """What hubs announce in the roster, and the addresses by which this machine joined.

    `known` are the latter: they come first for the hub that they belong to, since they have worked from here. `node` is
    the libp2p node, where there is one, and `peers` whom it is told to reach; then HTTPS is used only with `https_too`.
    """

    def __init__(
        self,
        known: KnownHub,
        membership: Membership,
        node: NodeProcess | None,
        peers: Callable[[], Collection[bytes]],
        *,
        https_too: bool,
    ) -> None:
        self._known = known
        self._membership = membership
        self._node = node
        self._peers = peers
        self._https_too = https_too

    @asynccontextmanager
    async def open(self, hub: bytes) -> AsyncIterator[Link]:
        """The way to a hub, for as long as it is needed."""
        node = self._node
        async with HubHttps(lambda: self.https_addresses(hub)) as https:
            if node is None:
                yield https
                return

            async def carry(protocol: str, body: bytes) -> bytes:
                if hub not in self._peers():
                    wait_s = None if self._https_too else NO_ADDRESS_S
                    raise LinkError(f"hub {peer_id(hub)} announces no address over libp2p", wait_s)
                return await node.deliver(hub, protocol, body)

            p2p = P2pLink(carry)
            yield FirstLink([p2p, https]) if self._https_too else p2p

    def describe(self, hub: bytes) -> str:
        """Where that is, for people."""
        if self._node is not None:
            return f"{peer_id(hub)} over libp2p"
        return next((one.url for one in self.https_addresses(hub)), f"{peer_id(hub)}, which announces no address yet")

    def https_addresses(self, hub: bytes) -> list[HttpsAddress]:
        """The addresses to be tried, in order."""
        entry = self._membership.roster.get(hub)
        announced = [HttpsAddress(url, pin=entry.tls_pin) for url in entry.addresses] if entry is not None else []
        if self._known_hub() != hub:
            return announced
        return [HttpsAddress(url, self._known.certificate_pem) for url in self._known.addresses] + announced

    def _known_hub(self) -> bytes | None:
        """The hub by which this machine joined: one that announces the same, else the one that let it in."""
        hubs = [entry for entry in self._membership.roster if entry.is_hub]
        same = [entry for entry in hubs if self._is_known(entry)]
        named = [entry for entry in hubs if peer_id(entry.member) == self._known.hub]
        only = hubs if len(hubs) == 1 else []
        return next((entry.member for entry in (*same, *named, *only)), None)

    def _is_known(self, entry: RosterEntry) -> bool:
        if not set(self._known.addresses).isdisjoint(entry.addresses):
            return True
        return bool(entry.tls_pin) and entry.tls_pin == _pin(self._known.certificate_pem)


def _pin(certificate_pem: str) -> bytes:
    return sha256(ssl.PEM_cert_to_DER_cert(certificate_pem)).digest() if certificate_pem else b""
