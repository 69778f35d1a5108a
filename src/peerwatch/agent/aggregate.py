"""Aggregation at the edge: less important metrics less often, with what happened in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from peerwatch.agent.grid import Grid
from peerwatch.agent.tick import Tick, stack_ticks
from peerwatch.errors import ConfigError, QueryError
from peerwatch.model import (
    METRIC_NAME,
    STALE,
    BoolArray,
    Float64Array,
    Int64Array,
    MetricType,
    SampleMatrix,
    Series,
    is_stale,
)
from peerwatch.model.matcher import compile_pattern

_MIN_WINDOW_S = 1.0
_MAX_WINDOW_S = 3600.0  # a window's samples are held in memory until it ends


class Aggregate(Enum):
    """What is kept of a window. LAST keeps the metric's name; the others add `:min`, `:max`, `:mean` to it."""

    LAST = "last"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"


_EVERY = (Aggregate.LAST, Aggregate.MIN, Aggregate.MAX, Aggregate.MEAN)
_CUMULATIVE = (MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY)


@dataclass(frozen=True, slots=True)
class AggregationRule:
    """Metrics whose name matches `pattern` (RE2, whole name) are sent once per `window_s`, as `keep` says.

    `node_load1` becomes `node_load1` (its last sample), `node_load1:min`, `node_load1:max`, `node_load1:mean`.
    Counters and histograms give only their last sample, whatever `keep` says: they are sums already.
    """

    pattern: str  # whole metric names (RE2)
    window_s: float  # one value per so many seconds
    keep: tuple[Aggregate, ...] = _EVERY  # which of last, min, max, mean

    def __post_init__(self) -> None:
        try:
            compile_pattern(self.pattern)
        except QueryError as error:
            raise ConfigError(f"agent.aggregation.pattern: {error}") from error
        if not _MIN_WINDOW_S <= self.window_s <= _MAX_WINDOW_S:
            raise ConfigError(
                f"agent.aggregation.window_s: {self.window_s}, must be from {_MIN_WINDOW_S:g} to {_MAX_WINDOW_S:g}"
            )
        if not self.keep:
            raise ConfigError(f"agent.aggregation {self.pattern!r}: keep is empty, must name at least one aggregate")


class WindowColumns(NamedTuple):
    """Per series what a window held: how many samples, and their aggregates; NaN samples count only as last."""

    samples: Int64Array
    last: Float64Array
    min: Float64Array
    max: Float64Array
    mean: Float64Array
    ended: BoolArray  # the last thing seen was a stale marker


def aggregate_window(matrix: SampleMatrix) -> WindowColumns:
    """The aggregates of each row over all its ticks. Stale markers are not samples."""
    present = np.ones(matrix.values.shape, dtype=np.bool_) if matrix.presence is None else matrix.presence
    stale = is_stale(matrix.values) & present
    sampled = present & ~stale
    numeric = sampled & ~np.isnan(matrix.values)
    count = numeric.sum(axis=1)
    some = count > 0
    total = np.where(numeric, matrix.values, 0.0).sum(axis=1)
    lowest = np.where(numeric, matrix.values, np.inf).min(axis=1, initial=np.inf)
    highest = np.where(numeric, matrix.values, -np.inf).max(axis=1, initial=-np.inf)
    return WindowColumns(
        samples=sampled.sum(axis=1),
        last=_pick(matrix.values, _last_column(sampled)),
        min=np.where(some, lowest, np.nan),
        max=np.where(some, highest, np.nan),
        mean=np.divide(total, count, out=np.full(len(count), np.nan), where=some),
        ended=_last_column(stale) > _last_column(sampled),
    )


def _last_column(mask: BoolArray) -> Int64Array:
    """Per row the last column that is True, -1 where none is."""
    width = mask.shape[1]
    found: Int64Array = np.where(mask.any(axis=1), width - 1 - mask[:, ::-1].argmax(axis=1), -1)
    return found


