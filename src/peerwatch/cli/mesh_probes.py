"""MeshProbes: an agent's side of mesh probes: asks the hub whom to measure, tells the node, keeps what it finds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio

from peerwatch.cli.mesh_metrics import MAX_HUBS, MeshMetrics
from peerwatch.cli.node_process import NodeProcess
from peerwatch.errors import DecodeError, LinkError, PeerError
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.partners import Partner, PartnerList, open_partners
from peerwatch.model import Clock
from peerwatch.node.messages import PartnerRecord, Probed, SetPartners
from peerwatch.node.roster_view import GUEST, MemberView
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.multiaddr import parse_tcp
from peerwatch.wire.peer_info import seal_peer_info
from peerwatch.wire.protocols import PARTNERS

_log = get_logger("mesh")
_RETRY_S = 10.0
_NOBODY = PartnerList((), (), 0, 0, 0)


class MeshProbes:
    """One per agent, owned by its event loop. `hubs` are those that its node is connected to, and always measured.

    The first of them that answers is asked, in the order of their keys: so all agents ask the same one. An `interval_s`
    of 0 measures nobody.

    What no hub has signed for this agent and this moment lets nobody in: a list that has expired is as none. Without a
    hub's answer the node goes on with the last list until then, and measures the hubs for ever.
    """

    def __init__(
        self,
        key: PrivateKey,
        membership: Membership,
        hubs: Callable[[], Iterable[bytes]],
        interval_s: float,
        node: NodeProcess,
        clock: Clock,
    ) -> None:
        self.changes = 0
        self.metrics = MeshMetrics()
        self._key = key
        self._membership = membership
        self._known_hubs = hubs
        self._hubs: list[bytes] = []
        self._interval_s = interval_s
        self._node = node
        self._clock = clock
        self._addresses: tuple[bytes, ...] = ()
        self._list = _NOBODY
        self._names: dict[str, str] = {}
        self._adopt(_NOBODY)
        if interval_s:
            node.mesh = self

    async def run(self) -> None:
        """Ask a hub again and again, until cancelled."""
        while self._interval_s:
            wait_s = await self._refresh()
            await anyio.sleep(wait_s * random.uniform(0.9, 1.0))

    async def page(self) -> bytes:
        """The node's own metrics, and what its probes found. Raises LinkError while the node is down."""
        page = await self._node.metrics()
        return page + self.metrics.render() if self._interval_s else page

    async def _refresh(self) -> float:
        """How long to wait until the next time."""
        if self._found_hubs() != self._hubs:
            self._adopt(self._list)
        try:
            found = await self._asked()
        except (LinkError, PeerError) as error:
            self.metrics.asked(taken=False)
            _log.info("no partner list", reason=str(error), again_s=_RETRY_S)
            if self._list is not _NOBODY and self._clock.now_ms() >= self._list.expires_ms:
                self._adopt(_NOBODY)
            return _RETRY_S
        self.metrics.asked(taken=True)
        self._adopt(found)
        return found.refresh_ms / 1000

    async def _asked(self) -> PartnerList:
        """What the first of the hubs says that says something."""
        said = seal_peer_info(self._key, self._addresses, {}, self._clock.now_ms())
        failure: Exception = LinkError("no hub is known to ask")
        for hub in self._hubs:
            try:
                answer = await self._node.deliver(hub, PARTNERS, said)
                return open_partners(answer, self._membership, self._key.public, self._clock.now_ms())
            except (LinkError, PeerError) as error:
                failure = error
        raise failure

    def _adopt(self, found: PartnerList) -> None:
        self._list = found
        self._hubs = self._found_hubs()
        names = {hub: _name_of(self._membership, hub) for hub in self._hubs}
        self._names = _distinct(names | {one.member: one.name for one in found.partners})
        self.metrics.show(self._names.values())
        self.metrics.show_fleet(found.candidates, len(found.visitors))
        self.changes += 1

    def _found_hubs(self) -> list[bytes]:
        return sorted(hub for hub in self._known_hubs() if hub != self._key.public)[:MAX_HUBS]

    # ---- what the node is told: see `node_process.Mesh`

    def guests(self) -> Mapping[str, MemberView]:
        """Partners and visitors, until the list or their membership ends."""
        members = (*self._list.partners, *self._list.visitors)
        return {peer_id(one.member): MemberView((GUEST,), self._until_ms(one)) for one in members}

    def _until_ms(self, partner: Partner) -> int:
        return min(partner.expires_ms, self._list.expires_ms) if partner.expires_ms else self._list.expires_ms

    def plan(self) -> SetPartners:
        """The hubs, to which there is a connection, and the list's partners."""
        hubs = [PartnerRecord(peer_id(hub), []) for hub in self._hubs]
        partners = [PartnerRecord(peer_id(one.member), list(one.addresses)) for one in self._list.partners]
        return SetPartners(partners=hubs + partners, interval_ms=round(self._interval_s * 1000))

    def listens(self, addresses: Sequence[str]) -> None:
        """What the hub is told from now on. Only TCP, which others dial, and no relay: its way is not the pair's."""
        found = []
        for address in addresses:
            try:
                found.append(parse_tcp(address.removesuffix(f"/p2p/{peer_id(self._key.public)}")).pack())
            except DecodeError:
                continue
        self._addresses = tuple(found)

    def hear(self, note: Probed) -> None:
        """Results, of those who are still partners."""
        for probe in note.probes:
            name = self._names.get(probe.peer)
            if name is not None:
                self.metrics.found(name, probe)


def _name_of(membership: Membership, hub: bytes) -> str:
    entry = membership.roster.get(hub)
    return entry.name if entry is not None else peer_id(hub)


def _distinct(names: Mapping[bytes, str]) -> dict[str, str]:
    """Peer id to label; of two of one name, which hubs give that do not hear of each other, the second is its id."""
    taken: dict[str, str] = {}
    for member, name in names.items():
        peer = peer_id(member)
        taken[peer] = peer if name in taken.values() else name
    return taken
