"""One source that fails, hangs or is slow never reaches the others; ticks keep their times."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import pytest

from peerwatch.agent.grid import Grid
from peerwatch.agent.schedule import Group, Schedule
from peerwatch.agent.source import NoDataError, Reading, Source
from peerwatch.agent.tick import Tick
from peerwatch.model import Series
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from tests.agent.shapes import gauge, reading, shown
from tests.agent.virtual_time import VirtualTime

A, B = gauge("a"), gauge("b")


@dataclass
class Steady:
    """Counts its samplings."""

    series: Series
    samplings: int = 0

    def collect(self, now_ms: int) -> Reading:
        self.samplings += 1
        return reading((self.series,), self.samplings)


class Broken:
    """Always fails, with what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def collect(self, now_ms: int) -> Reading:
        raise self.error


@dataclass
class Hanging:
    """Hangs until it is released, then works."""

    release: threading.Event = field(default_factory=threading.Event)
    samplings: int = 0

    def collect(self, now_ms: int) -> Reading:
        self.samplings += 1
        assert self.release.wait(10)
        return reading((B,), 7)


@dataclass
class Run:
    """A schedule on a clock that moves only while the schedule sleeps."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(now_ms=1_000_300))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    ticks: list[Tick] = field(default_factory=list)
    on_sleep: Callable[[int], Awaitable[None]] | None = None
    sleeps: int = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await anyio.lowlevel.checkpoint()
        self.clock.advance(seconds)
        if self.on_sleep is not None:
            await self.on_sleep(self.sleeps)

    def ticks_of(self, groups: list[Group], count: int, until: Callable[[Tick], bool] | None = None) -> list[Tick]:
        """The first `count` ticks, or all up to the first one that `until` wants."""

        async def main() -> None:
            async with anyio.create_task_group() as tasks:

                def on_tick(tick: Tick) -> None:
                    self.ticks.append(tick)
                    if len(self.ticks) >= count or (until is not None and until(tick)):
                        tasks.cancel_scope.cancel()

                await Schedule(groups, on_tick, self.clock, self.registry, self.sleep).run()

        anyio.run(main)
        return self.ticks

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def group(*sources: tuple[str, Source], deadline_s: float = 5.0, **settings: object) -> Group:
    return Group(Grid(1000, 250), sources, deadline_s, **settings)  # type: ignore[arg-type]


def values(tick: Tick) -> dict[str, float | str]:
    """What the sources gave, and who succeeded; durations vary."""
    return {name: value for name, value in shown(tick).items() if "duration" not in name}


def test_the_first_tick_is_at_once_and_the_others_on_the_grid() -> None:
    """A page lives at once; from then on times are planned ones, at least half an interval apart."""
    run = Run()
    ticks = run.ticks_of([group(("steady", Steady(A)))], 4)
    assert [tick.time_ms for tick in ticks] == [1_000_300, 1_001_250, 1_002_250, 1_003_250]
    assert [values(tick)["a"] for tick in ticks] == [1, 2, 3, 4]
    assert ticks[3].series is ticks[0].series


def test_a_failing_source_is_told_and_the_others_go_on() -> None:
    """Its rows are absent, its success is 0, the failure is counted; the rest is all there."""
    run = Run()
    (tick,) = run.ticks_of([group(("bad", Broken(ValueError("x"))), ("good", Steady(A)))], 1)
    assert values(tick) == {
        "a": 1,
        'node_scrape_collector_success{collector="bad"}': 0,
        'node_scrape_collector_success{collector="good"}': 1,
    }
    assert run.count("peerwatch_agent_source_failures_total", source="bad") == 1
    assert run.count("peerwatch_agent_source_failures_total", source="good") == 0


@pytest.mark.parametrize(("error", "failures"), [(NoDataError("no such kernel"), 0), (TimeoutError(), 1)])
def test_nothing_to_read_is_no_failure(error: Exception, failures: int) -> None:
    """A source without data is not counted as failing; one that times out by itself is."""
    run = Run()
    run.ticks_of([group(("source", Broken(error)))], 1)
    assert run.count("peerwatch_agent_source_failures_total", source="source") == failures
    assert run.count("peerwatch_agent_source_timeouts_total", source="source") == 0


def test_a_hanging_source_is_left_behind_and_comes_back() -> None:
    """It is waited for once, then skipped and counted, runs only once at a time, and is back when it is done."""
    hanging = Hanging()

    async def release(sleeps: int) -> None:
        if sleeps == 3:
            hanging.release.set()

    run = Run(on_sleep=release)
    ticks = run.ticks_of(
        [group(("hanging", hanging), ("steady", Steady(A)), deadline_s=0.5)], 10_000, lambda tick: "b" in shown(tick)
    )
    assert [values(tick)["a"] for tick in ticks] == list(range(1, len(ticks) + 1))
    success = [values(tick)['node_scrape_collector_success{collector="hanging"}'] for tick in ticks]
    assert success == [0.0] * (len(ticks) - 1) + [1.0]
    assert values(ticks[-1])["b"] == 7
    assert hanging.samplings == 2
    assert run.count("peerwatch_agent_source_timeouts_total", source="hanging") == 1
    assert run.count("peerwatch_agent_source_skips_total", source="hanging") == len(ticks) - 2 >= 2


def test_the_quick_go_first() -> None:
    """After the first tick a slow source is asked last, so that it delays nobody."""
    order: list[str] = []
    run = Run()

    class Timed:
        def __init__(self, name: str, cost_s: float) -> None:
            self.name, self.cost_s = name, cost_s

        def collect(self, now_ms: int) -> Reading:
            order.append(self.name)
            run.clock.advance(self.cost_s)
            return reading((gauge(self.name),), 1)

    run.ticks_of([group(("slow", Timed("slow", 0.3)), ("quick", Timed("quick", 0.001)))], 2)
    assert order == ["slow", "quick", "quick", "slow"]
    assert [str(s.labels) for s in run.ticks[1].series[:2]] == ["slow", "quick"]


def test_what_has_no_time_left_is_skipped() -> None:
    """All sources together may take most of an interval; what comes after that waits for the next tick."""
    run = Run()

    class Slow(Steady):
        def collect(self, now_ms: int) -> Reading:
            run.clock.advance(0.9)
            return super().collect(now_ms)

    (tick,) = run.ticks_of([group(("slow", Slow(A)), ("late", Steady(B)))], 1)
    assert values(tick)["a"] == 1 and "b" not in values(tick)
    assert run.count("peerwatch_agent_source_skips_total", source="late") == 1


def test_missed_ticks_are_counted_not_made_up() -> None:
    """When a tick takes three intervals the next is on the grid, and the ones between are gone."""
    run = Run()

    class Stuck(Steady):
        def collect(self, now_ms: int) -> Reading:
            if self.samplings == 1:
                run.clock.advance(3.2)
            return super().collect(now_ms)

    ticks = run.ticks_of([group(("stuck", Stuck(A)))], 3)
    assert [tick.time_ms for tick in ticks] == [1_000_300, 1_001_250, 1_005_250]
    assert run.count("peerwatch_agent_ticks_missed_total") == 3


def test_a_clock_that_is_set_is_followed() -> None:
    """Forwards or backwards by a day, sampling goes on at once with the new time."""
    run = Run()
    day_ms = 86_400_000

    async def set_clock(sleeps: int) -> None:
        if sleeps in (1, 2):
            run.clock.jump(day_ms if sleeps == 1 else -day_ms)

    run.on_sleep = set_clock
    ticks = run.ticks_of([group(("steady", Steady(A)))], 4)
    assert [tick.time_ms for tick in ticks] == [1_000_300, 1_001_250 + day_ms, 1_002_250, 1_003_250]


def test_groups_have_their_own_intervals() -> None:
    """What is sampled slowly has its own lane and does not wait for, or delay, the others."""
    clock, ticks = ManualClock(now_ms=1_000_300), list[tuple[str, int]]()
    slow = Group(Grid(3000, 250), (("slow", Steady(B)),), 1.0)
    quick = Group(Grid(1000, 250), (("quick", Steady(A)),), 1.0)

    async def main() -> None:
        time = VirtualTime(clock, tasks=2, until_s=4)

        def on_tick(tick: Tick) -> None:
            ticks.append((tick.lane, tick.time_ms))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Schedule([slow, quick], on_tick, clock, CollectorRegistry(), time.sleep).run)
            await time.over.wait()
            tasks.cancel_scope.cancel()

    anyio.run(main)
    assert [at for lane, at in ticks if lane == "3000ms"] == [1_000_300, 1_002_250]
    assert [at for lane, at in ticks if lane == "1000ms"] == [
        *(1_000_300, 1_001_250, 1_002_250, 1_003_250, 1_004_250),
    ]


def test_absent_sources_are_said_to_be_absent() -> None:
    """A source that this platform lacks has a success of 0."""
    (tick,) = Run().ticks_of([group(("steady", Steady(A)), absent=("tcp",))], 1)
    assert values(tick)['node_scrape_collector_success{collector="tcp"}'] == 0


def test_a_hanging_source_does_not_keep_the_process() -> None:
    """A thread that is stuck in the kernel is left behind when the program ends."""
    code = """
import threading, anyio
from peerwatch.agent.grid import Grid
from peerwatch.agent.schedule import Group, Schedule
from peerwatch.model import SystemClock
from peerwatch.telemetry import CollectorRegistry

class Hanging:
    def collect(self, now_ms):
        threading.Event().wait()

async def main():
    async with anyio.create_task_group() as tasks:
        group = Group(Grid(1000), (("hanging", Hanging()),), 0.05)
        on_tick = lambda tick: tasks.cancel_scope.cancel()
        await Schedule([group], on_tick, SystemClock(), CollectorRegistry()).run()

anyio.run(main)
print("ended")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.splitlines()[-1] == "ended"
