"""An agent's side of mesh probes: what it believes, whom it lets in for how long, and which series there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from peerwatch.cli.mesh_metrics import MAX_SHOWN, MeshMetrics
from peerwatch.cli.mesh_probes import MeshProbes
from peerwatch.errors import LinkError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.partners import Partner, PartnerList, seal_partners
from peerwatch.node.messages import Probe, Probed
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.multiaddr import unpack_tcp
from peerwatch.wire.peer_info import open_peer_info
from peerwatch.wire.protocols import PARTNERS

HERE = "/ip4/192.0.2.1/tcp/4001"
WEB_9 = Partner(PrivateKey.generate().public, "web-9", (HERE,))
WEB_8 = Partner(PrivateKey.generate().public, "web-8", (), 1_700_000_030_000)


class HubByHand:
    """Stands where the node is: answers as a hub that a test holds, and keeps what was said to it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.hub = Authority.open(folder, "hub-1", self.clock)
        self.key = PrivateKey.generate()
        self.answers: list[Any] = []
        self.said: list[bytes] = []
        self.hubs = [self.hub.member]
        self.mesh: Any = None

    async def deliver(self, member: bytes, protocol: str, body: bytes) -> bytes:
        """What comes next."""
        assert (member, protocol) == (self.hub.member, PARTNERS)
        self.said.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer

    async def metrics(self) -> bytes:
        return b"libp2p_connections_active 1\n"

    def sealed(self, *partners: Partner, visitors: tuple[Partner, ...] = (), to: bytes = b"") -> bytes:
        answer = PartnerList(partners, visitors, self.clock.now_ms() + 60_000, 5_000, 2)
        return seal_partners(self.hub.keys.signing, self.hub.member, self.hub.fleet, to or self.key.public, answer)

    def probes(self, interval_s: float = 15.0) -> MeshProbes:
        return MeshProbes(self.key, self.hub.membership, lambda: self.hubs, interval_s, self, self.clock)  # type: ignore[arg-type]

    def run(self, probes: MeshProbes, *answers: bytes | Exception) -> None:
        """Until all were given."""
        self.answers = list(answers)

        async def main() -> None:
            for _ in answers:
                await probes._refresh()

        anyio.run(main)


@pytest.fixture
def hub(tmp_path: Path) -> HubByHand:
    return HubByHand(tmp_path)


def lines(probes: MeshProbes) -> set[str]:
    return set(anyio.run(probes.page).decode().splitlines())


def test_whom_a_hub_names_is_measured_and_let_in(hub: HubByHand) -> None:
    """Until the list ends or the membership does; the hub is measured always, without a list too."""
    probes = hub.probes()
    assert hub.mesh is probes
    assert [one.peer for one in probes.plan().partners] == [peer_id(hub.hub.member)]
    assert probes.guests() == {}
    before = probes.changes
    hub.run(probes, hub.sealed(WEB_9, visitors=(WEB_8,)))
    assert probes.changes > before
    assert [(one.peer, one.addresses) for one in probes.plan().partners] == [
        (peer_id(hub.hub.member), []),
        (peer_id(WEB_9.member), [HERE]),
    ]
    assert probes.plan().interval_ms == 15_000
    until = {peer: one.expires_ms for peer, one in probes.guests().items()}
    assert until == {peer_id(WEB_9.member): 1_700_000_060_000, peer_id(WEB_8.member): 1_700_000_030_000}


def test_it_says_where_its_node_listens(hub: HubByHand) -> None:
    """Signed by its peer key; what others could not dial is left out."""
    probes = hub.probes()
    me, relay = peer_id(hub.key.public), peer_id(hub.hub.member)
    through = f"/ip4/192.0.2.9/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{me}"
    probes.listens([f"{HERE}/p2p/{me}", through, "/ip4/192.0.2.1/udp/4001/quic-v1"])
    hub.run(probes, hub.sealed())
    info, number = open_peer_info(hub.said[0])
    assert (info.public, number) == (hub.key.public, 1_700_000_000_000)
    assert [str(unpack_tcp(one)) for one in info.multiaddrs] == [HERE]


