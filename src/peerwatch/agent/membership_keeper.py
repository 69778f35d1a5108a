"""MembershipKeeper: lets an agent learn of new hubs and renewed certificates, seldom and beside everything else."""

from __future__ import annotations

from typing import Protocol

import anyio

from peerwatch.errors import LinkError, PeerError, StoreError
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.telemetry import get_logger

_log = get_logger("ship")


class _Source(Protocol):
    async def membership(self) -> bytes: ...


class MembershipKeeper:
    """Owned by one Shipper. However often it is asked, it looks once per `gap_s`; a failure is tried again after that.

    Everything that comes is verified piece by piece, so whoever answers can at worst tell nothing new.
    """

    def __init__(self, membership: Membership, source: _Source, gap_s: float, clock: Clock) -> None:
        self._membership = membership
        self._source = source
        self._gap_s = gap_s
        self._clock = clock
        self._wanted = anyio.Event()
        self._heard = membership.roster.version

    def heard_of(self, version: int) -> None:
        """A hub has this version of the roster."""
        if version > self._heard:
            self._heard = version
            self.refresh()

    def refresh(self) -> None:
        """Look soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Look when asked, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            try:
                await self._look()
            except (LinkError, PeerError, StoreError) as error:
                _log.warning("membership not refreshed", reason=str(error))
                self._wanted.set()
            await anyio.sleep(self._gap_s)

    async def _look(self) -> None:
        learn(self._membership, await self._source.membership(), self._clock.now_ms())


def learn(membership: Membership, told: bytes, now_ms: int) -> None:
    """Take in what a hub tells of who the hubs are. Raises PeerError, StoreError."""
    before = membership.export()
    membership.absorb(told, now_ms)
    if membership.export() != before:
        membership.save()  # here and not in a thread: several hubs' shippers share one membership and file
