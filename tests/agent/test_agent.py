"""The sampling half as a whole: from /proc to batches."""

from __future__ import annotations

from pathlib import Path

import anyio

from peerwatch.agent.agent import Agent
from peerwatch.agent.aggregate import Aggregate, AggregationRule
from peerwatch.agent.config import AgentConfig, SourceSetting
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.sources.node import Page
from peerwatch.errors import DiskFullError
from peerwatch.model import Batch
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.exposition import ExpositionParser
from tests.agent.shapes import columns
from tests.agent.trees import tree
from tests.agent.virtual_time import VirtualTime

START_MS = 1_700_000_000_000
FIVE_S = AgentConfig(phase=0.0)


class Story:
    """An agent on the large tree, in virtual time."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        lanes: int = 1,
        refusals: int = 0,
        root: ProcRoot | None = None,
        node: Page | None = None,
    ) -> None:
        self.clock = ManualClock(now_ms=START_MS)
        self.registry = CollectorRegistry()
        self.batches: list[Batch] = []
        self.lanes = lanes
        self.refusals = refusals
        self.time: VirtualTime | None = None
        self.agent = Agent(
            config,
            self.deliver,
            self.registry,
            clock=self.clock,
            root=root or tree("large"),
            platform="linux",
            sleep=self.sleep,
            node=node,
        )

    def deliver(self, batch: Batch) -> None:
        if self.refusals:
            self.refusals -= 1
            raise DiskFullError("spool: disk full")
        self.batches.append(batch)

    async def sleep(self, seconds: float) -> None:
        assert self.time is not None
        await self.time.sleep(seconds)

    def run(self, seconds: float) -> list[Batch]:
        async def main() -> None:
            self.time = VirtualTime(self.clock, self.lanes, seconds)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.agent.run)
                await self.time.over.wait()
                tasks.cancel_scope.cancel()

        anyio.run(main)
        return self.batches


ONE_LANE = {name: SourceSetting(enabled=False) for name in ("uname", "netclass")}


def times(batches: list[Batch]) -> list[list[list[int]]]:
    return [[[(t - START_MS) // 1000 for t in b.matrix.times_ms.tolist()] for b in batch.blocks] for batch in batches]


def test_a_report_every_ten_seconds() -> None:
    """Two ticks of five seconds per batch, the first at once; all fast sources are one block with one schema."""
    batches = Story(AgentConfig(phase=0.0, sources=ONE_LANE)).run(25)
    assert times(batches)[:2] == [[[0, 5]], [[10, 15]]]
    assert batches[1].blocks[0].series is batches[0].blocks[0].series
    assert batches[0].blocks[0].matrix.presence is None
    content = columns(batches[0].blocks[0])[START_MS]
    assert content['node_cpu_seconds_total{cpu="0", mode="user"}'] == 81234.56
    assert content['node_scrape_collector_success{collector="cpu"}'] == 1
    assert content["node_time_seconds"] == START_MS / 1000


def test_up_ships_every_tick() -> None:
    """With a report as long as a sample, a page lives with the tick."""
    batches = Story(AgentConfig(phase=0.0, report_interval_s=5.0, sources=ONE_LANE)).run(12)
    assert times(batches)[:3] == [[[0]], [[5]], [[10]]]


def test_slow_sources_are_a_block_of_their_own() -> None:
    """Once a minute, at once for the first time; what is gathered at the end is delivered too."""
    batches = Story(FIVE_S, lanes=2).run(17)
    assert [len(batch.blocks) for batch in batches] == [2, 1]
    slow = {s.labels.metric for s in min(batches[0].blocks, key=lambda block: len(block.matrix.times_ms)).series}
    assert {"node_uname_info", "node_network_up"} <= slow and "node_load1" not in slow


def test_stopping_delivers_what_is_there() -> None:
    """A tick that waits for its report is not lost when the agent ends."""
    assert sum(len(b.blocks[0].matrix.times_ms) for b in Story(AgentConfig(phase=0.0, sources=ONE_LANE)).run(10)) == 3


def test_latest_is_what_a_prometheus_would_pull() -> None:
    """Every series of the host once, as text that parses, with the agent's own counters."""
    story = Story(FIVE_S, lanes=2)
    assert story.agent.latest() == [] and story.agent.exposition() == b""
    story.run(12)
    found = ExpositionParser().parse(story.agent.exposition())
    values = {str(s.labels): float(v) for s, v in zip(found.series, found.values, strict=True)}
    assert found.duplicates == 0 and len(values) == len(story.agent.latest())
    assert values["node_load1"] == 3.45
    assert (
        values[
            'node_uname_info{domainname="(none)", machine="x86_64", nodename="big-host", '
            'release="6.8.0-45-generic", sysname="Linux", '
            'version="#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024"}'
        ]
        == 1
    )
    assert values["peerwatch_agent_batches_total"] >= 1


def test_a_batch_that_is_refused_does_not_stop_sampling() -> None:
    """A full disk loses that batch, which is counted, and nothing after it."""
    story = Story(AgentConfig(phase=0.0, sources=ONE_LANE), refusals=1)
    story.run(30)
    assert times(story.batches)[0] == [[10, 15]]
    assert story.registry.get_sample_value("peerwatch_agent_batches_refused_total") == 1


def test_aggregated_metrics_come_once_per_window() -> None:
    """Rules thin out what they name, in a block of its own, and touch nothing else."""
    rules = (AggregationRule("node_load.*", 20, (Aggregate.MAX,)),)
    batches = Story(AgentConfig(phase=0.0, sources=ONE_LANE, aggregation=rules)).run(45)
    fast = [block for batch in batches for block in batch.blocks if len(block.series) > 10]
    windows = [block for batch in batches for block in batch.blocks if len(block.series) <= 10]
    assert not any(s.labels.metric.startswith("node_load") for block in fast for s in block.series)
    assert [columns(block) for block in windows][:2] == [
        {START_MS + at: {"node_load1:max": 3.45, "node_load5:max": 2.5, "node_load15:max": 1.75}}
        for at in (15_000, 35_000)
    ]


def test_a_machine_without_anything_still_ticks(tmp_path: Path) -> None:
    """With every source failing there is a batch that says so."""
    story = Story(FIVE_S, lanes=2, root=ProcRoot.under(tmp_path))
    first = story.run(5)[0]
    values = {name: value for block in first.blocks for name, value in columns(block)[START_MS].items()}
    assert values['node_scrape_collector_success{collector="time"}'] == 1
    assert values['node_scrape_collector_success{collector="cpu"}'] == 0
    assert values["node_time_seconds"] == START_MS / 1000
