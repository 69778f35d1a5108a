"""kill -9 of the hub, again and again, under load: what was acknowledged is there, once, with its value."""

from __future__ import annotations

import json
import os
import time
from random import Random

import pytest

from tests.e2e.fleet import ALWAYS_FLUSHING, Fleet, finish, undelivered
from tests.e2e.processes import Processes

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
KILLS = int(os.environ.get("PEERWATCH_TEST_KILLS", "50"))
SEED = int(os.environ.get("PEERWATCH_TEST_SEED", "1"))


def test_a_hub_killed_fifty_times_under_twenty_agents_loses_nothing_and_stores_nothing_twice(
    processes: Processes,
) -> None:
    """Every acknowledged sample of twenty agents is answered exactly once with its exact value; nothing else is."""
    random = Random(SEED)
    fleet = Fleet(processes, ALWAYS_FLUSHING)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    pushers = [fleet.push([f"a{number:02d}" for number in range(first, first + 10)]) for first in (0, 10)]
    for kill in range(KILLS):
        # Some kills hit the start itself: replay, fleet and sockets; most hit pushes, flushes and compactions.
        if kill % 5:
            fleet.wait_alive(hub)
        time.sleep(random.uniform(0.05, 2.5))  # the load runs; the moment of the kill is what varies
        assert hub.process.poll() is None, f"the hub ended by itself before kill {kill}:\n{hub.log[-4000:]}"
        hub.kill()
        hub = fleet.start_hub()
    fleet.wait_alive(hub)
    summaries = [finish(pusher) for pusher in pushers]
    verdict = fleet.compare()
    print(f"kills={KILLS} acknowledged={verdict.wanted} answered={verdict.answered}")  # noqa: T201
    assert [undelivered(summary) for summary in summaries] == [{}, {}]
    assert verdict.wanted > 20 * KILLS
    assert verdict.good, verdict
    assert hub.stop(10) == 0
    proven = processes.run("verify", "--json", "--data", str(fleet.folder), within_s=120)
    assert proven.returncode == 0, proven  # who signed what survives kills in the middle of flushes and compactions
    assert sum(one["proven"] for one in json.loads(proven.stdout)["agents"]) > verdict.wanted // 2
    hub = fleet.start_hub()  # and once more from what is on disk alone
    fleet.wait_alive(hub)
    assert fleet.compare().good
