"""Fakes of the dashboard's surroundings: a fleet of synthetic signals, a clock that a test moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import anyio
import numpy as np

from peerwatch.dashboard import Config, Live, Matrix, Vector
from peerwatch.dashboard.panels import FLEET, PANELS, TILES
from peerwatch.dashboard.timespan import TIMESPANS
from peerwatch.errors import QueryError
from peerwatch.model import Clock, Labels
from peerwatch.telemetry import CollectorRegistry
from tests.dashboard.signals import START_MS, SeriesList, Signal, averaged, constant, seen, series_of, wave


class ManualClock:
    """Stands still until a test moves it."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._now_ms / 1000

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)


class FakeQueryClient:
    """Answers exactly the expressions of the panel table, for a fixed fleet; any other is a QueryError.

    `publish` says that there is news; `fail` makes the expressions that contain a text fail; `asked` records them.
    """

    def __init__(self, instances: Sequence[str] = ("atlas",), *, down: Iterable[str] = (), job: str = "node") -> None:
        self.asked: list[str] = []
        self.fail = ""
        self.version = 0
        self._news = anyio.Event()
        self._down = frozenset(down)
        self._known: dict[str, SeriesList] = {}
        for instance in instances:
            self._learn_instance(instance, job)
        for position, query in enumerate(FLEET):
            expr = TIMESPANS[0].render(query.expr, job=job)
            self._known[expr] = [(Labels.of(instance=name), self._fleet_signal(position, name)) for name in instances]

    def publish(self) -> None:
        """New data has come in."""
        self.version += 1
        self._news.set()
        self._news = anyio.Event()

    async def instant(self, expr: str, time_ms: int) -> Vector:
        series = self._find(expr)
        values = [float(signal(np.array([time_ms]))[0]) for _, signal in series]
        return Vector([labels for labels, _ in series], np.array(values, dtype=np.float64))

    async def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        series = self._find(expr)
        times_ms = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        rows = [signal(times_ms) for _, signal in series]
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(times_ms))
        return Matrix([labels for labels, _ in series], times_ms, values)

    async def changed(self, version: int) -> int:
        while self.version <= version:
            await self._news.wait()
        return self.version

    def _find(self, expr: str) -> SeriesList:
        self.asked.append(expr)
        if self.fail and self.fail in expr:
            raise QueryError(f"{self.fail} is out of order")
        if expr not in self._known:
            return []
        return self._known[expr]

    def _learn_instance(self, instance: str, job: str) -> None:
        for panel in (*PANELS, TILES):
            for query in panel.queries:
                series = [] if instance in self._down else series_of(instance, panel.id, query)
                for span in TIMESPANS:
                    shown = series if span.fast else [(labels, averaged(each, span.step_ms)) for labels, each in series]
                    self._known[span.render(query.expr, instance=instance, job=job)] = shown

    def _fleet_signal(self, position: int, instance: str) -> Signal:
        down = instance in self._down
        if position == 0:
            return constant(0.0 if down else 1.0)
        if position == 1:
            return constant(np.nan) if down else seen
        if down:
            return constant(np.nan)
        columns: list[Signal] = [
            series_of(instance, "tiles", TILES.queries[0])[0][1],
            wave(instance + "used", 25, 55, noise=0.02),
            constant(61.5),
        ]
        return columns[position - 2]


def make_live(
    client: FakeQueryClient, clock: Clock, config: Config | None = None, registry: CollectorRegistry | None = None
) -> Live:
    """A Live with a registry of its own."""
    return Live(config or Config(), client, clock, registry or CollectorRegistry(), boot="b00t")
