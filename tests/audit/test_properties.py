"""Whatever agents send and whenever it is flushed and merged: all of it is proven, and one changed cell is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatch.agent.seal import Sealer
from peerwatch.audit.report import Reason
from peerwatch.model import Batch, BatchBlock, BoolArray, Float64Array, Int64Array, SampleMatrix, Series
from tests.audit.kit import START_MS, AuditedHub, Change, reasons, tally
from tests.collector.kit import EPOCH, series

ROWS = series(*({"row": str(row)} for row in range(6)), {"__name__": "up"}, {"instance": "mine", "job": "own"})
_TARGETS = [("", ""), ("db", ""), ("", "10.0.0.1:9100"), ("web", "10.0.0.2:80")]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a batch is made of: per block its place, rows, ticks and the seed of its values and holes."""

    blocks: list[tuple[int, int, int, int]]
    restart: bool
    flush: bool


_BLOCKS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 255), st.integers(1, 4), st.integers(0, 99)),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one[0],
)
_PLANS = st.lists(
    st.builds(_Plan, _BLOCKS, st.integers(0, 30).map(lambda n: n == 0), st.integers(0, 12).map(lambda n: n == 0)),
    min_size=65,
    max_size=90,
)


def _batch(plan: _Plan, at_ms: int) -> Batch:
    return Batch(tuple(_block(*one, at_ms) for one in plan.blocks))


def _block(place: int, rows: int, ticks: int, seed: int, at_ms: int) -> BatchBlock:
    chosen: tuple[Series, ...] = tuple(one for row, one in enumerate(ROWS) if rows >> row & 1)
    random = np.random.default_rng([seed, rows])
    values = random.choice([0.0, -0.0, np.nan, np.inf, 1.5, 1e-300, 12345.678], (len(chosen), ticks))
    values += np.where(random.random(values.shape) < 0.5, random.normal(0, 1e3, values.shape), 0.0)
    presence = random.random(values.shape) < 0.8 if seed % 2 else None
    if presence is not None:
        values = np.where(presence, values, 0.0)
    job, target = _TARGETS[place]
    times = at_ms + np.arange(ticks) * 2_000 + place
    return BatchBlock(chosen, SampleMatrix(times.astype(np.int64), values, presence), job, target)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(_PLANS, st.booleans(), st.integers(0, 10**6))
def test_all_is_proven_and_one_changed_cell_is_found(plans: list[_Plan], compact: bool, choice: int) -> None:
    """Holes, odd values, changing series and targets, restarts; runs that span blocks and windows; late flushes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        hub = AuditedHub(folder)
        hub.clock.advance(3_000)
        agent = hub.hub.agent("one")
        epoch, file = EPOCH, folder / "open_run"
        agent.sealer = Sealer(agent.fleet, agent.sender, agent.key, epoch, run_file=file)
        waiting: list[bytes] = []
        samples = 0
        for number, plan in enumerate(plans):
            if plan.restart:
                epoch += 1
                agent.sealer.close()
                agent.sealer = Sealer(agent.fleet, agent.sender, agent.key, epoch, run_file=file)
            batch = _batch(plan, START_MS + 10_000 * number)
            samples += batch.sample_count
            waiting.append(agent.request(agent.seal(batch)))
            if plan.flush:
                hub.push(*waiting)
                hub.flush()
                waiting = []
        if waiting:
            hub.push(*waiting)
        agent.sealer.close()
        hub.flush()
        if compact:
            hub.compact()
        found = tally(hub.audit(), "one")
        assert not found.broken and set(found.unproven) <= {Reason.OPEN}
        assert found.samples == samples and found.unsigned == 0
        changed: list[int] = []
        hub.tamper(_flip(choice % max(1, samples), changed))
        again = tally(hub.audit(), "one")
        if changed:
            assert again.proven < found.proven or again.unproven[Reason.OPEN] == found.unproven[Reason.OPEN]
            in_run = found.proven - again.proven
            assert dict(again.broken) == ({Reason.CHANGED: in_run} if in_run else {})
            offence = again.first_offence
            assert (offence is None) == (in_run == 0)
            if offence is not None:
                assert offence.first_ms <= changed[0] <= offence.last_ms
        else:
            assert reasons(again) == reasons(found)


def _flip(skip: int, changed: list[int]) -> Change:
    """Flips the lowest bit of the sample number `skip`, in the order of blocks."""
    passed = [0]

    def change(ids: Int64Array, times: Int64Array, values: Float64Array, presence: BoolArray) -> None:
        here = np.flatnonzero(presence[0])
        if not changed and passed[0] <= skip < passed[0] + len(here):
            at = int(here[skip - passed[0]])
            values.view(np.uint64)[0, at] ^= 1
            changed.append(int(times[at]))
        passed[0] += len(here)

    return change
