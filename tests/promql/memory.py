"""MemoryQueryable: samples in memory, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import Float64Array, Int64Array, Labels, Matcher, SeriesSet

Column = tuple[Int64Array, Float64Array]


class MemoryQueryable:
    """A Queryable over a dictionary. A sample added again at the same time replaces the older one."""

    def __init__(self, series: Iterable[tuple[Labels, Column]] = ()) -> None:
        self._series: dict[Labels, Column] = {}
        for labels, column in series:
            self.add(labels, *column)

    def add(self, labels: Labels, times_ms: Int64Array, values: Float64Array) -> None:
        """Put samples in; times need not be ordered."""
        if labels in self._series:
            old_times, old_values = self._series[labels]
            times_ms, values = np.concatenate((times_ms, old_times)), np.concatenate((values, old_values))
        order, first = np.unique(times_ms, return_index=True)
        self._series[labels] = (order, values[first])

    def clear(self) -> None:
        """Forget everything."""
        self._series.clear()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        labels = self._matching(matchers)
        columns = [_between(self._series[one], start_ms, end_ms) for one in labels]
        lengths = [len(times) for times, _ in columns]
        if max_samples is not None and sum(lengths) > max_samples:
            raise LimitError(f"{sum(lengths)} samples, limit {max_samples}")
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
        times = np.concatenate([np.empty(0, np.int64), *(times for times, _ in columns)])
        values = np.concatenate([np.empty(0), *(values for _, values in columns)])
        return SeriesSet(labels, times, values, offsets)

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        found = {labels.get(name) for labels in self._alive(matchers, start_ms, end_ms)}
        return sorted(found - {""})

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({name for labels in self._alive(matchers, start_ms, end_ms) for name, _ in labels})

    def _matching(self, matchers: Sequence[Matcher]) -> list[Labels]:
        return sorted(
            labels for labels in self._series if all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)
        )

    def _alive(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        return [one for one in self._matching(matchers) if len(_between(self._series[one], start_ms, end_ms)[0])]


def _between(column: Column, start_ms: int, end_ms: int) -> Column:
    times, values = column
    part = slice(*times.searchsorted([start_ms, end_ms + 1]).tolist())
    return times[part], values[part]
