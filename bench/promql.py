"""CPU time of typical queries on data in memory: medians of the engine alone, and of its answer as JSON.

`python bench/promql.py [SERIES [HOURS]]`: counters and gauges of as many series, sampled every 15 s with jitter, a
reset now and then, one sample in a hundred missing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

from peerwatch.model import Labels, Matcher, SeriesSet
from peerwatch.query import Engine
from peerwatch.query.render import render_result

START_MS = 1_700_000_000_000
INTERVAL_MS = 15_000
REPEATS = 5


class Columns:
    """A Queryable over one block of columns; every selector gets the series whose name it asks for."""

    def __init__(self, series_count: int, hours: float, *, shared_times: bool) -> None:
        random = np.random.default_rng(1)
        ticks = int(hours * 3_600_000 / INTERVAL_MS)
        keep = random.random((series_count, ticks)) > 0.01
        jitter = random.integers(0, 20, (series_count, ticks))
        if shared_times:  # as in a store of agents: all series of a target share their timestamps
            owner = np.arange(series_count) // 300
            keep, jitter = keep[owner], jitter[owner]
        times = START_MS + np.arange(ticks) * INTERVAL_MS + jitter
        resets = random.random((series_count, ticks)) < 0.001
        values = np.cumsum(random.random((series_count, ticks)) * 10, axis=1)
        values -= np.maximum.accumulate(np.where(resets, values, 0.0), axis=1)
        self._times, self._values = times[keep], values[keep]
        self._offsets = np.concatenate(([0], np.cumsum(keep.sum(axis=1)))).astype(np.int64)
        self._labels = [
            Labels.of(__name__="m_total", instance=f"host{at // 300:04d}", n=f"{at:06d}", group=str(at % 10))
            for at in range(series_count)
        ]

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        wanted = next((matcher.value for matcher in matchers if matcher.name == "n"), None)
        rows = range(len(self._labels)) if wanted is None else [int(wanted)]
        first, last = self._offsets[rows[0]], self._offsets[rows[-1] + 1]
        times, offsets = self._times[first:last], self._offsets[rows[0] : rows[-1] + 2] - first
        labels = [self._labels[row] for row in rows]
        kept = (times >= start_ms) & (times <= end_ms)
        counts = np.concatenate(([0], np.cumsum(kept)))
        return SeriesSet(labels, times[kept], self._values[first:last][kept], counts[offsets])

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({labels.get(name) for labels in self._labels})

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({name for labels in self._labels for name, _ in labels})


QUERIES = [
    "m_total",
    "rate(m_total[5m])",
    "sum(rate(m_total[5m]))",
    "sum by (group) (rate(m_total[5m]))",
    "avg_over_time(m_total[5m])",
    "max_over_time(m_total[5m])",
    "quantile_over_time(0.9, m_total[5m])",
    "stddev_over_time(m_total[5m])",
    "deriv(m_total[5m])",
    "topk(5, rate(m_total[5m]))",
    "rate(m_total[5m]) / on (n) m_total > 0.5",
    'rate(m_total{n="000000"}[5m])',
    'max_over_time(rate(m_total{n="000000"}[5m])[1h:1m])',
]


def median_ms(engine: Engine, query: str, start_ms: int, end_ms: int, step_ms: int) -> tuple[float, float, int]:
    """(median CPU time of evaluating, of writing the answer, bytes of the answer)."""
    evaluating, writing, size = [], [], 0
    for _ in range(REPEATS):
        began = time.process_time()
        is_range = step_ms > 0
        result = engine.range(query, start_ms, end_ms, step_ms) if is_range else engine.instant(query, end_ms)
        done = time.process_time()
        size = len(render_result(result.value))
        evaluating.append(done - began)
        writing.append(time.process_time() - done)
    return statistics.median(evaluating) * 1000, statistics.median(writing) * 1000, size


def main() -> None:
    """Print a table."""
    series_count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else 24.0
    end_ms = START_MS + int(hours * 3_600_000) - 60_000
    for shared in (True, False):
        engine = Engine(Columns(series_count, hours, shared_times=shared))
        times = "shared by 300 series" if shared else "of each series its own"
        print(f"{series_count} series, {hours:g} h every 15 s, timestamps {times}; step 1 min, and the last instant")
        print(f"{'query':58} {'range ms':>9} {'JSON ms':>8} {'MB':>7} {'instant ms':>11}")
        for query in QUERIES:
            ranged = median_ms(engine, query, START_MS, end_ms, 60_000)
            instant = median_ms(engine, query, START_MS, end_ms, 0)
            print(f"{query:58} {ranged[0]:9.1f} {ranged[1]:8.1f} {ranged[2] / 1e6:7.1f} {instant[0]:11.2f}")


if __name__ == "__main__":
    main()