def _pick(values: Float64Array, column: Int64Array) -> Float64Array:
    picked: Float64Array = values[np.arange(len(column)), np.maximum(column, 0)]
    return np.where(column >= 0, picked, np.nan)


class _Plan(NamedTuple):
    """How one tuple of series is split: rows that pass, and rows per window length in ms."""

    source: tuple[Series, ...]
    passing: Int64Array
    passing_series: tuple[Series, ...]
    windows: dict[int, tuple[Int64Array, tuple[Series, ...]]]


class _Window:
    """The ticks of the window that is still open, for one lane and window length. Bounded by the window's length."""

    def __init__(self, grid: Grid, rules: Sequence[AggregationRule]) -> None:
        self._grid = grid
        self._rules = rules
        self._ticks: list[Tick] = []
        self._ended: dict[Series, None] = {}  # have had their last value; the marker follows with the next window
        self._outputs: dict[Series, tuple[tuple[Aggregate, Series], ...]] = {}
        self._series: tuple[Series, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send any more: no sample and no marker."""
        return not self._ended and not any(tick.series for tick in self._ticks)

    def add(self, tick: Tick) -> list[Tick]:
        """Take a tick; returns the windows that are closed by it."""
        done: list[Tick] = []
        if self._ticks and not self._belongs(tick):
            done.append(self._close())
        self._ticks.append(tick)
        if self._grid.is_last_in_window(tick.time_ms, tick.interval_ms):
            done.append(self._close())
        return done

    def _belongs(self, tick: Tick) -> bool:
        last_ms = self._ticks[-1].time_ms
        return tick.time_ms > last_ms and self._grid.window_end(tick.time_ms) == self._grid.window_end(last_ms)

    def _close(self) -> Tick:
        ticks, self._ticks = self._ticks, []
        raw, matrix = stack_ticks(ticks)
        columns = aggregate_window(matrix)
        cells = self._cells(raw, columns)
        series = tuple(cells)
        if series == self._series:
            series = self._series
        self._series = series
        live = {one: None for one, ended in zip(raw, columns.ended, strict=True) if not ended}
        self._outputs = {one: outputs for one, outputs in self._outputs.items() if one in live}
        last = ticks[-1]
        values = np.fromiter(cells.values(), dtype=np.float64)
        lane = f"{last.lane}/{self._grid.interval_ms}ms"
        return replace(last, interval_ms=self._grid.interval_ms, series=series, values=values, presence=None, lane=lane)

    def _cells(self, raw: tuple[Series, ...], columns: WindowColumns) -> dict[Series, float]:
        cells: dict[Series, float] = {}
        ended_now: dict[Series, None] = {}
        kept = {
            Aggregate.LAST: columns.last,
            Aggregate.MIN: columns.min,
            Aggregate.MAX: columns.max,
            Aggregate.MEAN: columns.mean,
        }
        for row, one in enumerate(raw):
            outputs = self._outputs_of(one)
            if columns.samples[row]:
                cells.update((series, float(kept[aggregate][row])) for aggregate, series in outputs)
            if columns.ended[row]:
                ended_now.update((series, None) for _, series in outputs)
        due = [*self._ended, *(series for series in ended_now if series not in cells)]
        cells.update((series, float(STALE)) for series in due if series not in cells)
        self._ended = {series: None for series in ended_now if series in cells and not _stale(cells[series])}
        return cells

    def _outputs_of(self, one: Series) -> tuple[tuple[Aggregate, Series], ...]:
        found = self._outputs.get(one)
        if found is None:
            found = self._outputs[one] = aggregated_series(one, _rule_for(one, self._rules))
        return found


def _stale(value: float) -> bool:
    return bool(is_stale(np.array([value]))[0])


def aggregated_series(series: Series, rule: AggregationRule | None) -> tuple[tuple[Aggregate, Series], ...]:
    """What a series is sent as under `rule`."""
    if rule is None or series.type in _CUMULATIVE:
        return ((Aggregate.LAST, series),)
    return tuple((aggregate, _renamed(series, aggregate, rule.window_s)) for aggregate in rule.keep)


def _renamed(series: Series, aggregate: Aggregate, window_s: float) -> Series:
    if aggregate is Aggregate.LAST:
        return series
    labels = series.labels.with_({METRIC_NAME: f"{series.labels.metric}:{aggregate.value}"})
    text = f"{series.help} ({aggregate.value} over {window_s:g} s)".strip()
    return Series(labels, MetricType.GAUGE, text, series.unit)


def _rule_for(series: Series, rules: Sequence[AggregationRule]) -> AggregationRule | None:
    name = series.labels.metric
    return next((rule for rule in rules if compile_pattern(rule.pattern).fullmatch(name) is not None), None)


_NOTHING: tuple[Int64Array, tuple[Series, ...]] = (np.zeros(0, dtype=np.int64), ())


class Aggregator:
    """Splits ticks: what no rule names passes at once, the rest comes once per window. Mutable; owned by the agent.

    Of several rules that match a metric the first counts. Holds the samples of open windows only. A series that ends
    inside a window gives that window's aggregates, and its stale marker with the next window.
    """

    def __init__(self, rules: Sequence[AggregationRule], phase: float = 0.0) -> None:
        self._rules = tuple(rules)
        self._phase = phase
        self._plans: dict[tuple[str, str, str], _Plan] = {}
        self._windows: dict[tuple[str, str, str], dict[int, _Window]] = {}

    def feed(self, tick: Tick) -> list[Tick]:
        """What is to be sent now that `tick` came: itself, a part of it, and windows that it closed."""
        if not self._rules:
            return [tick]
        plan = self._plan(tick)
        open_windows = self._windows.setdefault((tick.job, tick.target, tick.lane), {})
        if not plan.windows and not open_windows:
            return [tick]
        ready = [_rows(tick, plan.passing, plan.passing_series)] if plan.passing_series else []
        for window_ms in plan.windows.keys() | open_windows.keys():
            rows, series = plan.windows.get(window_ms, _NOTHING)
            window = open_windows.get(window_ms)
            if window is None:
                grid = Grid(window_ms, int(self._phase * window_ms))
                window = open_windows[window_ms] = _Window(grid, self._rules)
            ready += [closed for closed in window.add(_rows(tick, rows, series)) if closed.series]
            if not series and window.is_empty:
                del open_windows[window_ms]
        return ready

    def _plan(self, tick: Tick) -> _Plan:
        key = (tick.job, tick.target, tick.lane)
        plan = self._plans.get(key)
        if plan is None or plan.source is not tick.series:
            plan = self._plans[key] = self._make_plan(tick.series, tick.interval_ms)
        return plan

    def _make_plan(self, source: tuple[Series, ...], interval_ms: int) -> _Plan:
        rows: dict[int, list[int]] = {}
        for row, series in enumerate(source):
            rule = _rule_for(series, self._rules)
            window_ms = 0 if rule is None else round(rule.window_s * 1000)
            # a window that no two ticks fit in changes nothing: what comes that seldom passes as it is
            rows.setdefault(window_ms if window_ms > interval_ms else 0, []).append(row)
        passing = rows.pop(0, [])
        return _Plan(
            source,
            np.array(passing, dtype=np.int64),
            tuple(source[row] for row in passing),
            {
                window_ms: (np.array(picked, dtype=np.int64), tuple(source[row] for row in picked))
                for window_ms, picked in rows.items()
            },
        )


def _rows(tick: Tick, rows: Int64Array, series: tuple[Series, ...]) -> Tick:
    presence = None if tick.presence is None else tick.presence[rows]
    return replace(tick, series=series, values=tick.values[rows], presence=presence)
