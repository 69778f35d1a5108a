"""`peerwatch node`: a member that neither reports nor stores, lets in whom the hubs name, and ends when told to."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import httpx
import pytest

from peerwatch.errors import LinkError
from peerwatch.fleet.keys import load_key
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.e2e.processes import Processes, Running, eventually

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.node.host.kit import node, run  # needs libp2p

pytestmark = pytest.mark.e2e
UP_S = 60.0  # two processes import libp2p on a busy machine


def free_address() -> str:
    """A multiaddr on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"


class Fleet:
    """A hub that listens for libp2p if it `has_node`, and a relay that joined it."""

    def __init__(self, processes: Processes, *, has_node: bool = True) -> None:
        self.processes = processes
        self.hub_folder, self.relay_folder = processes.folder / "hub", processes.folder / "relay"
        self.hub_listen, self.relay_listen = free_address(), free_address()
        arguments = ["hub", "--data", str(self.hub_folder), "--listen", "127.0.0.1:0"]
        self.hub = processes.start(*arguments, extra={"P2P_LISTEN_ADDRS": self.hub_listen} if has_node else None)
        self.hub.url()
        self.join(self.relay_folder, "relay", "--name", "relay-1")

    def join(self, folder: Path, roles: str, *more: str) -> None:
        """One more member."""
        made = self.processes.run("invite", "--data", str(self.hub_folder), "--json", "--roles", roles, *more)
        done = self.processes.run("join", json.loads(made.stdout)["token"], "--no-run", "--data", str(folder))
        assert done.returncode == 0, done

    def start_relay(self, **extra: str) -> Running:
        """`peerwatch node`."""
        arguments = ["--data", str(self.relay_folder), "--metrics-port", "0", "--listen", self.relay_listen]
        return self.processes.start("node", *arguments, extra={"P2P_BOOTSTRAP": "true", **extra})

    def hub_address(self) -> str:
        """Where the hub is dialled."""
        return f"{self.hub_listen}/p2p/{peer_id(load_key(self.hub_folder / 'fleet' / 'peer.key').public)}"

    def relay_member(self) -> bytes:
        """Who the relay is."""
        return load_key(self.relay_folder / "node" / "peer.key").public


def ready(of: Running) -> tuple[int, dict[str, object]]:
    """What /health/ready says."""
    answer = httpx.get(of.metrics_url().replace("/metrics", "/health/ready"), trust_env=False, timeout=10)
    return answer.status_code, answer.json()


def test_a_lone_node_lets_in_whom_the_hub_names(processes: Processes) -> None:
    """It hears the roster over libp2p, shows itself on loopback, refuses the revoked, and ends cleanly."""
    fleet = Fleet(processes)
    entry = fleet.relay_folder / "node"
    assert {one.name: one.stat().st_mode & 0o777 for one in entry.iterdir() if one.suffix == ".key"} == {
        "peer.key": 0o600,
        "signing.key": 0o600,
    }
    relay = fleet.start_relay(P2P_BOOTSTRAP_PEERS=fleet.hub_address())
    eventually(lambda: ready(relay)[0] == 200, "the relay is ready", UP_S)
    status = ready(relay)[1]
    assert (status["status"], status["connected_peers"]) == ("ok", 1)
    agent_folder = processes.folder / "agent"
    fleet.join(agent_folder, "agent", "--name", "second")
    key = load_key(agent_folder / "agent" / "peer.key")
    eventually(lambda: _pings(fleet, key), "a new member is let in", UP_S)
    assert not _pings(fleet, PrivateKey.generate()), "a stranger is not"
    eventually(lambda: re.search(r'^p2p_denied_total\{reason="not_a_member"\} [1-9]', _page(relay), re.M), "counted")
    assert '\nlibp2p_connections_active_limit{direction="inbound"} 1024.0\n' in _page(relay), "a hub's limits"
    done = processes.run("revoke", "second", "--data", str(fleet.hub_folder))
    assert done.returncode == 0
    eventually(lambda: not _pings(fleet, key), "whoever is revoked is refused", 30.0)
    assert relay.stop() == 0


def _page(of: Running) -> str:
    return httpx.get(of.metrics_url(), trust_env=False, timeout=10).text


def _pings(fleet: Fleet, key: PrivateKey) -> bool:
    """Whether the holder of this key gets an answer to a ping."""
    answered = False

    async def story() -> None:
        nonlocal answered
        one = node(listen=False, key=key)
        async with one.host:
            try:
                await one.host.dial(fleet.relay_member(), [fleet.relay_listen])
                answered = await one.host.ping(fleet.relay_member()) > 0
            except LinkError:
                answered = False

    run(story)
    return answered


def test_a_lone_node_hears_the_roster_over_https_too(processes: Processes) -> None:
    """Where no hub has a node. Without a hub it is not ready, and says so."""
    fleet = Fleet(processes, has_node=False)
    relay = fleet.start_relay()
    eventually(lambda: ready(relay)[0] == 200, "the relay is ready", UP_S)
    assert ready(relay)[1]["connected_peers"] == 0
    assert relay.stop() == 0
    assert fleet.hub.stop() == 0
    relay = fleet.start_relay()
    found = eventually(lambda: "no hub has said" in str(ready(relay)), "what is missing is said", UP_S)
    assert found and ready(relay)[0] == 503
    assert relay.stop() == 0


def test_who_has_not_joined_is_told_how(processes: Processes) -> None:
    """In one line, with the commands; `--help` names what is needed first."""
    done = processes.run("node", "--data", str(processes.folder / "nobody"))
    assert done.returncode == 2 and "peerwatch invite --roles relay" in done.stderr
    assert "invite --roles relay" in " ".join(processes.run("node", "--help").stdout.split())
