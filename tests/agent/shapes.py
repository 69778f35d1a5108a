"""Series and ticks in a few words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from peerwatch.agent.source import Reading
from peerwatch.agent.tick import Tick
from peerwatch.model import METRIC_NAME, BatchBlock, Labels, MetricType, Series, is_stale


def gauge(name: str, **labels: str) -> Series:
    return Series(Labels.of({**labels, METRIC_NAME: name}), MetricType.GAUGE)


def counter(name: str, **labels: str) -> Series:
    return Series(Labels.of({**labels, METRIC_NAME: name}), MetricType.COUNTER)


def reading(series: tuple[Series, ...], *values: float) -> Reading:
    return Reading(series, np.array(values, dtype=np.float64))


def tick(time_ms: int, values: Mapping[Series, float | None], *, interval_ms: int = 1000, lane: str = "l") -> Tick:
    """A tick; None means that there is no sample."""
    presence = np.array([value is not None for value in values.values()], dtype=np.bool_)
    numbers = np.array([0.0 if value is None else value for value in values.values()], dtype=np.float64)
    return Tick(time_ms, interval_ms, tuple(values), numbers, None if presence.all() else presence, lane=lane)


def shown(tick: Tick) -> dict[str, float | str]:
    """Metric to value; "stale" for a marker; what is absent is not there."""
    there = np.ones(len(tick.series), dtype=np.bool_) if tick.presence is None else tick.presence
    stale = is_stale(tick.values)
    return {
        str(series.labels): "stale" if stale[row] else float(tick.values[row])
        for row, series in enumerate(tick.series)
        if there[row]
    }


def columns(block: BatchBlock) -> dict[int, dict[str, float | str]]:
    """Time to metric to value, as `shown`."""
    matrix = block.matrix
    return {
        int(time_ms): shown(
            Tick(
                int(time_ms),
                0,
                block.series,
                matrix.values[:, at].copy(),
                None if matrix.presence is None else matrix.presence[:, at],
            )
        )
        for at, time_ms in enumerate(matrix.times_ms)
    }
