"""What befalls one of three hubs that share an engine: its agents go on at the others, and come back one by one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Processes
from tests.e2e.recording_hub import delay_file
from tests.fabric.network import Network
from tests.fabric.shard_fleet import ShardFleet, Story, say

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]


@pytest.fixture(scope="module")
def fleet(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardFleet]:
    """All agents where they prefer to be."""
    processes = Processes(tmp_path_factory.mktemp("shard"))
    try:
        began_s = time.time()
        made = ShardFleet(processes, network)
        made.all_at_home()
        say(f"\n{len(made.orders)} agents", f"each at its hub {time.time() - began_s:.0f} s after the first start")
        yield made
    finally:
        processes.end_all()


def test_a_hub_is_slow(fleet: ShardFleet) -> None:
    """Each commit takes six seconds, but a question none: its agents come back too early, and leave again."""
    hub = fleet.hubs["h1"]
    delay = delay_file(fleet.sink, hub.pid)
    Story(fleet, "slow", hub).tell(lambda: delay.write_text("6"), delay.unlink, lasts_s=14.0)


def test_a_hub_is_frozen(fleet: ShardFleet) -> None:
    """Its connections stay open; later it goes on with what it had in hand."""
    hub = fleet.hubs["h2"]
    Story(fleet, "frozen", hub).tell(lambda: hub.signal(signal.SIGSTOP), lambda: hub.signal(signal.SIGCONT))


def test_a_hub_is_partitioned(fleet: ShardFleet) -> None:
    """Nothing passes between it and anybody; nobody is told."""
    hub = fleet.hubs["h3"]
    others = [one.host for one in (*fleet.hubs.values(), *fleet.fabric.agents.values()) if one is not hub]
    Story(fleet, "partitioned", hub).tell(lambda: hub.host.cut_from(*others), hub.host.heal)


def test_a_hub_is_killed(fleet: ShardFleet) -> None:
    """As if its power was cut. It was frozen a minute ago at most, so it is given longer to be well."""
    hub = fleet.hubs["h2"]
    Story(fleet, "killed", hub).tell(hub.kill, lambda: fleet.start(hub))


def test_a_partition_is_asymmetric(fleet: ShardFleet) -> None:
    """What agents send arrives, and is stored; what the hub answers does not."""
    hub = fleet.hubs["h3"]
    agents = [one.host for one in fleet.fabric.agents.values()]

    def deafen() -> None:
        for one in agents:
            one.deaf_to(hub.host)

    def heal() -> None:
        for one in agents:
            one.heal()

    Story(fleet, "asymmetric", hub).tell(deafen, heal)


def test_after_all_of_it_each_sample_is_in_the_engine_once(fleet: ShardFleet) -> None:
    """Each number is there, and what is there more than once is the same bytes; no story ended in a stampede."""
    fleet.judge()
