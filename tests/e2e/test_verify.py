"""`peerwatch verify` of a running hub, of a stopped one and of a snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peerwatch.cli.hub_client import HubClient
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.store.reader import StoreReader
from tests.audit.kit import rewrite, set_value
from tests.e2e.fleet import Fleet, finish
from tests.e2e.ledger import LEDGER, Ledger
from tests.e2e.processes import Processes, eventually, recorded

pytestmark = pytest.mark.e2e
FLUSHING = {"PEERWATCH_STORE_FLUSH_INTERVAL_S": "2"}
SMALL_SPOOL = {
    "PEERWATCH_AGENT_SAMPLE_INTERVAL_S": "0.1",
    "PEERWATCH_AGENT_REPORT_INTERVAL_S": "0.1",
    "PEERWATCH_SPOOL_MAX_ITEMS": "40",
}


def _verify(processes: Processes, data: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = processes.run("verify", "--json", "--data", str(data), *arguments)
    assert done.returncode == code, done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _agent(found: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [one for one in found["agents"] if one["agent"] == name]
    return dict(row)


def test_what_agents_signed_is_proven_wherever_it_lies(processes: Processes) -> None:
    """While the hub runs and flushes; after it was killed; on a snapshot; and a changed value in a block is found."""
    fleet = Fleet(processes, FLUSHING)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    pusher = fleet.push(["a", "b"], interval_s=0.02)
    eventually(lambda: _proven(processes, fleet) > 10_000, "runs are signed", 60)
    live = _verify(processes, Path(fleet.folder.name))  # relative to where it is called
    assert not live["broken"] and not list(fleet.folder.glob("verify-*"))
    finish(pusher)
    snapshot = processes.folder / "copy"
    assert processes.run("snapshot", str(snapshot), "--data", str(fleet.folder)).returncode == 0
    hub.kill()
    stopped, copied = _verify(processes, fleet.folder), _verify(processes, fleet.folder, "--store", str(snapshot))
    assert stopped["agents"] == copied["agents"] and not stopped["broken"]
    for name, ledger in fleet.ledgers().items():
        row = _agent(stopped, name)
        acked = [ledger.sealed[place].blocks for place in ledger.acked]
        signed = sum(len(keys) * len(times) for blocks in acked for keys, times, _ in blocks)
        assert row["proven"] + sum(row["not_provable"].values()) == signed and row["proven"] > 0
        assert set(row["not_provable"]) <= {"open"}
    table = processes.run("verify", "--data", str(fleet.folder), "--agent", "a", "chaos_value{number='3'}")
    assert table.returncode == 0 and "nothing contradicts what was signed" in table.stdout, table
    assert "root key" in table.stdout and " a " in table.stdout and " b " not in table.stdout
    _change_one_value(snapshot)
    broken = _verify(processes, fleet.folder, "--store", str(snapshot), code=1)
    (row,) = [one for one in broken["agents"] if one["broken"]]
    assert set(row["broken"]) == {"changed"} and row["first_offence"]["epoch"] > 0
    told = processes.run("verify", "--data", str(fleet.folder), "--store", str(snapshot))
    assert told.returncode == 1 and "stored samples are not those that were signed" in told.stdout
    assert f"batch {row['first_offence']['epoch']}/{row['first_offence']['seq']}" in told.stdout.replace("\n", " ")


def _proven(processes: Processes, fleet: Fleet) -> int:
    return sum(one["proven"] for one in _verify(processes, fleet.folder)["agents"])


def _change_one_value(snapshot: Path) -> None:
    """In the oldest block, at a time that a signed run covers."""
    reader = StoreReader(snapshot, envelope_decoder())
    block = reader.blocks[0]
    rewrite(block, set_value(int(reader.provenance(reader.windows()[0]).table[4].min()), 1.5))


def test_what_a_full_spool_dropped_is_no_hubs_fault(processes: Processes) -> None:
    """A real agent whose hub is away for longer than its spool is large: as many as it dropped, and none missing."""
    fleet = Fleet(processes, FLUSHING)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    with HubClient("", fleet.folder) as client:
        token = client.post("/api/v1/admin/invites", {"name": "a", "addresses": [fleet.url]})["token"]
    folder, data = processes.folder / "ledger", str(processes.folder / "a")
    assert processes.run("join", token, "--no-run", "--name", "a", "--data", data).returncode == 0
    agent = processes.program(recorded(folder, "agent", "--data", data, "--metrics-port", "0"), "agent", SMALL_SPOOL)
    eventually(lambda: (folder / LEDGER).exists() and len(Ledger.read(folder).spooled) > 70, "batches are spooled", 40)
    hub.kill()
    away_from = len(Ledger.read(folder).spooled)
    eventually(lambda: len(Ledger.read(folder).spooled) > away_from + 100, "the spool is full", 40)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    back = len(Ledger.read(folder).spooled)
    eventually(lambda: len(Ledger.read(folder).spooled) > back + 20, "it goes on", 40)
    assert agent.stop(10) == 0
    assert hub.stop(10) == 0
    found = _verify(processes, fleet.folder)
    row, spooled = _agent(found, "a"), Ledger.read(folder).spooled
    marks = StoreReader(fleet.folder / "store", envelope_decoder()).marks()
    senders = {sender for sender, _, _ in marks}
    lacking = [number for number in spooled if not any(marks.contains(one, *number) for one in senders)]
    assert row["dropped_batches"] == len(lacking) > 40
    assert row["broken"] == {} and row["open_batches"] < 64
    told = processes.run("verify", "--data", str(fleet.folder))
    assert (
        f"a: {row['dropped_batches']} batches are not here: the agent says that its spool dropped them" in told.stdout
    )


def test_verify_says_what_is_wrong(processes: Processes) -> None:
    """No store, no roster, an unknown agent, a selector that does not parse, a time that is none."""
    processes.up()
    data = str(processes.folder / "hub")
    for arguments, words in (
        (("--data", str(processes.folder / "nowhere")), "fleet/membership.bin"),
        (("--data", data, "--agent", "nobody"), "the roster knows no agent of that name"),
        (("--data", data, "node_load1{"), "parse error"),
        (("--data", data, "--from", "soon"), "--from: 'soon'"),
        (("--data", data, "--from", "1h", "--to", "2h"), "--from 1h is later than --to 2h"),
    ):
        done = processes.run("verify", *arguments)
        assert done.returncode in (1, 2) and words in done.stderr, done
    none = processes.folder / "empty"
    none.mkdir()
    done = processes.run("verify", "--data", data, "--store", str(none))
    assert done.returncode == 1 and "is no store" in done.stderr, done
