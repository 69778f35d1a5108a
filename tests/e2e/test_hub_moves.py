"""A hub moves, and nobody tells the agents but a relay that both were given."""

from __future__ import annotations

import json

import pytest

from peerwatch.wire.identity import peer_id
from tests.e2e.processes import QUICK, Processes, eventually, value

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.e2e.test_lone_node import UP_S, Fleet, free_address, ready

pytestmark = pytest.mark.e2e
NOBODY = "http://127.0.0.1:9"


def test_an_agent_learns_from_a_relay_where_its_hub_has_gone(processes: Processes) -> None:
    """All addresses that it knows are dead. It asks the relay it was given, which the hub has dialled."""
    fleet = Fleet(processes)
    arguments = ["--data", str(fleet.hub_folder), "--json", "--link", "p2p", "--address", NOBODY, "--name", "first"]
    made = eventually(lambda: processes.run("invite", *arguments).stdout, "a token for libp2p", UP_S, 1.0)
    folder = str(processes.folder / "first")
    joined = processes.run("join", json.loads(made)["token"], "--no-run", "--data", folder, within_s=UP_S)
    assert joined.returncode == 0, joined
    assert fleet.hub.stop() == 0
    relay = fleet.start_relay()
    relay.metrics_url()
    where = f"{fleet.relay_listen}/p2p/{peer_id(fleet.relay_member())}"

    moved = {"P2P_LISTEN_ADDRS": free_address(), "P2P_BOOTSTRAP_PEERS": where}
    hub = processes.start("hub", "--data", str(fleet.hub_folder), "--listen", "127.0.0.1:0", extra=moved)
    url = hub.url()
    eventually(lambda: ready(relay)[0] == 200, "the relay has heard of the hub", UP_S)
    agent = processes.start(
        "agent", "--data", folder, "--metrics-port", "0", extra={**QUICK, "P2P_BOOTSTRAP_PEERS": where}
    )
    eventually(lambda: value(url, 'node_boot_time_seconds{instance="first"}'), "samples at the new address", UP_S, 0.5)
    assert "hubs heard of from a relay" in agent.log
    for one in (agent, relay, hub):
        assert one.stop() == 0
