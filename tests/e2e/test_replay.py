"""Captured envelopes are worth nothing: not after a restart of the hub, of the agent, nor from a copy of the spool."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest

from peerwatch.store.disk import Disk
from peerwatch.store.entry import EnvelopeRecord, RecordType, decode_envelope_record
from peerwatch.store.wal import read_segment, segment_numbers
from peerwatch.wire.compression import Compressor
from peerwatch.wire.push import PushReply, RefusalReason, decode_reply, encode_request
from tests.e2e.fleet import Fleet
from tests.e2e.processes import QUICK, Processes, Running, eventually

pytestmark = pytest.mark.e2e
NEVER_FLUSHING = {"PEERWATCH_STORE_FLUSH_INTERVAL_S": "3600"}
"""So that everything ever stored can be counted in the WAL."""
AT_ONCE = {"PEERWATCH_DELIVERY_NEWCOMER_S": "0", **QUICK}
"""So that an epoch is closed when the next one begins, and not when nothing of it is kept for newcomers any more."""


def _stored(fleet: Fleet) -> list[EnvelopeRecord]:
    """Every envelope in the hub's WAL, as it came: what somebody on the way could have captured."""
    disk, folder = Disk(), fleet.folder / "store" / "wal"
    found = []
    for number in segment_numbers(disk.names(folder)):
        scanned = read_segment(disk, folder, number).scan
        records = scanned.records if scanned else []
        found += [decode_envelope_record(one.payload) for one in records if one.type == RecordType.ENVELOPE]
    return found


def _numbers(fleet: Fleet) -> Counter[tuple[bytes, int, int]]:
    return Counter((one.sender, one.epoch, one.seq) for one in _stored(fleet))


def _replay(fleet: Fleet, captured: list[EnvelopeRecord]) -> PushReply:
    body = encode_request([one.raw for one in captured], [], Compressor())
    headers = {"content-type": "application/x-protobuf"}
    answer = httpx.post(f"{fleet.url}/api/v1/push", content=body, headers=headers, trust_env=False, timeout=20)
    assert answer.status_code == 200, answer.text
    return decode_reply(answer.content)


def _acked(reply: PushReply) -> int:
    return sum(last - first + 1 for ack in reply.acks for first, last in ack.runs)


def _joined(processes: Processes, fleet: Fleet, name: str) -> Path:
    data = processes.folder / name
    invited = processes.run("invite", "--name", name, "--json", "--data", str(fleet.folder))
    done = processes.run("join", json.loads(invited.stdout)["token"], "--no-run", "--data", str(data))
    assert done.returncode == 0, done
    return data


def _agent(processes: Processes, data: Path) -> Running:
    return processes.start("agent", "--data", str(data), "--metrics-port", "0", extra=AT_ONCE)


def _restarted(fleet: Fleet, hub: Running, *, crash: bool = False) -> Running:
    if crash:
        hub.kill()
    else:
        assert hub.stop() == 0
    again = fleet.start_hub()
    fleet.wait_alive(again)
    return again


def test_a_captured_envelope_is_stored_once_whoever_restarts(processes: Processes) -> None:
    """Replayed after a stop and after a crash of the hub, after a restart of the agent, and after both."""
    fleet = Fleet(processes, NEVER_FLUSHING)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    data = _joined(processes, fleet, "one")
    agent = _agent(processes, data)
    eventually(lambda: len(_stored(fleet)) >= 4, "batches are stored", 40)
    assert agent.stop() == 0
    captured = _stored(fleet)
    for crash in (False, True):
        hub = _restarted(fleet, hub, crash=crash)
        assert _acked(_replay(fleet, captured)) == len(captured)  # acknowledged again, not stored again
        assert _numbers(fleet) == Counter((one.sender, one.epoch, one.seq) for one in captured)
    agent = _agent(processes, data)  # a new epoch, which closes the one before
    eventually(lambda: len(_stored(fleet)) >= len(captured) + 4, "new batches are stored", 40)
    for restart in (False, True):
        if restart:
            assert agent.stop() == 0
            hub = _restarted(fleet, hub)
        reply = _replay(fleet, captured)
        assert [one.reason for one in reply.refusals] == [RefusalReason.CLONED] * len(captured), restart
        assert set(_numbers(fleet).values()) == {1}


def test_a_copied_spool_delivers_nothing_twice(processes: Processes) -> None:
    """Two agents with one identity and the same undelivered batches: each number is stored once, the clone is told."""
    fleet = Fleet(processes, NEVER_FLUSHING)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    data = _joined(processes, fleet, "one")
    assert hub.stop() == 0
    agent = _agent(processes, data)
    eventually(lambda: _spooled_bytes(data) > 10_000, "batches wait in the spool", 40)
    assert agent.stop() == 0
    clone = processes.folder / "clone"
    shutil.copytree(data, clone)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    both = [_agent(processes, data), _agent(processes, clone)]
    eventually(lambda: "two machines use one identity" in hub.log, "the hub notices", 60)
    for one in both:
        one.stop()
    found = _numbers(fleet)
    assert set(found.values()) == {1}
    epochs = sorted({epoch for _, epoch, _ in found})
    assert len(epochs) >= 2  # what waited, and what a newer epoch brought


def _spooled_bytes(data: Path) -> int:
    return sum(path.stat().st_size for path in (data / "spool").glob("*.seg")) if (data / "spool").exists() else 0
