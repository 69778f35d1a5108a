"""An agent delivers over libp2p: from its node to the hub's, with nothing else to deliver by."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from pathlib import Path

import httpx
import psutil
import pytest

from peerwatch.errors import LinkError
from peerwatch.fleet.invite import decode_token, encode_token
from peerwatch.fleet.keys import load_key
from peerwatch.node.address import parse_address
from peerwatch.wire.identity import peer_id
from tests.e2e.ledger import Ledger, Verdict, compare, settled
from tests.e2e.processes import QUICK, Processes, Running, ask, eventually, recorded, value

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.node.host.kit import node, run  # needs libp2p

pytestmark = pytest.mark.e2e
NOWHERE = "/ip4/127.0.0.1/tcp/9"
STALL_S = 60.0  # two processes start anew, dial and handshake on a busy machine


class Pair:
    """A hub that listens for libp2p, and an agent that knows no other way to it: or, `https`, no way by libp2p."""

    def __init__(self, processes: Processes, *, https: bool = False, transport: str = "") -> None:
        self._processes = processes
        self._https = https
        self.hub_folder, self.agent_folder = processes.folder / "hub", processes.folder / "second"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.listen = f"/ip4/127.0.0.1/tcp/{port}{transport}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._http = f"127.0.0.1:{probe.getsockname()[1]}"
        self.hub = self.start_hub()
        self.url = self.hub.url()
        self._join()
        self.agent = self.start_agent()

    def start_hub(self) -> Running:
        """The hub, again after it was killed."""
        arguments = ["hub", "--data", str(self.hub_folder), "--listen", self._http]
        return self._processes.start(*arguments, extra={} if self._https else {"P2P_LISTEN_ADDRS": self.listen})

    def start_agent(self, **more: str) -> Running:
        """The agent, likewise."""
        hub = peer_id(load_key(self.hub_folder / "fleet" / "peer.key").public)
        address = NOWHERE if self._https else self.listen
        settings = {**QUICK, "P2P_BOOTSTRAP_PEERS": f"{address}/p2p/{hub}", **more}
        arguments = ["agent", "--data", str(self.agent_folder), "--metrics-port", "0"]
        return self._processes.program(recorded(self.agent_folder, *arguments), "agent", settings)

    def _join(self) -> None:
        made = self._processes.run("invite", "--data", str(self.hub_folder), "--json", "--name", "second")
        token = json.loads(made.stdout)["token"]
        done = self._processes.run("join", token, "--no-run", "--data", str(self.agent_folder))
        assert done.returncode == 0, done
        if self._https:
            return
        known = self.agent_folder / "agent" / "hub.json"
        known.write_text(re.sub(r"http://[^\"]+", "http://127.0.0.1:9", known.read_text()))  # nobody is there

    def start_again(self, victim: Running) -> None:
        """What was killed, from what it left on disk."""
        if victim is self.agent:
            self.agent = self.start_agent()
        else:
            self.hub = self.start_hub()
            self.hub.url()

    def verdict(self, until_ms: float) -> Verdict:
        """What the agent took by then beside what the hub answers now."""
        answer = ask(self.url, '{instance="second",__name__!="up"}[1h]')  # `up` is the hub's own
        ledger = Ledger.read(self.agent_folder)  # after it, so that it holds all that can be answered
        wanted = ledger.samples(ledger.spooled, until_ms=until_ms)
        return compare("second", wanted, ledger.samples(ledger.sealed), answer)

    def samples(self) -> list[int]:
        """The times, in ms, of the agent's samples that the hub has."""
        found = ask(self.url, 'node_boot_time_seconds{instance="second"}[1h]')
        return [round(float(at) * 1000) for at, _ in found[0]["values"]] if found else []

    def revoke(self) -> None:
        """Put the agent out."""
        done = self._processes.run("revoke", "second", "--data", str(self.hub_folder))
        assert done.returncode == 0, done

    def connections(self) -> int:
        """How many the hub's node has that others opened."""
        page = httpx.get(f"{self.url}/metrics/node", trust_env=False, timeout=10).text
        found = re.search(r'^libp2p_connections_active\{direction="inbound"\} (\d+)', page, re.MULTILINE)
        assert found is not None, page
        return int(found[1])

    def goes_on(self, what: str, within_s: float = STALL_S) -> None:
        """Until the hub has samples that were taken after now."""
        now_ms = time.time() * 1000
        eventually(lambda: max(self.samples(), default=0) > now_ms, f"samples after {what}", within_s)


