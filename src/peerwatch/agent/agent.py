"""Agent: samples this machine and its targets, and delivers batches."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import anyio
from anyio.abc import TaskStatus

from peerwatch.agent.aggregate import Aggregator
from peerwatch.agent.batcher import Batcher
from peerwatch.agent.config import AgentConfig, ScrapeConfig
from peerwatch.agent.grid import Grid
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.schedule import Group, Schedule
from peerwatch.agent.sources.kinds import SourceContext, select_sources
from peerwatch.agent.sources.node import NODE_JOB, NodeSource, Page
from peerwatch.agent.tick import Tick
from peerwatch.errors import PeerwatchError
from peerwatch.model import Batch, Clock, Series, SystemClock, is_stale
from peerwatch.telemetry import CollectorRegistry, Counter, get_logger
from peerwatch.wire.exposition import write_exposition

Deliver = Callable[[Batch], None]
_NODE_EVERY = 3  # sampling intervals: 15 s by default, the field's for pulled targets

_log = get_logger("agent")


class Agent:
    """Owns the schedule, the aggregation and the open batch of one machine.

    It only reads: no argument and no message makes it run a command or write a file. `deliver` is called in the event
    loop with each complete batch; it must not block, and if it raises a PeerwatchError the batch is lost, counted and
    logged, and sampling goes on. `node` gives the metrics of the libp2p node beside this agent, where there is one.
    """

    def __init__(
        self,
        config: AgentConfig,
        deliver: Deliver,
        registry: CollectorRegistry,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        root: ProcRoot | None = None,
        platform: str = sys.platform,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        node: Page | None = None,
    ) -> None:
        clock = clock or SystemClock()
        phase = config.phase if config.phase is not None else (random or Random()).random()
        self._deliver = deliver
        self._aggregator = Aggregator(config.aggregation, phase)
        self._latest: dict[str, Tick] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        context = SourceContext(config, root or ProcRoot(), registry, self._count_tasks)
        host = _host_groups(context, platform, phase)
        self._lead = min(host, key=lambda group: group.grid.interval_ms)  # its ticks decide when a report is due
        report_ms = max(self._lead.grid.interval_ms, round(config.report_interval_s * 1000))
        self._batcher = Batcher(Grid(report_ms, self._lead.grid.phase_ms), config.max_batch_samples)
        groups = [*host, *_scrape_groups(config, clock, phase), *_node_groups(config, node, phase)]
        self._schedule = Schedule(groups, self._on_tick, clock, registry, sleep)
        self._batches = Counter("peerwatch_agent_batches_total", "Batches handed over.", registry=registry)
        self._samples = Counter("peerwatch_agent_samples_total", "Samples handed over.", registry=registry)
        self._lost = Counter(
            "peerwatch_agent_batches_refused_total",
            "Batches that could not be handed over and are lost.",
            registry=registry,
        )

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Sample until cancelled; what is gathered by then is delivered."""
        self._loop = asyncio.get_running_loop()
        task_status.started()
        try:
            await self._schedule.run()
        finally:
            self._send(self._batcher.take())

    def latest(self) -> list[tuple[Series, float]]:
        """The last sample of every series of this host (not of scraped targets), for a Prometheus that pulls.

        Of the node beside it too, but for what it says of its process: that page's `process_*` are the agent's.
        """
        return [pair for tick in self._latest.values() for pair in _present(tick)]

    def exposition(self) -> bytes:
        """`latest` as text exposition."""
        return write_exposition(self.latest())

    def _on_tick(self, tick: Tick) -> None:
        if tick.job in ("", NODE_JOB):
            self._latest[tick.job + tick.lane] = tick
        for part in self._aggregator.feed(tick):
            self._send(self._batcher.add(part))
        if not tick.job and tick.lane == self._lead.lane:
            self._send(self._batcher.close_if_due(tick.time_ms, tick.interval_ms))

    def _count_tasks(self) -> int:
        # Asked from a source's thread, where no loop runs; the count may be one off while tasks come and go.
        return 0 if self._loop is None else len(asyncio.all_tasks(self._loop))

    def _send(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            try:
                self._deliver(batch)
            except PeerwatchError as error:
                self._lost.inc()
                _log.error("batch refused", samples=batch.sample_count, error=str(error))
            else:
                self._batches.inc()
                self._samples.inc(batch.sample_count)


def _host_groups(context: SourceContext, platform: str, phase: float) -> list[Group]:
    """The sources of this machine, one group per interval; absent ones are told in the quickest."""
    selection = select_sources(platform, context.config)
    if selection.absent:
        _log.warning("sources absent on this platform", platform=platform, sources=list(selection.absent))
    by_interval: dict[float, list[str]] = {}
    made = {}
    for kind, interval_s in selection.chosen:
        by_interval.setdefault(interval_s, []).append(kind.name)
        made[kind.name] = kind.make(context)
    shortest_s = min(by_interval, default=context.config.sample_interval_s)
    by_interval.setdefault(shortest_s, [])
    return [
        Group(
            grid=_grid(interval_s, phase),
            sources=tuple((name, made[name]) for name in names),
            deadline_s=min(context.config.source_deadline_s, interval_s),
            absent=selection.absent if interval_s == shortest_s else (),
        )
        for interval_s, names in by_interval.items()
    ]


def _scrape_groups(config: AgentConfig, clock: Clock, phase: float) -> list[Group]:
    if not config.scrape:
        return []
    from peerwatch.agent.sources.scrape import ScrapeSource  # its HTTP client costs 20 MB: only who scrapes pays

    return [
        Group(
            grid=_grid(target.interval_s, _target_phase(target, phase)),
            sources=(("scrape", ScrapeSource(target, clock)),),
            deadline_s=target.timeout_s + 1,  # the source keeps its own time; this is the net below it
            describe=False,
            job=target.job,
            target=target.target_name,
        )
        for target in config.scrape
    ]


def _node_groups(config: AgentConfig, page: Page | None, phase: float) -> list[Group]:
    if page is None:
        return []
    grid = _grid(_NODE_EVERY * config.sample_interval_s, phase)
    source = ("node", NodeSource(page))
    return [Group(grid, (source,), config.source_deadline_s, describe=False, job=NODE_JOB)]


def _grid(interval_s: float, phase: float) -> Grid:
    interval_ms = round(interval_s * 1000)
    return Grid(interval_ms, int(phase * interval_ms))


def _target_phase(target: ScrapeConfig, phase: float) -> float:
    """Spreads the targets of one agent over the interval, the same way after each start."""
    return (phase + zlib.crc32(f"{target.job} {target.url}".encode()) / 2**32) % 1.0


def _present(tick: Tick) -> list[tuple[Series, float]]:
    wanted = ~is_stale(tick.values)
    if tick.presence is not None:
        wanted &= tick.presence
    found = [(tick.series[row], float(tick.values[row])) for row in wanted.nonzero()[0]]
    if not tick.job:
        return found
    return [pair for pair in found if not pair[0].labels.metric.startswith("process_")]