def test_what_no_hub_has_signed_for_it_changes_nothing(hub: HubByHand) -> None:
    """The last list stays until its end, and then nobody is let in any more."""
    probes = hub.probes()
    hub.run(probes, hub.sealed(WEB_9))
    kept = probes.guests()
    forged = seal_partners(PrivateKey.generate(), hub.hub.member, hub.hub.fleet, hub.key.public, probes._list)
    hub.run(probes, forged, b"", hub.sealed(WEB_8, to=WEB_8.member), LinkError("no way"))
    assert probes.guests() == kept
    assert {
        'peerwatch_mesh_lists_total{result="taken"} 1.0',
        'peerwatch_mesh_lists_total{result="failed"} 4.0',
    } <= lines(probes)
    hub.clock.advance(61)
    hub.run(probes, LinkError("no way"))
    assert probes.guests() == {}
    assert [one.peer for one in probes.plan().partners] == [peer_id(hub.hub.member)]


def test_what_was_found_is_shown_of_partners_only(hub: HubByHand) -> None:
    """By name; of one that is left nothing is shown any more, and nothing of a stranger."""
    probes = hub.probes()
    hub.run(probes, hub.sealed(WEB_9))
    seen = Probe(peer_id(WEB_9.member), 2, [700], 0, 1, 0)
    probes.hear(
        Probed(probes=[seen, Probe(peer_id(WEB_9.member), 0, [], 0, 0, 1), Probe(peer_id(WEB_8.member), 1, [], 0)])
    )
    assert {
        "libp2p_connections_active 1",
        'peerwatch_mesh_rtt_seconds_bucket{le="0.0005",partner="web-9"} 0.0',
        'peerwatch_mesh_rtt_seconds_bucket{le="0.001",partner="web-9"} 1.0',
        'peerwatch_mesh_probes_total{partner="web-9",result="answered"} 1.0',
        'peerwatch_mesh_probes_total{partner="web-9",result="lost"} 1.0',
        'peerwatch_mesh_probes_total{partner="web-9",result="unreachable"} 1.0',
        'peerwatch_mesh_connections_total{partner="web-9",result="opened"} 1.0',
        'peerwatch_mesh_connections_total{partner="web-9",result="failed"} 1.0',
        'peerwatch_mesh_probes_total{partner="hub-1",result="answered"} 0.0',
        "peerwatch_mesh_candidates 2.0",
        "peerwatch_mesh_partners 2.0",
    } <= lines(probes)
    assert "web-8" not in "".join(lines(probes))
    hub.run(probes, hub.sealed(Partner(WEB_8.member, "web-8", (HERE,))))
    assert "web-9" not in "".join(lines(probes))


def test_a_hub_that_becomes_known_is_measured_too(hub: HubByHand) -> None:
    """With the next question; this member itself, where it is a hub, is not."""
    probes = hub.probes()
    hub.run(probes, hub.sealed(WEB_9))
    other = b"\xff" * 32  # the last to be asked
    hub.hubs += [other, hub.key.public]
    hub.run(probes, hub.sealed(WEB_9))
    assert {one.peer for one in probes.plan().partners} == {
        peer_id(hub.hub.member),
        peer_id(other),
        peer_id(WEB_9.member),
    }


def test_of_two_with_one_name_one_is_called_by_its_peer_id(hub: HubByHand) -> None:
    """Two hubs that do not hear of each other may give a name twice."""
    probes = hub.probes()
    hub.run(probes, hub.sealed(WEB_9, Partner(WEB_8.member, "web-9", (HERE,))))
    found = "".join(lines(probes))
    assert 'partner="web-9"' in found and f'partner="{peer_id(WEB_8.member)}"' in found


def test_an_interval_of_zero_measures_nobody(hub: HubByHand) -> None:
    """The node is told nothing, and there are no series."""
    probes = hub.probes(0)
    anyio.run(probes.run)
    assert hub.mesh is None and lines(probes) == {"libp2p_connections_active 1"}


def test_series_are_bounded() -> None:
    """Whatever a hub names."""
    metrics = MeshMetrics()
    metrics.show(f"web-{number}" for number in range(1_000))
    assert metrics.render().count(b"peerwatch_mesh_rtt_seconds_count{") == MAX_SHOWN == 40