def _nodes(of: Running) -> list[psutil.Process]:
    children = psutil.Process(of.process.pid).children()
    return [one for one in children if "peerwatch.node" in one.cmdline()]


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("transport", ["", "/ws"], ids=["tcp", "websocket"])
def test_samples_arrive_over_libp2p_alone(processes: Processes, transport: str) -> None:
    """The hub has them with the agent's name; who is no member does not get in; both end cleanly."""
    pair = Pair(processes, transport=transport)
    eventually(lambda: value(pair.url, 'node_boot_time_seconds{instance="second"}'), "samples over libp2p", STALL_S)
    assert _mode(pair.hub_folder / "node.sock") == 0o600
    page = httpx.get(f"{pair.url}/metrics/node", trust_env=False, timeout=10)
    assert page.status_code == 200
    assert 'libp2p_connections_active{direction="inbound"} 1.0' in page.text.splitlines()
    assert re.search(r'^p2p_messages_total\{direction="inbound",protocol="push"\} [1-9]', page.text, re.M)
    nodes = _nodes(pair.hub) + _nodes(pair.agent)
    assert len(nodes) == 2
    _node_is_sampled(pair)
    _stranger_is_refused(pair)
    pair.revoke()
    eventually(lambda: pair.connections() == 0, "whoever is revoked is cut off")
    told = [json.loads(line).get("event_type") for line in pair.hub.log.splitlines() if line.startswith("{")]
    assert {"node_started", "connection_opened", "connection_denied", "member_revoked", "connection_closed"} <= set(
        told
    )
    assert pair.agent.stop() == 0
    assert pair.hub.stop() == 0
    eventually(lambda: not any(one.is_running() for one in nodes), "the nodes are gone with those who started them")


def _node_is_sampled(pair: Pair) -> None:
    """The agent's own page shows its node, and the hub has it as samples like any other."""
    connected = 'libp2p_connections_active{direction="outbound"} 1'

    def shown() -> str:
        page = httpx.get(pair.agent.metrics_url(), trust_env=False, timeout=10).text
        return page if connected in page.splitlines() else ""

    page = eventually(shown, "the node on the agent's page", STALL_S)
    assert 'libp2p_connections_active_limit{direction="outbound"} 200' in page.splitlines()
    assert 'instance="' not in page and "process_open_fds_limit" not in page
    of_node = 'instance="second",job="peerwatch-node"'
    eventually(
        lambda: value(pair.url, f'libp2p_connections_active{{{of_node},direction="outbound"}}') == 1,
        "the node's samples at the hub",
        STALL_S,
    )
    assert value(pair.url, f"peerwatch_node_up{{{of_node}}}") == 1
    resident = value(pair.url, f"process_resident_memory_bytes{{{of_node}}}")
    assert resident is not None and resident > value(
        pair.url, 'process_resident_memory_bytes{instance="second",job="node"}'
    )  # type: ignore[operator]


def _stranger_is_refused(pair: Pair) -> None:
    """A peer with a key of its own gets through no handshake, and is counted."""

    async def story() -> None:
        stranger = node(listen=False)
        async with stranger.host:
            with pytest.raises(LinkError):
                await stranger.host.dial(load_key(pair.hub_folder / "fleet" / "peer.key").public, [pair.listen])

    run(story)
    page = httpx.get(f"{pair.url}/metrics/node", trust_env=False, timeout=10).text.splitlines()
    assert 'p2p_denied_total{reason="not_a_member"} 1.0' in page
    assert 'libp2p_connections_active{direction="inbound"} 1.0' in page


