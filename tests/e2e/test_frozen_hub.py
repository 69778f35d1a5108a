"""A hub that is frozen delays nobody but itself."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.e2e.hubs import Hubs
from tests.e2e.processes import Processes, eventually

pytestmark = pytest.mark.e2e


def _revoked(processes: Processes, hubs: Hubs, hub: str, agent: str) -> float:
    """When it was asked, where the answer was that the agent is revoked; else 0."""
    asked_s = time.monotonic()
    done = processes.run("agents", "--all", "--json", "--data", str(hubs[hub].folder))
    rows = json.loads(done.stdout) if done.returncode == 0 else []
    return asked_s if any(row["name"] == agent and row["revoked"] for row in rows) else 0.0


def test_a_frozen_hub_does_not_keep_the_others_from_a_revocation(processes: Processes) -> None:
    """Of three hubs one is frozen, in the midst of everybody's exchange with it: the other knows within 5 s, and the
    frozen one once it goes on."""
    hubs = Hubs(processes, ("one", "two", "three"), "https")
    for name in ("two", "three"):
        hubs.join(name)
        hubs.start(name)
    joined = processes.run("join", hubs.token("--name", "web"), "--no-run", "--data", str(processes.folder / "web"))
    assert joined.returncode == 0, joined
    for name in ("two", "three"):
        eventually(lambda name=name: _knows(processes, hubs, name, "web"), f"{name} knows it", 30)  # type: ignore[misc]
    hubs["three"].running.signal(signal.SIGSTOP)
    try:
        time.sleep(2.5)  # the others ask it once a second, and wait for its answer by now
        began_s = time.monotonic()
        assert processes.run("revoke", "web", "--data", str(hubs["one"].folder)).returncode == 0
        told_s = eventually(lambda: _revoked(processes, hubs, "two", "web"), "the one that lives knows it", 30)
        assert told_s - began_s < 5.0
    finally:
        hubs["three"].running.signal(signal.SIGCONT)
    eventually(lambda: _revoked(processes, hubs, "three", "web"), "and then the other", 30)


def _knows(processes: Processes, hubs: Hubs, hub: str, agent: str) -> bool:
    done = processes.run("agents", "--all", "--json", "--data", str(hubs[hub].folder))
    return done.returncode == 0 and any(row["name"] == agent for row in json.loads(done.stdout))
