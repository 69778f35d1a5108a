"""Hubs that share an engine: an agent delivers to one of them, and to another within seconds when that one is gone."""

from __future__ import annotations

import re
import signal
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from peerwatch.agent.shard import ranked
from peerwatch.fleet.keys import load_key
from tests.e2e.hubs import CATCH_UP_S, Hubs
from tests.e2e.processes import Processes, eventually
from tests.e2e.recording_hub import Recorded, read_sink
from tests.e2e.shared_sink import judge

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
_NO_LIBP2P = pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra p2p is not installed: make p2p")
AGENTS = ("a", "b", "c")
LEFT_S = 5.0 + 2.5  # within five seconds of a send; one comes each second, and the machine may be busy


class _Sharded:
    """Three hubs over one sink, and agents that deliver to one of them each."""

    def __init__(self, processes: Processes, link: str) -> None:
        self.folder = processes.folder
        self.sink = processes.folder / "sink.jsonl"
        self.hubs = Hubs(processes, ("one", "two", "three"), link, self.sink)
        for name in ("two", "three"):
            self.hubs.join(name)
            self.hubs.start(name)
        self.keys = {_member(hub.folder / "fleet"): name for name, hub in self.hubs.hubs.items()}
        for name in AGENTS:
            self.hubs.agent(name, PEERWATCH_DELIVERY_MODE="shard")
        self.senders = {_member(self.folder / name / "agent"): name for name in AGENTS}
        eventually(
            lambda: all(self.at(one) == self.preferred(one) for one in AGENTS), "each at its own hub", CATCH_UP_S
        )

    def preferred(self, agent: str) -> str:
        """The hub that this agent should be at while all live."""
        return self.keys[ranked(_member(self.folder / agent / "agent"), self.keys)[0]]

    def newest(self, agent: str) -> Recorded | None:
        """What came last of an agent."""
        found = [one for one in read_sink(self.sink) if self.senders[bytes.fromhex(one.sender)] == agent]
        return max(found, key=lambda one: one.at_s, default=None)

    def at(self, agent: str) -> str:
        """The hub that took that."""
        newest = self.newest(agent)
        pids = {hub.running.process.pid: name for name, hub in self.hubs.hubs.items()}
        return pids.get(newest.hub, "") if newest is not None else ""

    def moves(self, victim: str) -> float:
        """The longest that any agent of a hub goes without another's ack, from now on, in seconds."""
        began_s = time.time()
        moving = [agent for agent in AGENTS if self.preferred(agent) == victim]
        assert moving

        def elsewhere(agent: str) -> float:
            newest = self.newest(agent)
            there = newest is not None and newest.at_s > began_s and self.at(agent) not in ("", victim)
            return newest.at_s - began_s if newest is not None and there else 0.0

        return max(eventually(lambda one=agent: elsewhere(one), f"{agent} moves", 40) for agent in moving)  # type: ignore[misc]

    def comes_back(self, victim: str) -> None:
        """Until the hub's own agents are there again."""
        own = [agent for agent in AGENTS if self.preferred(agent) == victim]
        eventually(lambda: all(self.at(one) == victim for one in own), f"all back at {victim}", 120)

    def judge(self) -> tuple[int, int]:
        """(envelopes, repeats), once all that was spooled is in the sink."""
        return judge(self.sink, {member.hex(): self.folder / name for member, name in self.senders.items()})


def _member(folder: Path) -> bytes:
    return load_key(folder / "peer.key").public


@pytest.mark.parametrize("link", ["https", pytest.param("p2p", marks=_NO_LIBP2P)])
def test_a_dead_or_frozen_hub_is_left_and_nothing_is_lost_or_counted_twice(processes: Processes, link: str) -> None:
    """Its agents go on at others within five seconds of a send and come back; in the sink a number is one content."""
    fleet = _Sharded(processes, link)
    victim = fleet.preferred("a")
    fleet.hubs[victim].running.kill()
    killed_s = fleet.moves(victim)
    fleet.hubs.start(victim)
    fleet.comes_back(victim)
    fleet.hubs[victim].running.signal(signal.SIGSTOP)
    frozen_s = fleet.moves(victim)
    fleet.hubs[victim].running.signal(signal.SIGCONT)
    fleet.comes_back(victim)
    envelopes, repeats = fleet.judge()
    moved = f"left {killed_s:.1f} s after kill -9, {frozen_s:.1f} s after it froze"
    print(f"{link}: {moved}; {envelopes} envelopes, {repeats} repeats")  # noqa: T201
    assert max(killed_s, frozen_s) < LEFT_S


@_NO_LIBP2P
def test_libp2p_that_hangs_costs_one_send_half_of_its_time(processes: Processes) -> None:
    """The agent's own node is stuck: what is sent goes over HTTPS, to the same hub, before anybody finds that out."""
    sink = processes.folder / "sink.jsonl"
    hubs = Hubs(processes, ("one",), "p2p", sink)
    agent = hubs.agent("a", PEERWATCH_DELIVERY_MODE="shard", PEERWATCH_P2P_HTTPS_FALLBACK="true")
    children = psutil.Process(agent.process.pid).children()
    (node,) = [one for one in children if "peerwatch.node" in one.cmdline()]
    before = _pushes_over_libp2p(hubs["one"].url)
    eventually(lambda: _pushes_over_libp2p(hubs["one"].url) > before + 2, "it goes over libp2p", CATCH_UP_S)
    node.suspend()
    try:
        frozen_s = time.time()
        time.sleep(10.0)  # less than what a node that is silent is given
        thawed_s = time.time()
    finally:
        node.resume()
    came_s = [frozen_s, *(one.at_s for one in read_sink(sink) if frozen_s < one.at_s < thawed_s), thawed_s]
    worst_s = max(after_s - before_s for before_s, after_s in pairwise(came_s))
    print(f"{len(came_s) - 2} batches in 10 s while the node hung, {worst_s:.1f} s apart at most")  # noqa: T201
    assert worst_s < LEFT_S - 2.0
    assert "hub left" not in agent.log
    judge(sink, {_member(processes.folder / "a" / "agent").hex(): processes.folder / "a"})


def _pushes_over_libp2p(url: str) -> float:
    page = httpx.get(f"{url}/metrics/node", trust_env=False, timeout=10).text
    found = re.search(r'^p2p_messages_total\{direction="inbound",protocol="[^"]*push[^"]*"\} (\S+)', page, re.MULTILINE)
    return float(found[1]) if found is not None else 0.0
