"""A fleet whose members come and go for a while: nothing piles up, and nothing is lost.

PEERWATCH_TEST_SOAK_S=1200 is the whole soak; a shorter one is part of the suite.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.e2e.processes import Processes, Running
from tests.fabric.fabric import Fabric, Machine
from tests.fabric.gauges import Gauges, grown, hub_tasks
from tests.fabric.network import Network

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
SOAK_S = float(os.environ.get("PEERWATCH_TEST_SOAK_S", "120"))
SEED = int(os.environ.get("PEERWATCH_TEST_SEED", "1"))
AGENTS, PASSERS = 5, 24
_STEP_S = 5.0
_STAY_S = 4.0  # a passer's time with the hub: four connections come and go in a second
_FLUSHING = {"PEERWATCH_STORE_FLUSH_INTERVAL_S": "20"}  # so that what the hub holds in memory comes and goes too


@pytest.fixture
def fabric(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """One hub and a few agents that tell of themselves."""
    processes = Processes(tmp_path_factory.mktemp("soak"))
    try:
        made = Fabric(processes, network, sources=("loadavg", "self"), hub_settings=_FLUSHING)
        made.found_hub()
        made.found_agents(AGENTS)
        made.wait_fresh(made.hubs.values(), time.time())
        yield made
    finally:
        processes.end_all()


class _Churn:
    """What happens at each step: an agent is stopped or killed, and is back at the next; a node is killed; passers die.

    The first agent keeps its process and loses its node, the second keeps both. The hub's node dies only in the first
    quarter: what it holds later is to be compared with itself.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._random = Random(SEED)
        self._hub = fabric.hubs["h1"]
        self._folders = fabric.join_more(f"p{number:02d}" for number in range(PASSERS))
        self._host = fabric.hubs["h1"].host
        self._passers = [self._start_passers(half) for half in range(2)]
        self._away: Machine | None = None
        self.counts: dict[str, int] = {}

    def _start_passers(self, half: int) -> Running:
        folders = [str(one) for one in self._folders[half::2]]
        command = [sys.executable, "-m", "tests.fabric.passers", self._fabric.multiaddr(self._hub), str(_STAY_S)]
        return self._fabric.run_on(self._host, [*command, *folders])

    def step(self, done: float) -> None:
        """One thing; `done` is the share of the time that is over."""
        agents = list(self._fabric.agents.values())
        for one in self._passers:
            assert one.process.poll() is None, one.log
        if self._away is not None:
            self._fabric.start(self._away)
            self._away = None
        what = self._random.choice(["stop", "kill", "node", "node", "hub's node", "passers", "nothing"])
        if what == "hub's node" and done > 0.25:
            what = "passers"
        victim = self._random.choice(agents[2:])
        match what:
            case "stop":
                assert victim.running is not None
                assert victim.running.stop() == 0
                self._away = victim
            case "kill":
                victim.kill()
                self._away = victim
            case "node":
                self._random.choice([agents[0], victim]).kill_node()
            case "hub's node":
                self._hub.kill_node()
            case "passers":
                half = self._random.randrange(2)
                self._passers[half].kill()
                self._passers[half] = self._start_passers(half)
        self.counts[what] = self.counts.get(what, 0) + 1

    def end(self) -> None:
        """All agents are back, the passers gone."""
        if self._away is not None:
            self._fabric.start(self._away)
        for one in self._passers:
            one.kill()


def test_nothing_piles_up_while_members_come_and_go(fabric: Fabric) -> None:
    """Descriptors, threads, tasks and memory of hub, agents and nodes do not grow; every sample is at the hub, once."""
    churn, gauges = _Churn(fabric), Gauges()
    hub, lasting = fabric.hubs["h1"], list(fabric.agents.values())[:2]
    began_s = time.monotonic()
    while (done := (time.monotonic() - began_s) / SOAK_S) < 1:
        churn.step(done)
        time.sleep(_STEP_S)
        of_hub, of_node = hub_tasks(hub)
        gauges.read("hub", hub.pid, of_hub)
        gauges.read("hub's node", hub.node_pid, of_node)
        for agent in lasting:
            gauges.read(agent.name, agent.pid, fabric.value(hub, "peerwatch_agent_tasks", agent))
        gauges.read(f"{lasting[1].name}'s node", lasting[1].node_pid)
    churn.end()
    growth, opened = gauges.growth(), fabric.opened(hub)
    print(f"soak of {SOAK_S:g} s: {churn.counts}, {opened:.0f} connections opened to the hub's node that lasted")  # noqa: T201
    for name, found in growth.items():
        print(f"  {name}: " + ", ".join(f"{key} {a:.1f} → {b:.1f}" for key, (a, b) in found.items()))  # noqa: T201
    fabric.assert_same_everywhere("soak")
    assert {"hub", "hub's node", lasting[0].name, lasting[1].name} <= growth.keys()
    assert opened > SOAK_S, "more than one connection came and went in a second"
    assert not grown(growth)
