"""RelayWord: an agent that no hub answers any more asks the relays it was given who the hubs are, and where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import anyio

from peerwatch.errors import LinkError, PeerError, StoreError
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id
from peerwatch.wire.protocols import MEMBERSHIP

_log = get_logger("roster")
_LOOK_S = 5.0
_SILENT_S = 15.0  # a full or restarting hub is not silent for so long

Ask = Callable[[bytes, str, bytes], Awaitable[bytes]]
"""A member, a protocol and a question to the answer, over libp2p. Raises LinkError, PeerError."""


class RelayWord:
    """Looks every 5 s until cancelled; asks nobody while hubs acknowledge (`last_ack_ms`, 0 for never): for 15 s, or as
    long as two reports take where an agent reports seldom.

    A hub that has moved is announced at its old addresses in what this machine knows, and nobody there says so. What a
    relay tells is verified piece by piece, so it can at worst tell nothing new.
    """

    def __init__(
        self,
        membership: Membership,
        relays: Callable[[], Collection[bytes]],
        ask: Ask,
        last_ack_ms: Callable[[], float],
        clock: Clock,
        report_interval_s: float,
    ) -> None:
        self._membership = membership
        self._relays = relays
        self._ask = ask
        self._last_ack_ms = last_ack_ms
        self._clock = clock
        self._silent_ms = 1000 * max(_SILENT_S, 2 * report_interval_s)
        self._silent: set[bytes] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(_LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Where no hub has acknowledged for so long, ask each relay once, until one has told something new."""
        if self._clock.now_ms() - self._last_ack_ms() <= self._silent_ms:
            return
        for relay in self._relays():
            before = self._membership.export()
            try:
                answer = await self._ask(relay, MEMBERSHIP, b"")
                self._membership.absorb(answer, self._clock.now_ms())
                self._silent.discard(relay)
                if self._membership.export() == before:
                    continue
                self._membership.save()
            except (LinkError, PeerError, StoreError) as error:
                if relay not in self._silent:  # one that is switched off would fill the log
                    _log.info("relay says nothing of the hubs", peer=peer_id(relay), reason=str(error))
                self._silent.add(relay)
                continue
            _log.info("hubs heard of from a relay", peer=peer_id(relay), version=self._membership.roster.version)
            return
