"""Schedule: runs groups of sources, each at its interval, and hands over their ticks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from peerwatch.agent.grid import Grid
from peerwatch.agent.runner import Outcome, SourceCounters, SourceRunner
from peerwatch.agent.source import Family, Layout, Reading, Source, reading
from peerwatch.agent.tick import Tick, TickMerger
from peerwatch.agent.workers import Workers
from peerwatch.model import Clock, Series
from peerwatch.telemetry import CollectorRegistry, Counter

_DURATION = Family("node_scrape_collector_duration_seconds", "node_exporter: Duration of a collector scrape.")
_SUCCESS = Family("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.")
_BUDGET = 0.8  # of an interval: what a tick may take in all, so that it is done before the next one


@dataclass(frozen=True, slots=True)
class Group:
    """Sources that share target, interval and timestamps, and so become one block.

    `describe`: add the duration and success of each source, and a success of 0 for each name in `absent`.
    """

    grid: Grid
    sources: tuple[tuple[str, Source], ...]
    deadline_s: float
    describe: bool = True
    absent: tuple[str, ...] = ()
    job: str = ""
    target: str = ""

    @property
    def lane(self) -> str:
        """What tells this group's blocks from those of the same target at another interval."""
        return f"{self.grid.interval_ms}ms"


class GroupRunner:
    """One group at work. Mutable; owned by the schedule."""

    def __init__(self, group: Group, workers: Workers, clock: Clock, counters: SourceCounters) -> None:
        self.group = group
        self._clock = clock
        self._runners = [SourceRunner(name, source, workers, clock, counters) for name, source in group.sources]
        self._merger = TickMerger(len(self._runners) + int(group.describe))
        self._layout = Layout()

    async def collect(self, time_ms: int) -> Tick:
        """Sample every source of the group, one after the other, and join what they gave.

        The quickest go first, so that a slow source can only delay, never displace, the others; each is waited for
        no longer than the deadline, all together no longer than most of the interval.
        """
        group = self.group
        end_s = self._clock.monotonic_s() + _BUDGET * group.grid.interval_ms / 1000
        outcomes: dict[str, Outcome] = {}
        for runner in sorted(self._runners, key=lambda runner: runner.last_duration_s):
            patience_s = min(group.deadline_s, end_s - self._clock.monotonic_s())
            outcomes[runner.name] = await runner.run(time_ms, patience_s)
        ordered = [outcomes[runner.name] for runner in self._runners]
        readings = [outcome.reading for outcome in ordered]
        if group.describe:
            readings.append(self._description(ordered))
        tick = self._merger.merge(time_ms, group.grid.interval_ms, readings, lane=group.lane)
        return tick if tick.job else _owned(tick, group)

    def _description(self, outcomes: Sequence[Outcome]) -> Reading:
        names = (*(runner.name for runner in self._runners), *self.group.absent)
        series = self._layout.series(names, lambda: _description_series(names))
        missing = len(self.group.absent)
        durations = [*(outcome.duration_s for outcome in outcomes), *[0.0] * missing]
        successes = [*(float(outcome.success) for outcome in outcomes), *[0.0] * missing]
        return reading(series, [*durations, *successes])


def _owned(tick: Tick, group: Group) -> Tick:
    """A tick of nobody (every source failed) still belongs to its group's target."""
    if not group.job:
        return tick
    return Tick(
        tick.time_ms, tick.interval_ms, tick.series, tick.values, tick.presence, group.job, group.target, tick.lane
    )


def _description_series(names: Sequence[str]) -> list[Series]:
    return [family.series(collector=name) for family in (_DURATION, _SUCCESS) for name in names]


class Schedule:
    """Ticks every group at its own interval, each in a task of its own, until it is cancelled.

    A tick that cannot begin before the next one is due is left out and counted; nothing piles up.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        on_tick: Callable[[Tick], None],
        clock: Clock,
        registry: CollectorRegistry,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        counters = SourceCounters(registry)
        self._workers = Workers()
        self._runners = [GroupRunner(group, self._workers, clock, counters) for group in groups]
        self._on_tick = on_tick
        self._clock = clock
        self._sleep = sleep
        self._missed = Counter(
            "peerwatch_agent_ticks_missed_total",
            "Ticks that were left out because the one before took too long or the clock jumped.",
            registry=registry,
        )

    async def run(self) -> None:
        """Tick until cancelled. The first tick of every group is at once."""
        try:
            async with anyio.create_task_group() as tasks:
                for runner in self._runners:
                    tasks.start_soon(self._run_group, runner)
        finally:
            self._workers.close()

    async def _run_group(self, runner: GroupRunner) -> None:
        grid = runner.group.grid
        time_ms = self._clock.now_ms()
        while True:
            self._on_tick(await runner.collect(time_ms))
            now_ms = self._clock.now_ms()
            planned_ms, missed = grid.plan(time_ms, now_ms)
            if missed:
                self._missed.inc(missed)
            await self._sleep(max(0, planned_ms - now_ms) / 1000)
            time_ms = grid.stamp(self._clock.now_ms(), planned_ms)