def test_https_is_the_second_way_only_where_it_is_told_so(processes: Processes) -> None:
    """The hub has no node, and nobody listens at the bootstrap peer: one agent waits, the other delivers."""
    pair = Pair(processes, https=True)
    eventually(lambda: "hub not reached over libp2p yet" in pair.agent.log, "it tries", STALL_S)
    time.sleep(3)  # samples and reports come once a second
    assert pair.samples() == []
    assert pair.agent.stop() == 0
    pair.agent = pair.start_agent(PEERWATCH_P2P_HTTPS_FALLBACK="true")
    pair.goes_on("HTTPS was allowed")


def test_a_machine_joins_by_a_token_and_is_connected_with_no_address_set_by_hand(processes: Processes) -> None:
    """The hub announces where its node is; the token carries it; the agent's node holds a connection to the hub."""
    hub_folder, folder = processes.folder / "hub", processes.folder / "second"
    hub = processes.start(
        "hub", "--data", str(hub_folder), "--listen", "127.0.0.1:0", extra={"P2P_LISTEN_ADDRS": "/ip4/127.0.0.1/tcp/0"}
    )
    url = hub.url()

    def token() -> str:
        made = processes.run("invite", "--data", str(hub_folder), "--json", "--name", "second", "--link", "p2p")
        return str(json.loads(made.stdout)["token"]) if made.returncode == 0 else ""

    invite = decode_token(eventually(token, "an invite for libp2p", STALL_S, 0.5))
    me = peer_id(load_key(hub_folder / "fleet" / "peer.key").public)
    assert [parse_address(one).peer for one in invite.multiaddrs] == [me]
    joined = processes.run("join", encode_token(invite), "--no-run", "--data", str(folder))
    assert joined.returncode == 0, joined
    processes.start("agent", "--data", str(folder), "--metrics-port", "0", extra=QUICK)
    eventually(lambda: value(url, 'node_boot_time_seconds{instance="second"}'), "samples over libp2p", STALL_S)
    page = httpx.get(f"{url}/metrics/node", trust_env=False, timeout=10).text
    assert re.search(r'^libp2p_connections_active\{direction="inbound"\} 1', page, re.M)
    assert re.search(r'^p2p_messages_total\{direction="inbound",protocol="push"\} [1-9]', page, re.M)


@pytest.mark.chaos
def test_every_sample_arrives_once_when_nodes_hub_and_agent_are_frozen_and_killed_in_turn(processes: Processes) -> None:
    """After frozen nodes, a frozen hub, and kill -9 of everything: what the agent took is at the hub, once, as it was.

    The agent's own record is the measure: every batch that its spool had.
    """
    pair = Pair(processes)
    pair.goes_on("the start")
    for victim in (pair.hub, pair.agent):
        (node,) = _nodes(victim)
        node.suspend()  # frozen it says nothing and ends nothing; whoever started it has to notice
        pair.goes_on(f"the node of {victim.name} was frozen")
    pair.hub.signal(signal.SIGSTOP)
    time.sleep(8)  # requests wait in its node, and are given up
    pair.hub.signal(signal.SIGCONT)
    pair.goes_on("the hub was frozen")
    for round_ in range(2):
        for victim in (pair.hub, pair.agent):
            (node,) = eventually(lambda of=victim: _nodes(of), f"a node of {victim.name}")  # type: ignore[misc]
            node.kill()
            pair.goes_on(f"round {round_}: the node of {victim.name} was killed")
        for victim in (pair.hub, pair.agent):
            nodes = _nodes(victim)
            victim.kill()
            eventually(lambda gone=nodes: not any(one.is_running() for one in gone), "a node ends with who started it")  # type: ignore[misc]
            pair.start_again(victim)
            pair.goes_on(f"round {round_}: {victim.name} was killed")
    now_ms = time.time() * 1000
    verdict = settled(lambda: pair.verdict(now_ms), STALL_S)
    print(f"killed and frozen in turn: {verdict}")  # noqa: T201
    assert verdict.good, verdict
