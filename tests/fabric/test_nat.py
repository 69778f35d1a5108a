"""Behind NAT: a hub that nobody can dial, agents that nobody can dial, and a relay that everybody can."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from peerwatch.fleet.keys import load_key
from peerwatch.wire.identity import peer_id
from tests.e2e.processes import QUICK, ROOT, Processes, Running, environment, eventually
from tests.fabric.network import Host, Network

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

pytestmark = [pytest.mark.e2e, pytest.mark.p2p]
UP_S = 90.0  # five processes import libp2p on a busy machine


class Site:
    """A machine on the network, with a data folder of its own."""

    def __init__(self, host: Host, processes: Processes) -> None:
        self.host = host
        self.processes = processes
        self.folder = processes.folder / host.name

    def start(self, command: str, *arguments: str, extra: Mapping[str, str] | None = None) -> Running:
        """`peerwatch COMMAND` on it."""
        words = [sys.executable, "-m", "peerwatch", command, "--data", str(self.folder), *arguments]
        return self.processes.program(self.host.command(words), f"{self.host.name}-{command}", extra)

    def run(self, command: str, *arguments: str, data: Path | None = None) -> str:
        """The same to its end, which must be a good one; what it printed."""
        words = [sys.executable, "-m", "peerwatch", command, *arguments, "--data", str(data or self.folder)]
        return self.python(words)

    def python(self, words: list[str]) -> str:
        """Any command."""
        done = subprocess.run(
            self.host.command(words), env=environment(), capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done
        return done.stdout

    def reach(self, key_file: Path, multiaddr: str) -> dict[str, str]:
        """See reach.py."""
        found: dict[str, str] = json.loads(
            self.python([sys.executable, str(ROOT / "tests/fabric/reach.py"), str(key_file), multiaddr]).splitlines()[
                -1
            ]
        )
        return found

    def page(self, url: str) -> list[str]:
        """The lines of a page that only this machine reaches."""
        code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"
        return self.python([sys.executable, "-c", code, url]).splitlines()


def _member(folder: Path) -> str:
    return peer_id(load_key(folder / "peer.key").public)


def test_machines_behind_nat_join_deliver_and_are_reached_through_a_relay(
    network: Network, processes: Processes
) -> None:
    """Hub and agent are each behind a NAT of their own. Everything between them goes through a relay that both dial:
    joining with the invite's key, samples, and a ping and a request of a third peer to either."""
    hub = Site(network.host_behind_nat("nat-hub"), processes)
    agent = Site(network.host_behind_nat("nat-agent"), processes)
    relay = Site(network.host("relay"), processes)
    outside = Site(network.host("outside"), processes)

    # Routers that choose another port for each connection: there is no direct way.
    routers = [one for one in network.hosts if one.name in ("nat-hub-router", "nat-agent-router")]
    for router in routers:
        router.run("iptables -w -t nat -R POSTROUTING 1 -o eth0 -j MASQUERADE --random")

    # The relay joins where the hub is, and is carried away: nobody reaches that hub before there is a relay.
    first = hub.start("hub", "--listen", "127.0.0.1:9480")
    first.url()
    token = json.loads(hub.run("invite", "--json", "--roles", "relay", "--name", "relay"))["token"]
    hub.run("join", token, "--no-run", data=relay.folder)
    assert first.stop() == 0
    where = f"/ip4/{relay.host.address}/tcp/4001/p2p/{_member(relay.folder / 'node')}"
    lone = relay.start("node", "--bootstrap")
    lone.metrics_url()
    settings = {"P2P_LISTEN_ADDRS": "/ip4/0.0.0.0/tcp/4001", "P2P_BOOTSTRAP_PEERS": where}
    running = hub.start("hub", "--listen", "127.0.0.1:9480", extra=settings)
    running.url()

    # A machine joins through it, and delivers.
    behind = f"{where}/p2p-circuit/p2p/{_member(hub.folder / 'fleet')}"
    token = eventually(lambda: _token(hub, behind, "agent"), "the hub says by which relay it is reached", UP_S, 1.0)
    joined = agent.run("join", token, "--no-run", "--name", "hidden")
    assert "joined as hidden" in joined
    second_hub = outside.folder / "fleet"
    outside.run("join", _token(hub, behind, "hub"), "--no-run", "--name", "hub-2")
    delivering = agent.start("agent", "--metrics-port", "0", extra=QUICK)
    asked = ["query", 'node_boot_time_seconds{instance="hidden"}', "--format", "json"]
    eventually(lambda: "hidden" in hub.run(*asked), "the agent's samples are on the hub", UP_S, 1.0)
    page = hub.page("http://127.0.0.1:9480/metrics/node")
    assert 'libp2p_nat_traversal{method="relay"} 1.0' in page
    assert 'libp2p_nat_traversal{method="direct"} 0.0' in page
    carried = eventually(
        lambda: _value(relay.page(lone.metrics_url()), "libp2p_relay_connections_active"), "it carries"
    )
    assert carried == 1.0

    # A third peer: both are reached through the relay, and neither directly.
    reached = eventually(lambda: _reached(outside, second_hub, behind), "the relay has heard of the second hub", UP_S)
    assert reached["address"] == behind and "hub" in bytes.fromhex(reached["answer"]).decode(errors="replace")
    print(f"ping to the hub behind NAT: {float(reached['rtt_s']) * 1000:.1f} ms")  # noqa: T201
    hidden = f"{where}/p2p-circuit/p2p/{_member(agent.folder / 'agent')}"
    reached = eventually(lambda: _reached(outside, second_hub, hidden), "the agent lets the second hub in", UP_S, 2.0)
    assert "nobody answers /peerwatch/membership/1 here" in reached["answer"], "its main process has answered"
    print(f"ping to the agent behind NAT: {float(reached['rtt_s']) * 1000:.1f} ms")  # noqa: T201
    for site, member in ((hub, _member(hub.folder / "fleet")), (agent, _member(agent.folder / "agent"))):
        direct = f"/ip4/{_router(network, site)}/tcp/4001/p2p/{member}"
        assert "refused" in outside.reach(second_hub / "peer.key", direct)
    # Routers that keep ports, and drop what they did not ask for: they meet, and the relay carries nothing more.
    for router in routers:
        router.run("iptables -w -t nat -R POSTROUTING 1 -o eth0 -j MASQUERADE")
        router.run("iptables -w -A INPUT -i eth0 -p tcp --syn -j DROP")
    assert delivering.stop() == 0
    delivering = agent.start("agent", "--metrics-port", "0", extra=QUICK)
    punched = 'libp2p_nat_traversal{method="hole_punch"} 1.0'
    eventually(lambda: punched in hub.page("http://127.0.0.1:9480/metrics/node"), "they meet", UP_S, 1.0)
    carried = "libp2p_relay_connections_active 0.0"
    eventually(lambda: carried in relay.page(lone.metrics_url()), "the relay carries nothing more", UP_S, 1.0)
    now_s = time.time()
    late = ["query", 'timestamp(node_boot_time_seconds{instance="hidden"})', "--format", "json"]
    eventually(lambda: _latest(hub.run(*late)) > now_s, "samples over the direct connection", UP_S, 1.0)
    for one in (delivering, running, lone):
        assert one.stop() == 0


def _latest(answer: str) -> float:
    """The largest number with a fraction in what a query printed: a time."""
    return max((float(one) for one in re.findall(r'"([0-9]{10}(?:[.][0-9]+)?)"', answer)), default=0.0)


def _token(hub: Site, behind: str, role: str) -> str:
    """A token that leads through the relay; empty while the hub does not say so."""
    try:
        made = json.loads(hub.run("invite", "--json", "--link", "p2p", "--roles", role))
    except AssertionError:  # it does not announce any address yet
        return ""
    return str(made["token"]) if behind in made["multiaddrs"] else ""


def _value(page: list[str], name: str) -> float:
    return next((float(line.split()[-1]) for line in page if line.startswith(f"{name} ")), 0.0)


def _reached(outside: Site, key_folder: Path, multiaddr: str) -> dict[str, str]:
    found = outside.reach(key_folder / "peer.key", multiaddr)
    return found if "rtt_s" in found else {}


def _router(network: Network, site: Site) -> str:
    """The address that others see of it."""
    return next(one.address for one in network.hosts if one.name == f"{site.host.name}-router")
