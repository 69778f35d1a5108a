"""EmbeddedDelivery: one shipper and one cursor for each hub of the fleet, so that each hub has a full copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import anyio
import anyio.abc
import anyio.to_thread

from peerwatch.agent.newcomers import RECEIVER as NEWCOMERS
from peerwatch.agent.newcomers import Newcomers
from peerwatch.agent.ship import Link, Shipper
from peerwatch.errors import StoreError
from peerwatch.spool import Spool
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

MAX_HUBS = 3
"""Each costs an agent the whole traffic once more, and a third copy survives the loss of any two machines."""
_LOOK_S = 1.0  # how soon a change of the roster is followed

_log = get_logger("ship")

OpenLink = Callable[[bytes], AbstractAsyncContextManager[Link]]
"""A hub to the way there, which is closed at the end."""
MakeShipper = Callable[[str, bytes, Link], Shipper]
"""The spool's receiver, the hub whose acks count for it, and the way there."""


def embedded_hubs(active: Iterable[bytes], served: Collection[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(the hubs to deliver to, those left out): at most three, the ones that are served already before others.

    Else in the order of their keys, which is the same for every agent: a hub that only some agents deliver to has no
    full copy.
    """
    ranked = sorted(set(active), key=lambda member: (member not in served, member))
    return ranked[:MAX_HUBS], ranked[MAX_HUBS:]


@dataclass(slots=True)
class _Served:
    """A hub that is delivered to."""

    member: bytes
    shipper: Shipper | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)


class EmbeddedDelivery:
    """Follows the fleet's hubs while it runs. Owned by the agent's role; `active` gives the hubs that may act now.

    A hub that joins is served within a second of the roster saying so, from the spool's floor on; one that is revoked
    is dropped, and its cursor with it, so that nothing of the spool is kept for it. Each hub has its own link, lanes
    and waits: one that is away or slow delays no other. Of more than three hubs the fourth gets nothing (see
    `embedded_hubs`), which is logged.
    """

    def __init__(
        self,
        spool: Spool,
        active: Callable[[], Iterable[bytes]],
        open_link: OpenLink,
        make_shipper: MakeShipper,
        newcomers: Newcomers | None,
    ) -> None:
        self._spool = spool
        self._active = active
        self._open_link = open_link
        self._make_shipper = make_shipper
        self._newcomers = newcomers
        self._served: dict[bytes, _Served] = {}
        self._left_out: list[bytes] = []
        self._look = anyio.Event()
        self._drain_s: float | None = None
        self._known = set(spool.receivers())
        self._ended = anyio.Event()
        self._follow_roster()

    @property
    def hubs(self) -> list[bytes]:
        """The hubs that are delivered to."""
        return self._wanted

    @property
    def last_ack_ms(self) -> int:
        """When a hub last acknowledged something; 0: never."""
        return max((one.shipper.last_ack_ms for one in self._served.values() if one.shipper), default=0)

    @property
    def pending(self) -> int:
        """How many batches the hub lacks that lacks most."""
        return max((one.shipper.pending for one in self._served.values() if one.shipper), default=0)

    def wake(self) -> None:
        """Something new is in the spool."""
        for one in self._served.values():
            if one.shipper is not None:
                one.shipper.wake()

    async def run(self) -> None:
        """Deliver until `drain`, or until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                while self._drain_s is None:
                    await self._follow(tasks)
                    with anyio.move_on_after(_LOOK_S):
                        await self._look.wait()
        finally:
            self._ended.set()

    async def drain(self, most_s: float) -> int:
        """End `run`: deliver what is fresh to each hub, for at most `most_s`; how many batches remain."""
        self._drain_s = most_s
        self._look.set()
        for one in self._served.values():
            one.scope.cancel()
        await self._ended.wait()
        return self.pending

    def _follow_roster(self) -> None:
        known = {member for member in self._active() if peer_id(member) in self._known}
        self._wanted, left_out = embedded_hubs(self._active(), self._served.keys() | known)
        if left_out != self._left_out:
            self._left_out = left_out
            names = " ".join(map(peer_id, left_out))
            _log.error("hubs left out: an agent delivers to three at most", hubs=names, limit=MAX_HUBS)

    async def _follow(self, tasks: anyio.abc.TaskGroup) -> None:
        """One look: serve who is new, drop who is gone."""
        self._follow_roster()
        for one in [one for member, one in self._served.items() if member not in self._wanted]:
            one.scope.cancel()
            await one.ended.wait()
            del self._served[one.member]
        new = [member for member in self._wanted if member not in self._served]
        for member in new:  # all before any of them acknowledges: see Spool
            await anyio.to_thread.run_sync(self._spool.reader, peer_id(member))
        await self._forget_others()
        for member in new:
            one = self._served[member] = _Served(member)
            tasks.start_soon(self._serve, one)
        if self._newcomers is not None:
            await self._newcomers.let_go()

    async def _forget_others(self) -> None:
        """Keep nothing for a hub that is gone. A file that cannot be removed is found again at the next start."""
        kept = {peer_id(member) for member in self._wanted}
        if self._newcomers is not None:
            kept.add(NEWCOMERS)
        for receiver in set(self._spool.receivers()) - kept:
            try:
                await anyio.to_thread.run_sync(self._spool.forget, receiver)
            except StoreError as error:
                _log.warning("spool cursor not removed", receiver=receiver, reason=str(error))
            else:
                _log.info("nothing is kept any more for a hub that left", hub=receiver)

    async def _serve(self, one: _Served) -> None:
        try:
            async with self._open_link(one.member) as link:
                one.shipper = self._make_shipper(peer_id(one.member), one.member, link)
                with one.scope:
                    await one.shipper.run()
                if self._drain_s is not None:
                    await one.shipper.drain(self._drain_s)
                else:
                    one.shipper.end()
        finally:
            one.ended.set()
