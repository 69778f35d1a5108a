"""Fakes of the dashboard's surroundings: a fleet made of sine waves, a clock that a test moves."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import anyio
import numpy as np

from peerwatch.dashboard import Config, Live, Matrix, Vector
from peerwatch.dashboard.panels import FLEET, PANELS, TILES, Query
from peerwatch.dashboard.timespan import TIMESPANS
from peerwatch.errors import QueryError
from peerwatch.model import Clock, Float64Array, Int64Array, Labels
from peerwatch.telemetry import CollectorRegistry

START_MS = 1_750_000_000_000
GIB = 2.0**30
MIB = 2.0**20

Signal = Callable[[Int64Array], Float64Array]
SeriesList = list[tuple[Labels, Signal]]


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


def wave(name: str, low: float, high: float, *, noise: float = 0.25) -> Signal:
    """Values between `low` and `high` that depend on the name and the time only: slow swings, and jitter per 5 s."""
    seed = zlib.crc32(name.encode())
    phases = [(seed >> shift & 0xFF) / 40.0 for shift in (0, 8, 16)]

    def signal(times_ms: Int64Array) -> Float64Array:
        seconds = times_ms / 1000.0
        slow = sum(
            np.sin(seconds * 6.2832 / period + phase) for period, phase in zip((41, 173, 911), phases, strict=True)
        )
        jitter = np.sin((times_ms // 5000 * 12.9898 + seed % 1000) * 43758.5453) * noise
        share = np.clip(0.5 + slow / 7.0 + jitter / 2.0, 0.0, 1.0)
        return np.asarray(low + (high - low) * share, dtype=np.float64)

    return signal


def constant(value: float) -> Signal:
    """The same at every time."""
    return lambda times_ms: np.full(len(times_ms), value)


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
                series = [] if instance in self._down else _series(instance, panel.id, query)
                for span in TIMESPANS:
                    self._known[span.render(query.expr, instance=instance, job=job)] = series

    def _fleet_signal(self, position: int, instance: str) -> Signal:
        down = instance in self._down
        if position == 0:
            return constant(0.0 if down else 1.0)
        if position == 1:
            return constant(np.nan) if down else _seen
        if down:
            return constant(np.nan)
        columns: list[Signal] = [
            _series(instance, "tiles", TILES.queries[0])[0][1],
            wave(instance + "used", 25, 55, noise=0.02),
            constant(61.5),
        ]
        return columns[position - 2]


_MODES = {"user": 38.0, "system": 14.0, "iowait": 9.0, "softirq": 3.0, "irq": 0.6, "nice": 2.0, "steal": 0.8}
_STATES = {
    "ESTABLISHED": (120, 260), "TIME_WAIT": (20, 140), "LISTEN": (31, 31), "CLOSE_WAIT": (0, 9), "SYN_SENT": (0, 3),
    "FIN_WAIT1": (0, 0), "FIN_WAIT2": (0, 6), "SYN_RECV": (0, 0), "LAST_ACK": (0, 0), "CLOSING": (0, 0),
    "CLOSE": (0, 0),
}  # fmt: skip
_DISKS = {"/": 61.5, "/home": 38.2, "/var/lib/data": 82.9}
_LOADS = {"1 min": (0.4, 5.2), "5 min": (0.8, 3.4), "15 min": (1.1, 2.4)}


def _series(instance: str, panel: str, query: Query) -> SeriesList:
    """The series of one query; every branch is one line of the panel table."""

    def waves(label: str, ranges: dict[str, tuple[float, float]]) -> SeriesList:
        return [
            (Labels.of({label: value}), wave(instance + panel + query.legend + value, low, high))
            for value, (low, high) in ranges.items()
        ]

    def one(low: float, high: float, noise: float = 0.25) -> SeriesList:
        return [(Labels(), wave(instance + query.legend, low, high, noise=noise))]

    if panel == "cpu":
        return waves("mode", {mode: (top * 0.08, top) for mode, top in _MODES.items()})
    if panel == "network":
        return waves("device", {"eth0": (2 * MIB, 48 * MIB), "eth1": (0.2 * MIB, 6 * MIB)})
    if panel == "disk_io":
        return waves("device", {"nvme0n1": (1 * MIB, 90 * MIB), "sda": (0.1 * MIB, 12 * MIB)})
    if panel == "tcp":
        return [
            (labels, _whole(signal))
            for labels, signal in waves("state", {state: (low, high) for state, (low, high) in _STATES.items()})
        ]
    if panel == "disk":
        return [(Labels.of(mountpoint=mount), constant(used)) for mount, used in _DISKS.items()]
    if panel == "load":
        return [(Labels(), constant(8.0))] if query.legend == "cores" else one(*_LOADS[query.legend], noise=0.04)
    if panel == "swap":
        return [(Labels(), constant(4 * GIB))] if query.legend == "total" else one(0.3 * GIB, 0.5 * GIB, noise=0.0)
    if panel == "memory":
        bounds = {"used": (9.0, 14.0), "cache": (8.0, 11.0), "free": (6.0, 7.5)}[query.legend]
        return one(bounds[0] * GIB, bounds[1] * GIB, noise=0.03)
    if panel == "age":
        return [(Labels(), wave(instance + "age", 0.2, 5.0))]
    bounds = {
        "cpu": (6.0, 58.0), "cores": (8, 8), "memory_used": (9 * GIB, 14 * GIB), "memory_total": (32 * GIB, 32 * GIB),
        "swap_used": (0.3 * GIB, 0.5 * GIB), "swap_total": (4 * GIB, 4 * GIB), "load1": (0.4, 5.2),
        "disk": (82.9, 82.9), "rx": (2 * MIB, 54 * MIB), "tx": (2 * MIB, 54 * MIB),
        "established": (120, 260), "tcp": (180, 420), "age": (0.2, 5.0), "uptime": (1_234_567, 1_234_567),
    }[query.legend]  # fmt: skip
    found = one(*bounds)
    return [(labels, _whole(signal)) for labels, signal in found] if query.legend in ("tcp", "established") else found


def _seen(times_ms: Int64Array) -> Float64Array:
    """Unix seconds of the newest sample: one every 5 s, shown 0.2 s after it was taken."""
    return np.asarray(times_ms // 5000 * 5.0 - 0.2, dtype=np.float64)


def _whole(signal: Signal) -> Signal:
    return lambda times_ms: np.asarray(np.round(signal(times_ms)), dtype=np.float64)


def make_live(client: FakeQueryClient, clock: Clock, config: Config | None = None) -> Live:
    """A Live with its own registry."""
    return Live(config or Config(), client, clock, CollectorRegistry(), boot="b00t")
