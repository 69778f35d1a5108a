"""Hub and agent are killed in turn between flushes and compactions: all is proved; then one byte is changed on disk."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from peerwatch.cli.hub_client import HubClient
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.model import BoolArray, Float64Array, Int64Array, Matcher, MatchOp
from peerwatch.store.reader import StoreReader
from tests.audit.kit import rewrite
from tests.e2e.fleet import ALWAYS_FLUSHING, Fleet
from tests.e2e.ledger import LEDGER, Ledger
from tests.e2e.processes import Processes, Running, eventually, recorded, value

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
COMPACTING = {
    **ALWAYS_FLUSHING,
    "PEERWATCH_STORE_FLUSH_INTERVAL_S": "1",
    "PEERWATCH_STORE_COMPACT_SPAN_MS": "4000",  # a window closes, and its blocks become one, while the story runs
}
FAST = {"PEERWATCH_AGENT_SAMPLE_INTERVAL_S": "0.1", "PEERWATCH_AGENT_REPORT_INTERVAL_S": "0.1"}
ROUNDS = 4


def _agent(processes: Processes) -> Running:
    arguments = ("agent", "--data", str(processes.folder / "a"), "--metrics-port", "0")
    return processes.program(recorded(processes.folder / "ledger", *arguments), "agent", FAST)


def _verify(processes: Processes, fleet: Fleet, code: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the whole answer, the part of agent `a`)."""
    done = processes.run("verify", "--json", "--data", str(fleet.folder), within_s=60)
    assert done.returncode == code, done
    found: dict[str, Any] = json.loads(done.stdout)
    (row,) = [one for one in found["agents"] if one["agent"] == "a"]
    return found, row


def test_kills_of_hub_and_agent_leave_everything_proven(processes: Processes) -> None:
    """Every sample that the agent's spool took is under a signed root, nothing is missing, nothing forged.

    A kill between the spool and the run's file leaves one batch without a root, and that is said. Then one byte of one
    stored sample is changed, with checksums made right: the agent, the batch and its time are named.
    """
    random = Random(4)
    fleet = Fleet(processes, COMPACTING)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    _join(processes, fleet)
    agent = _agent(processes)
    for _ in range(ROUNDS):
        _sampled(processes)
        time.sleep(random.uniform(0, 1))  # the moment of the kill is what varies
        hub.kill()
        hub = fleet.start_hub()
        fleet.wait_alive(hub)
        time.sleep(random.uniform(0.5, 1.5))
        agent.kill()
        agent = _agent(processes)
    _sampled(processes)
    eventually(lambda: _pending(fleet) <= 5, "what the kills left is delivered", 40, 0.5)
    assert agent.stop(10) == 0
    assert hub.stop(10) == 0
    (stopped,) = [json.loads(line) for line in agent.log.splitlines() if "agent stopped" in line]
    assert stopped["undelivered_batches"] == 0
    found, row = _verify(processes, fleet, 0)
    ledger, compactions = _ledger(processes), _compactions(fleet.folder / "store")
    wanted = sum(map(len, ledger.samples(ledger.spooled).values()))
    print(f"{row['samples']} samples, {row['proven']} proven, {row['open_batches']} open, {compactions} compactions")  # noqa: T201
    assert not found["broken"] and not row["broken"] and row["dropped_batches"] == 0
    assert row["open_batches"] <= ROUNDS and set(row["not_provable"]) <= {"open"} and compactions > 0
    assert row["proven"] + sum(row["not_provable"].values()) >= wanted > 10_000
    at_ms = _change_one_byte(fleet.folder / "store")
    found, row = _verify(processes, fleet, 1)
    offence = row["first_offence"]
    assert [one["agent"] for one in found["agents"] if one["broken"]] == ["a"] and list(row["broken"]) == ["changed"]
    assert (offence["epoch"], offence["seq"]) in ledger.sealed and offence["from_ms"] <= at_ms <= offence["to_ms"]


def _join(processes: Processes, fleet: Fleet) -> None:
    with HubClient("", fleet.folder) as client:
        token = client.post("/api/v1/admin/invites", {"name": "a", "addresses": [fleet.url]})["token"]
    joined = processes.run("join", token, "--no-run", "--name", "a", "--data", str(processes.folder / "a"))
    assert joined.returncode == 0, joined


def _ledger(processes: Processes) -> Ledger:
    return Ledger.read(processes.folder / "ledger")


def _sampled(processes: Processes) -> None:
    """Until the agent that was started last has taken some batches."""
    seen = len(_ledger(processes).spooled) if (processes.folder / "ledger" / LEDGER).exists() else 0

    def more() -> bool:
        return (processes.folder / "ledger" / LEDGER).exists() and len(_ledger(processes).spooled) > seen + 5

    eventually(more, "the agent samples", 30, 0.2)


def _pending(fleet: Fleet) -> float:
    found = value(fleet.url, 'max(peerwatch_ship_pending_batches{instance="a"})')
    return np.inf if found is None else found


def _compactions(store: Path) -> int:
    """How many blocks were made of others."""
    return sum(bool(block.footer.replaces) for block in StoreReader(store, envelope_decoder()).blocks)


def _change_one_byte(store: Path) -> int:
    """The lowest byte of one sample of the agent's, in a block that a signed run covers; its time."""
    reader = StoreReader(store, envelope_decoder())
    window = reader.windows()[0]
    mine = reader.dictionary.find((Matcher("instance", MatchOp.EQUAL, "a"),), window.start_ms, window.end_ms)[0]
    at_ms = int(reader.provenance(window).table[4].min())
    changed: list[int] = []

    def change(ids: Int64Array, times: Int64Array, values: Float64Array, presence: BoolArray) -> None:
        found = np.flatnonzero((times == at_ms) & presence[0])
        if not changed and len(found) and ids[0] in mine:
            values[0].view(np.uint8)[8 * found[0]] ^= 1
            changed.append(int(ids[0]))

    for block in window.blocks:
        rewrite(block, change)
    assert len(changed) == 1
    return at_ms
