"""The way to one of three hubs that share an engine gets bad, while the hub is well: its agents leave it all the same.

On each agent's host a proxy stands in the way to the hubs. Connections that are open stay open, and new ones are taken.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Processes
from tests.fabric.network import Network, delaying_proxy, mend, worsen
from tests.fabric.shard_fleet import ShardFleet, Story, say

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
LASTS_S = 14.0  # so that those who look early whether it is well again find that it is not


class Paths:
    """The ways to the hubs, which get worse for all agents at once."""

    def __init__(self, fleet: ShardFleet, folder: Path) -> None:
        self._fleet = fleet
        self._folder = folder
        agents = [one.host for one in fleet.fabric.agents.values()]
        proxies = [fleet.fabric.run_on(one, delaying_proxy(0.0, folder)) for one in agents]
        for proxy in proxies:
            proxy.wait_for("ready")
        for one in agents:
            one.delay_to(*(hub.host for hub in fleet.hubs.values()))

    def story(self, name: str, victim: str, *, before_s: float = 0.0, **bad: float) -> None:
        """The way to this hub is so bad for a while."""
        hub = self._fleet.hubs[victim]
        Story(self._fleet, name, hub, before_s=before_s).tell(
            lambda: worsen(self._folder, hub.host, **bad), lambda: mend(self._folder, hub.host), lasts_s=LASTS_S
        )


@pytest.fixture(scope="module")
def fleet(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardFleet]:
    """All agents where they prefer to be."""
    processes = Processes(tmp_path_factory.mktemp("shard-paths"))
    try:
        yield ShardFleet(processes, network)
    finally:
        processes.end_all()


@pytest.fixture(scope="module")
def paths(fleet: ShardFleet, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Their ways, on which nothing is bad as yet."""
    began_s = time.time()
    made = Paths(fleet, tmp_path_factory.mktemp("paths"))
    fleet.all_at_home()
    say(f"\n{len(fleet.orders)} agents", f"each at its hub by its proxy after {time.time() - began_s:.0f} s")
    return made


def test_a_way_is_long(paths: Paths) -> None:
    """What is asked is answered after six seconds."""
    paths.story("long", "h1", delay_s=3.0, before_s=3.0)


def test_a_way_is_narrow(paths: Paths) -> None:
    """Of each connection 200 bytes a second pass, either way."""
    paths.story("narrow", "h2", up=200.0, down=200.0, before_s=4.0)


def test_nothing_comes_back(paths: Paths) -> None:
    """What agents send arrives, and is stored; connections are taken, and nothing else comes from there."""
    paths.story("nothing comes back", "h3", down=0.0)


def test_nothing_goes_there(paths: Paths) -> None:
    """What the hub says would arrive, but it hears nothing."""
    paths.story("nothing goes there", "h1", up=0.0)


def test_after_all_of_it_each_sample_is_in_the_engine_once(fleet: ShardFleet) -> None:
    """Each number is there, and what is there more than once is the same bytes; no story ended in a stampede."""
    fleet.judge()
