"""MeshMember: a hub's or relay's node among its like: whom it stays connected to, what it hears, and whom it knew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from peerwatch.fleet.roster import HUB, INVITE, RELAY
from peerwatch.model import Clock
from peerwatch.node.acquaintances import FILE_NAME, Acquaintances
from peerwatch.node.connection import ConnectionOpened
from peerwatch.node.gater import Direction
from peerwatch.node.host import Host
from peerwatch.node.messages import Heard, Note
from peerwatch.node.metrics import NodeMetrics
from peerwatch.node.roster_view import RosterView
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id, public_key_of

_log = get_logger("mesh")
_MOST_HELD = 256
_LOOK_S = 5.0
_SAVE_EVERY = 6  # looks: a node that is killed knows whom it knew half a minute ago


class MeshMember:
    """Owned by the node, which asks it who is wanted whenever the roster changes, and tells it of connections."""

    def __init__(
        self,
        host: Host,
        roster: Callable[[], RosterView],
        folder: Path,
        clock: Clock,
        metrics: NodeMetrics,
        tell: Callable[[Note], None],
    ) -> None:
        self._host = host
        self._roster = roster
        self._clock = clock
        self._metrics = metrics
        self._tell = tell
        self._known = Acquaintances(folder / FILE_NAME)
        self._known.load()
        self._mesh = host.mesh(self._belongs, self._speaks, self._hear, metrics.queried)

    def _belongs(self, peer: str) -> bool:
        return self._has_role(peer, (HUB, RELAY))

    def _speaks(self, peer: str) -> bool:
        return self._has_role(peer, (HUB,))

    def _has_role(self, peer: str, roles: tuple[str, ...]) -> bool:
        """An invite for a hub has that role too, and is none."""
        roster, now_ms = self._roster(), self._clock.now_ms()
        return any(roster.has_role(peer, role, now_ms) for role in roles) and INVITE not in roster.members[peer].roles

    def wanted(self) -> list[bytes]:
        """Every other member of the mesh: they are few, and each is to hear of all at once."""
        found = [public_key_of(peer) for peer in self._roster().members if self._belongs(peer)]
        return sorted(one for one in found if one != self._host.member)[:_MOST_HELD]

    def where(self, member: bytes) -> Sequence[str]:
        """Addresses of a member that are known here: its own signed word, then where it was reached before."""
        return (*self._mesh.known(member), *self._known.addresses(member))

    async def lookup(self, member: bytes) -> Sequence[str]:
        """Ask the mesh where it is; none for who does not belong to it."""
        if not self._belongs(peer_id(member)) or not self._mesh.table_size:
            return ()
        return await self._mesh.find(member)

    def opened(self, event: ConnectionOpened) -> None:
        """A connection is there. The address that we dialled leads to the peer; that from which it called does not."""
        if event.direction is Direction.OUT and self._belongs(peer_id(event.member)):
            self._mesh.learn(event.member, [event.address])
            self._known.met(event.member, [event.address], self._clock.now_ms())

    @property
    def table_size(self) -> int:
        """Peers in the routing table."""
        return self._mesh.table_size

    async def publish(self, data: bytes) -> None:
        """See `Mesh.publish`."""
        await self._mesh.publish(data)

    async def _hear(self, origin: bytes, data: bytes) -> None:
        self._tell(Heard(peer=peer_id(origin), body=data))

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._mesh.run)
            looks = 0
            while True:
                await anyio.sleep(_LOOK_S)
                self._look()
                looks += 1
                if looks % _SAVE_EVERY == 0 and self._known.has_news:
                    await anyio.to_thread.run_sync(self._known.save)

    def _look(self) -> None:
        """Remember where those that are connected say that they are."""
        now_ms = self._clock.now_ms()
        for one in self._host.connections:
            if self._belongs(peer_id(one.member)):
                self._known.met(one.member, self._mesh.known(one.member), now_ms)

    def show(self) -> None:
        """Put what is so now into the metrics."""
        self._metrics.show_mesh(self._mesh.gossip_peers, self._mesh.table_size)
        self._metrics.gossiped(self._mesh.take_messages())

    def save(self) -> None:
        """Write whom it knows to disk, at the end of its life."""
        self._look()
        _log.info("routing table saved", peers=self._known.save())
