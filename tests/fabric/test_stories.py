"""What befalls a fleet on a network, and that every sample that an agent took is on every live hub exactly once after.

The measure are the agents' own records. Each story leaves the fleet whole for the next one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Processes
from tests.fabric.fabric import Fabric, Machine
from tests.fabric.network import Network, delaying_proxy

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
AGENTS = int(os.environ.get("PEERWATCH_TEST_AGENTS", "30"))
BEHIND_NAT = 2  # of these, each behind a router of its own
OUTAGE_S = 15.0
HEARD_S = 8.0  # a report comes every 4 s, and its samples are as old as that when it does


@pytest.fixture(scope="module")
def fabric(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """Hubs and agents, all of them heard."""
    processes = Processes(tmp_path_factory.mktemp("fabric"))
    try:
        made, began_s = Fabric(processes, network), time.time()
        for _ in range(2):
            made.found_hub()
        made.found_agents(AGENTS - BEHIND_NAT)
        made.found_agents(BEHIND_NAT, behind_nat=True)
        _say(f"{AGENTS} agents", f"all heard by two hubs {time.time() - began_s:.0f} s after the first start")
        yield made
    finally:
        processes.end_all()


@pytest.fixture
def victim(fabric: Fabric) -> Machine:
    """The hub to which it happens: the one that founded the fleet."""
    return fabric.hubs["h1"]


@pytest.fixture
def others(fabric: Fabric, victim: Machine) -> list[Machine]:
    """The other hubs, which have to go on meanwhile."""
    return [hub for hub in fabric.hubs.values() if hub is not victim]


def _say(story: str, words: str) -> None:
    print(f"\n{story}: {words}", flush=True)  # noqa: T201


def _others_go_on(fabric: Fabric, story: str, others: list[Machine], during_s: float = OUTAGE_S) -> None:
    """Wait so long; no agent is silent to the other hubs meanwhile."""
    worst_s = fabric.worst_age_s(others, during_s)
    if others:
        _say(story, f"the newest sample at the other hubs was never older than {worst_s:.1f} s")
        assert worst_s < HEARD_S + 5, "a hub that is away delays the others by no more than its time-out"


def _comes_back(fabric: Fabric, story: str, victim: Machine) -> None:
    """The hub hears every agent again, and then has all that it missed."""
    heard_s = fabric.wait_fresh([victim], time.time())
    _say(story, f"{victim.name} hears all agents {heard_s:.1f} s after it is back")
    fabric.assert_same_everywhere(story)


def test_a_hub_joins(fabric: Fabric, victim: Machine) -> None:
    """The third, with a snapshot of the first: it has what was taken before it came, and what is taken from now on."""
    began_s = time.time()
    hub = fabric.found_hub(copy_of=victim)
    _say("join", f"{hub.name} runs after {time.time() - began_s:.1f} s")
    _comes_back(fabric, "join", hub)


def test_a_hub_is_killed(fabric: Fabric, victim: Machine, others: list[Machine]) -> None:
    """As if its power was cut: it comes back with what its disk has."""
    victim.kill()
    _others_go_on(fabric, "kill", others)
    fabric.start(victim)
    _comes_back(fabric, "kill", victim)


def test_a_hub_is_frozen(fabric: Fabric, victim: Machine, others: list[Machine]) -> None:
    """All of its processes stop while their connections stay open, and go on later with what they had in hand."""
    victim.signal(signal.SIGSTOP)
    _others_go_on(fabric, "freeze", others)
    victim.signal(signal.SIGCONT)
    _comes_back(fabric, "freeze", victim)


def test_a_hub_is_partitioned(fabric: Fabric, victim: Machine, others: list[Machine]) -> None:
    """Nothing passes between it and anybody; nobody is told."""
    victim.host.cut_from(*(one.host for one in [*others, *fabric.agents.values()]))
    _others_go_on(fabric, "partition", others)
    victim.host.heal()
    _comes_back(fabric, "partition", victim)


def test_a_partition_is_asymmetric(fabric: Fabric, victim: Machine, others: list[Machine]) -> None:
    """Half of the agents hear the hub, which does not hear them."""
    half = list(fabric.agents.values())[::2]
    victim.host.deaf_to(*(one.host for one in half))
    _others_go_on(fabric, "asymmetric", others)
    victim.host.heal()
    _comes_back(fabric, "asymmetric", victim)


def test_packets_are_lost(fabric: Fabric) -> None:
    """Every twentieth packet to each hub and each agent is lost."""
    machines = [*fabric.hubs.values(), *fabric.agents.values()]
    for one in machines:
        one.host.lossy(0.05)
    worst_s = fabric.worst_age_s(fabric.hubs.values(), 2 * OUTAGE_S)
    _say("5 % loss", f"the newest sample at the hubs was never older than {worst_s:.1f} s")
    fabric.assert_same_everywhere("5 % loss, while it lasts")
    for one in machines:
        one.host.heal()
    assert worst_s < 2 * HEARD_S, "what is lost is sent again by TCP, no connection ends of it"


def test_the_way_is_long(fabric: Fabric) -> None:
    """From ten agents to the hubs and back it takes 100 ms each way."""
    slow = list(fabric.agents.values())[:10]
    proxies = [fabric.run_on(one.host, delaying_proxy(0.1)) for one in slow]
    for proxy in proxies:
        proxy.wait_for("ready")
    for one in slow:
        one.host.delay_to(*(hub.host for hub in fabric.hubs.values()))
    heard_s = fabric.wait_fresh(fabric.hubs.values(), time.time())
    worst_s = fabric.worst_age_s(fabric.hubs.values(), OUTAGE_S)
    _say("100 ms", f"heard again after {heard_s:.1f} s; then the newest sample was never older than {worst_s:.1f} s")
    fabric.assert_same_everywhere("100 ms, while it lasts")
    for one in slow:
        one.host.undelay()
    for proxy in proxies:
        proxy.kill()
    fabric.wait_fresh(fabric.hubs.values(), time.time())
    assert worst_s < HEARD_S + 2


def test_everything_restarts_at_once(fabric: Fabric) -> None:
    """The power of all machines is cut, and comes back for all of them in the same second."""
    machines = [*fabric.hubs.values(), *fabric.agents.values()]
    for one in machines:
        one.kill()
    began_s = time.time()
    fabric.start(*machines)
    started_s = time.time() - began_s
    fabric.wait_fresh(fabric.hubs.values(), time.time())
    _say("restart", f"{len(machines)} machines up in {started_s:.0f} s, all heard after {time.time() - began_s:.0f} s")
    fabric.assert_same_everywhere("restart")
