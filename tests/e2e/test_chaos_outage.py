"""The hub is away for two minutes: agents keep everything, deliver it without a gap, and the newest never waits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet, finish, undelivered
from tests.e2e.ledger import Ledger
from tests.e2e.processes import Processes, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
OUTAGE_S = float(os.environ.get("PEERWATCH_TEST_OUTAGE_S", "120"))
FRESH_S = 10.0
AGENTS = [f"b{number}" for number in range(6)]


def _arrival(ledger: Ledger, gone_s: float, back_s: float) -> tuple[float, float, float]:
    """Of one agent, in seconds after the hub came back: when the newest batch of the outage arrived and when the first
    of those that were no longer fresh; and the longest that a batch sealed after the return waited."""
    outage = {position: one for position, one in ledger.sealed.items() if gone_s < one.at_s < back_s}
    old = [ledger.acked[position] for position, one in outage.items() if one.at_s < back_s - FRESH_S - 10]
    later = [ledger.acked[position] - one.at_s for position, one in ledger.sealed.items() if one.at_s >= back_s + 5]
    return ledger.acked[max(outage)] - back_s, min(old) - back_s, max(later)


def test_agents_back_fill_an_outage_without_a_gap_and_fresh_samples_go_first(processes: Processes) -> None:
    """All of the outage arrives, exactly once; its newest batch before any old one; what comes later waits for none."""
    fleet = Fleet(processes)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    pusher = fleet.push(AGENTS, interval_s=0.2, fresh_s=FRESH_S, backfill_bytes=4096, drain_s=120)
    time.sleep(5)  # a while of ordinary reports
    assert hub.stop(10) == 0
    gone_s = time.time()
    time.sleep(OUTAGE_S)
    back_s = time.time()
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    time.sleep(15)  # ordinary reports again, beside the back-fill
    assert undelivered(finish(pusher)) == {}
    arrivals = {name: _arrival(ledger, gone_s, back_s) for name, ledger in fleet.ledgers().items()}
    for name, (newest_s, oldest_s, waited_s) in arrivals.items():
        print(f"{name}: newest +{newest_s:.1f} s, first old one +{oldest_s:.1f} s, later ones waited {waited_s:.2f} s")  # noqa: T201
    assert fleet.compare().good
    for name, ledger in fleet.ledgers().items():
        assert set(ledger.sealed) == set(ledger.acked), name
        during = sorted(one.at_s for one in ledger.sealed.values() if gone_s < one.at_s < back_s)
        assert len(during) > 0.5 * OUTAGE_S / 0.2, f"{name} stopped sampling"
        newest_s, oldest_s, waited_s = arrivals[name]
        assert newest_s < oldest_s, f"{name}: the back-fill came first"
        assert waited_s < 5, f"{name}: fresh batches waited behind the back-fill"
    assert hub.stop(10) == 0


@pytest.mark.parametrize("guard_bytes", [8 << 20, 0], ids=["low-disk guard", "no space left"])
def test_a_full_disk_refuses_and_nothing_is_lost_when_space_returns(
    processes: Processes, tmpfs: tuple[str, ...], guard_bytes: int
) -> None:
    """The hub stays up and says 503, agents keep their batches; with space again all of them are stored, once."""
    extra = {
        "PEERWATCH_STORE_MIN_FREE_BYTES": str(guard_bytes),
        "PEERWATCH_STORE_SEGMENT_BYTES": str(1 << 20),
        "PEERWATCH_STORE_FLUSH_INTERVAL_S": "2",
    }
    fleet = Fleet(processes, extra)
    hub = fleet.start_hub((*tmpfs, str(fleet.folder)))
    fleet.wait_alive(hub)
    inside = Path(f"/proc/{hub.process.pid}/root") / fleet.folder.relative_to("/")
    fleet_socket = inside / "hub.sock"
    eventually(fleet_socket.exists, "the folder of the hub is seen from outside")
    pusher = fleet.push(AGENTS, interval_s=0.1, socket_folder=inside)
    time.sleep(3)
    _fill(inside / "ballast")
    eventually(lambda: not fleet.is_ready(), "the hub says that it cannot store", 30)
    refused_s = time.time()
    time.sleep(10)
    assert fleet.is_alive(), "a full disk must not end the hub"
    assert not fleet.is_ready()
    (inside / "ballast").unlink()
    freed_s = time.time()
    eventually(fleet.is_ready, "the hub stores again", 30)
    time.sleep(3)
    assert undelivered(finish(pusher)) == {}
    during = [
        one for ledger in fleet.ledgers().values() for one in ledger.sealed.values() if refused_s < one.at_s < freed_s
    ]
    early = [at for ledger in fleet.ledgers().values() for at in ledger.acked.values() if refused_s + 2 < at < freed_s]
    verdict = fleet.compare()
    print(f"sealed while full={len(during)} acknowledged={verdict.wanted} answered={verdict.answered}")  # noqa: T201
    assert len(during) > 100 and not early
    assert verdict.good, verdict
    assert hub.stop(10) == 0


def _fill(path: Path) -> None:
    """Write until there is no space left, to the last byte."""
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    ballast.write(b"\xaa" * size)
            except OSError:
                continue
