"""Reservations: keeps this node reachable through relays that it has dialled, where others cannot dial it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio

from peerwatch.errors import LinkError, PeerError
from peerwatch.node.host import Host
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")
_LOOK_S = 2.0
_AGAIN_S = 60.0  # after a refusal: a full relay is not asked more often
_MOST_RELAYS = 3  # more add nothing but work: they are the hubs that this node delivers to


class Reservations:
    """Renews each at half of its time, makes a lost one anew. Owned by the node's event loop.

    `relays`: connected members that may serve as relay. Where one does not, it is asked again a minute later.
    """

    def __init__(self, host: Host, relays: Callable[[], Iterable[bytes]]) -> None:
        self._host = host
        self._relays = relays
        self._due_s: dict[bytes, float] = {}
        self._since_s: dict[bytes, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            held = {one.relay for one in self._host.reservations}
            relays = sorted(self._relays(), key=lambda one: one not in held)[:_MOST_RELAYS]
            since_s = {one.member: one.opened_s for one in self._host.connections if one.member in relays}
            same = [one for one in relays if since_s.get(one) == self._since_s.get(one)]
            self._due_s = {one: self._due_s.get(one, 0.0) if one in same else 0.0 for one in relays}
            self._since_s = since_s  # a relay forgets whom it has lost, though he was back before anybody looked
            for relay in relays:
                if anyio.current_time() >= self._due_s[relay]:
                    self._due_s[relay] = anyio.current_time() + await self._reserve(relay)
            await anyio.sleep(_LOOK_S)

    async def _reserve(self, relay: bytes) -> float:
        """How long until it must be asked again."""
        try:
            held = await self._host.reserve(relay)
        except (LinkError, PeerError) as error:
            _log.info("relay not reserved", peer=peer_id(relay), reason=str(error), again_s=_AGAIN_S)
            return _AGAIN_S
        _log.info("reached through relay", addresses=" ".join(held.addresses))
        return max(1.0, (held.until_s - anyio.current_time()) / 2)
