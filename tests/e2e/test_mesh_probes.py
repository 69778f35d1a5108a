"""Agents measure each other over libp2p, as the hub introduces them; what they find is at the hub."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from peerwatch.fleet.keys import load_key
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.partners import PartnerList, open_partners
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.multiaddr import parse_tcp
from peerwatch.wire.peer_info import seal_peer_info
from peerwatch.wire.protocols import PARTNERS
from tests.e2e.processes import QUICK, Processes, Running, ask, eventually

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.node.host.foreign import PARAMETERS, ForeignPeer, Kind, spawn  # its package needs libp2p

pytestmark = pytest.mark.e2e
SOON_S = 120.0  # a new pairing takes effect after 15 s, and the node is sampled every 15 s


def free_address() -> str:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"


class Mesh:
    """A hub, and agents by name."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.folder = processes.folder / "hub"
        self.listen = free_address()
        arguments = ["hub", "--data", str(self.folder), "--listen", "127.0.0.1:0"]
        self.hub = processes.start(*arguments, extra={"P2P_LISTEN_ADDRS": self.listen, "PEERWATCH_NAME": "hub-1"})
        self.url = self.hub.url()

    def token(self, name: str) -> str:
        """For one machine."""
        made = self._processes.run("invite", "--data", str(self.folder), "--json", "--name", name)
        token: str = json.loads(made.stdout)["token"]
        return token

    def hub_address(self) -> str:
        """With its peer id."""
        return f"{self.listen}/p2p/{peer_id(load_key(self.folder / 'fleet' / 'peer.key').public)}"

    def join(self, name: str) -> Path:
        """The folder of a machine that has joined."""
        data = self._processes.folder / name
        done = self._processes.run("join", self.token(name), "--no-run", "--data", str(data))
        assert done.returncode == 0, done
        return data

    def agent(self, name: str, *, listens: bool = True) -> Running:
        """One that has joined, and measures every second."""
        data = self.join(name)
        settings = {**QUICK, "P2P_BOOTSTRAP_PEERS": self.hub_address(), "PEERWATCH_P2P_PROBE_INTERVAL_S": "1"}
        if listens:
            settings["P2P_LISTEN_ADDRS"] = free_address()
        arguments = ["agent", "--data", str(data), "--metrics-port", "0"]
        return self._processes.start(*arguments, name=name, extra=settings)

    def probes(self, result: str = "answered") -> dict[tuple[str, str], float]:
        """(who, whom) to how many."""
        found: list[Any] = ask(self.url, f'peerwatch_mesh_probes_total{{result="{result}"}}')
        return {(one["metric"]["instance"], one["metric"]["partner"]): float(one["value"][1]) for one in found}

    def measured(self) -> set[tuple[str, str]]:
        """Pairs with an answer."""
        return {pair for pair, count in self.probes().items() if count > 0}


def test_agents_measure_the_hub_and_each_other(processes: Processes) -> None:
    """Whoever listens is measured by all; who does not measures the others; a revoked one is measured by nobody."""
    mesh = Mesh(processes)
    agents = [mesh.agent("a"), mesh.agent("b"), mesh.agent("c", listens=False)]
    hub = "hub-1"
    wanted = {("a", "b"), ("b", "a"), ("c", "a"), ("c", "b"), ("a", hub), ("b", hub), ("c", hub)}
    eventually(lambda: mesh.measured() == wanted, f"each pair: {wanted}", SOON_S, 0.5)
    count = ask(mesh.url, 'peerwatch_mesh_rtt_seconds_count{instance="c",partner="a"}')[0]
    assert count["metric"]["job"] == "peerwatch-node" and float(count["value"][1]) > 0
    assert (
        0
        < float(
            ask(mesh.url, 'histogram_quantile(0.5, peerwatch_mesh_rtt_seconds_bucket{instance="c",partner="a"})')[0][
                "value"
            ][1]
        )
        < 1
    )
    assert [float(one["value"][1]) for one in ask(mesh.url, "peerwatch_mesh_candidates")] == [2, 2, 2]
    page = httpx.get(agents[2].metrics_url(), trust_env=False, timeout=10).text
    assert 'peerwatch_mesh_probes_total{partner="a",result="answered"}' in page
    done = processes.run("revoke", "b", "--data", str(mesh.folder))
    assert done.returncode == 0, done
    eventually(lambda: not any(pair[1] == "b" for pair in mesh.probes()), "b's series end everywhere", SOON_S, 0.5)
    assert {("a", hub), ("c", "a"), ("c", hub)} <= mesh.measured()
    assert [one.stop() for one in (*agents, mesh.hub)] == [0, 0, 0, 0]


class Member:
    """A peer of another implementation with the key of a machine that has joined: it says where it listens."""

    def __init__(self, mesh: Mesh, kind: Kind, name: str) -> None:
        folder = mesh.join(name) / "agent"
        self._hub = mesh.hub_address()
        self._key: PrivateKey = load_key(folder / "peer.key")
        self._membership = Membership.load(folder / "membership.bin", _now_ms())
        self.peer: ForeignPeer = spawn(kind, self._key)
        self.peer.start()
        assert self.peer.member == self._key.public

    def introduced(self) -> PartnerList | None:
        """What the hub tells it, over its own libp2p; None while the hub's node is not up, or knows it not yet."""
        listens = parse_tcp(self.peer.address.partition("/p2p/")[0]).pack()
        said = seal_peer_info(self._key, (listens,), {}, _now_ms())
        found = self.peer.tell("ask", self._hub, PARTNERS, said.hex())
        if "answer" not in found:
            return None
        answer = msgspec.msgpack.decode(bytes.fromhex(found["answer"]))
        assert answer["kind"] == "delivered", answer
        return open_partners(answer["body"], self._membership, self._key.public, _now_ms())


def _now_ms() -> int:
    return round(time.time() * 1000)


@pytest.mark.servers
@pytest.mark.parametrize("kind", PARAMETERS)
def test_a_member_of_another_implementation_is_measured(processes: Processes, kind: Kind) -> None:
    """The hub introduces it as any member, it pings whom it was told, and an agent measures it."""
    mesh = Mesh(processes)
    mesh.agent("a")
    member = Member(mesh, kind, "other")
    try:
        asked_s = 0.0
        told: dict[str, str] = {}

        def measured() -> bool:
            nonlocal asked_s
            if time.monotonic() - asked_s > 5:
                asked_s = time.monotonic()
                found = member.introduced()
                for one in found.partners if found else ():
                    told[one.name] = f"{one.addresses[0]}/p2p/{peer_id(one.member)}"
            return bool(told) and ("a", "other") in mesh.measured()

        eventually(measured, "it is introduced, and measured", SOON_S, 0.5)
        assert told.keys() == {"a"}
        assert "rtt_ms" in member.peer.tell("ping", told["a"])
        assert mesh.probes("lost")[("a", "other")] == 0
        assert mesh.probes("unreachable")[("a", "other")] == 0
    finally:
        member.peer.end()
