"""Fleet: members of a hub that has not started yet, and their signed pushes, made before anything is timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.workload import Workload
from peerwatch.agent.seal import Sealer
from peerwatch.cli.known_hub import KnownHub, save_known_hub
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import membership_from_hub
from peerwatch.fleet.roster import AGENT
from peerwatch.model import Batch, BatchBlock, SampleMatrix, SystemClock
from peerwatch.wire.compression import Compressor
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.push import encode_request


@dataclass(frozen=True, slots=True)
class Member:
    """An enrolled agent: who it is, what it signs with, and what its node connects with."""

    fleet: bytes
    id: bytes
    signing: PrivateKey
    peer: PrivateKey


def found_fleet(hub_folder: Path, names: list[str]) -> list[Member]:
    """Found the fleet of the hub in `hub_folder` and enrol these agents. Call before the hub starts."""
    authority = Authority.open(hub_folder / "fleet", "hub", SystemClock())
    members = []
    for name in names:
        peer, signing = PrivateKey.generate(), PrivateKey.generate()
        authority.admit(peer.public, signing.public, name, (AGENT,))
        members.append(Member(authority.fleet, peer.public, signing, peer))
    return members


def join_offline(hub_folder: Path, agent_folder: Path, name: str, url: str) -> None:
    """Enrol the agent whose data folder this is, as `peerwatch join` would. Call before the hub starts."""
    clock = SystemClock()
    authority = Authority.open(hub_folder / "fleet", "hub", clock)
    folder = agent_folder / "agent"
    keys = load_or_create_keys(folder)
    authority.admit(keys.peer.public, keys.signing.public, name, (AGENT,))
    welcome = authority.membership.welcome(keys.peer.public)
    path = folder / "membership.bin"
    membership_from_hub(path, welcome, authority.fleet, authority.membership.trust.root, clock.now_ms()).save()
    save_known_hub(folder, KnownHub((url,)))


class PushWriter:
    """Makes one agent's push requests, of one batch each, as the agent's own code makes them."""

    def __init__(self, workload: Workload, member: Member) -> None:
        self._series = workload.series
        self._sealer = Sealer(member.fleet, member.id, member.signing, epoch=SystemClock().now_ms())
        self._compressor = Compressor()
        self._told: set[bytes] = set()

    def requests(self, matrix: SampleMatrix, ticks: int) -> Iterator[list[bytes]]:
        """For each run of `ticks` ticks its request; one that uses a new schema or baseline brings it."""
        for first in range(0, matrix.times_ms.size - ticks + 1, ticks):
            columns = slice(first, first + ticks)
            part = SampleMatrix(matrix.times_ms[columns], matrix.values[:, columns].copy())
            sealed = self._sealer.seal(Batch((BatchBlock(self._series, part),)), int(part.times_ms[-1]), None)
            self._sealer.sent()
            schemas = [record for name, record in sealed.schemas.items() if name not in self._told]
            self._told.update(sealed.schemas)
            yield [encode_request([sealed.item.envelope], schemas, self._compressor)]
