"""What one push of 600 samples costs the collector, by stage and as a whole, with the store taken out.

    PYTHONPATH=src python bench/collector.py [pushes]

Stages are medians of single calls; "all in" is many concurrent pushes on one event loop divided by their number, best
of nine rounds. All of it is CPU time (event loop and store thread), which a busy machine disturbs less than wall time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import numpy as np

from peerwatch.agent.seal import Sealer
from peerwatch.collector.collector import Collector
from peerwatch.collector.config import CollectorConfig
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.roster import AGENT
from peerwatch.model import (
    Batch,
    BatchBlock,
    EnvelopeEntry,
    Labels,
    Layout,
    Marks,
    MetricType,
    RowsEntry,
    SampleMatrix,
    Series,
    SystemClock,
)
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.ack import AckBody, sign_acks
from peerwatch.wire.baseline import Baseline, decode_baseline
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.push import ReplyDraft, decode_request, encode_request

SERIES, TICKS, AGENTS = 300, 2, 64


class NullStore:
    """Takes everything and keeps nothing."""

    horizon_ms = 0

    def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """A handle for any series."""
        return Layout(id(series), series, np.arange(len(series)))

    def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        """Durable at once."""

    def marks(self) -> Marks:
        """Nothing is stored."""
        return Marks()

    def close_epochs(self, sender: bytes, below: int) -> None:
        """Nothing to forget."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One sender and the requests that it will push; `first` brings the schema and the baseline of all others."""

    key: PrivateKey
    first: bytes
    envelopes: list[bytes]
    baseline: Baseline


def series() -> tuple[Series, ...]:
    """A host's series: 60 metrics, 5 label sets each."""
    return tuple(
        Series(Labels.of(__name__=f"node_metric_{row // 5}_total", device=f"dev{row % 5}", mode="user"),
               MetricType.COUNTER, "help")
        for row in range(SERIES)
    )  # fmt: skip


def batches(count: int, seed: int) -> list[Batch]:
    """Counters that grow by whole numbers, gauges with one to three decimals, some constants."""
    random = np.random.default_rng(seed)
    labels = series()
    steps = random.integers(0, 1000, (SERIES, count * TICKS)) * random.choice([0, 1, 1, 7], (SERIES, 1))
    values = np.round(steps.cumsum(axis=1) / random.choice([1, 1, 10, 100, 1000], (SERIES, 1)), 3)
    now_ms = time.time_ns() // 1_000_000
    out = []
    for at in range(0, count * TICKS, TICKS):
        times = np.array([now_ms - 5000 * (count * TICKS - at - tick) for tick in range(TICKS)], np.int64)
        out.append(Batch((BatchBlock(labels, SampleMatrix(times, np.ascontiguousarray(values[:, at : at + TICKS]))),)))
    return out


def make_agents(authority: Authority, rounds: int) -> list[Agent]:
    """Members with their sealed batches; the first request brings the schema."""
    agents = []
    for number in range(AGENTS):
        key = PrivateKey.generate()
        authority.admit(key.public, key.public, f"host-{number}", (AGENT,))
        sealer = Sealer(authority.fleet, key.public, key, 1_700_000_000_000)
        sealed = []
        for batch in batches(rounds + 2, number):
            sealed.append(sealer.seal(batch, 0, None))
            sealer.sent()
        box = Compressor()
        first = encode_request([one.item.envelope for one in sealed[:2]], list(sealed[1].schemas.values()), box)
        (name,) = sealed[1].schemas.keys() - sealed[0].schemas.keys()
        requests = [encode_request([one.item.envelope], [], box) for one in sealed[2:]]
        agents.append(Agent(key, first, requests, decode_baseline(sealed[1].schemas[name])))
    return agents


def median_us(call: Callable[[], object], count: int = 400) -> float:
    """The median of single calls, in microseconds."""
    spans = []
    for _ in range(count):
        start = time.thread_time_ns()
        call()
        spans.append(time.thread_time_ns() - start)
    return statistics.median(spans) / 1000


def stages(agent: Agent, authority: Authority) -> dict[str, float]:
    """Median of each stage on one push; `ack sign` per ack of a group of 64."""
    box, raw = Compressor(), agent.envelopes[-1]
    (envelope_raw,) = decode_request(raw).envelopes
    envelope = parse_envelope(envelope_raw)
    verifier = Verifier(agent.key.public)
    known = {agent.baseline.id: agent.baseline}
    header = envelope.header
    run = ((header.seq, header.seq),)
    bodies = [AckBody(header.fleet, header.sender, header.epoch, run, 1) for _ in range(AGENTS)]
    acks = sign_acks(authority.keys.signing, bodies)
    return {
        "request decode": median_us(lambda: decode_request(raw)),
        "envelope parse": median_us(lambda: parse_envelope(envelope_raw)),
        "verify": median_us(lambda: envelope.verify(verifier)),
        "open": median_us(lambda: envelope.open(box, baseline_of=known.get)),
        "ack sign": median_us(lambda: sign_acks(authority.keys.signing, bodies), 50) / AGENTS,
        "reply encode": median_us(lambda: ReplyDraft(1, authority.member, acks=acks[:1]).encode()),
    }


async def whole(authority: Authority, agents: list[Agent]) -> float:
    """CPU microseconds per push with all agents pushing at once."""
    config = CollectorConfig(max_bytes_per_s=1e12, burst_bytes=1 << 40)
    collector = Collector(NullStore(), authority, config, SystemClock(), CollectorRegistry())
    async with anyio.create_task_group() as tasks:
        await tasks.start(collector.run)

        async def push_all(requests: list[bytes]) -> None:
            for request in requests:
                await collector.push(request)

        async with anyio.create_task_group() as pushers:
            for agent in agents:
                pushers.start_soon(push_all, [agent.first])
        start = time.process_time()
        async with anyio.create_task_group() as pushers:
            for agent in agents:
                pushers.start_soon(push_all, agent.envelopes)
        spent_s = time.process_time() - start
        collector.close()
    return spent_s / sum(len(agent.envelopes) for agent in agents) * 1e6


def main(pushes: int = 3200) -> None:
    """Print the stages and the whole."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.open(Path(folder), "hub", SystemClock())
        agents = make_agents(authority, pushes // AGENTS)
        size_bytes = len(agents[0].envelopes[-1])
        print(f"push of {SERIES} series x {TICKS} ticks, {size_bytes} bytes, {AGENTS} at once, us of CPU")
        spans = stages(agents[0], authority)
        rounds = [anyio.run(whole, authority, agents, backend_options={"use_uvloop": True}) for _ in range(9)]
    for name, spent in spans.items():
        print(f"  {name:16} {spent:7.1f}")
    print(f"  {'decide, commit':16} {min(rounds) - sum(spans.values()):7.1f}  (the rest)")
    print(f"  {'all in':16} {min(rounds):7.1f}  rounds: {', '.join(f'{one:.0f}' for one in rounds)}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
