"""MemoryQueryable: samples in memory, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import Float64Array, HistogramCells, Int64Array, Labels, Matcher, SeriesSet
from tests.promql.runner.histogram import Literal, column_of, with_stored_hints


@dataclass(frozen=True)
class Column:
    """The samples of one series; values are numbers or native histograms. starts_ms: 0 where unknown."""

    times_ms: Int64Array
    values: list[float | Literal]
    starts_ms: Int64Array

    def taken(self, index: Sequence[int]) -> Column:
        """Some of them."""
        return Column(self.times_ms[index], [self.values[at] for at in index], self.starts_ms[index])


class MemoryQueryable:
    """A Queryable over a dictionary. A sample added again at the same time replaces the older one."""

    def __init__(self, series: Iterable[tuple[Labels, tuple[Int64Array, Float64Array]]] = ()) -> None:
        self._series: dict[Labels, Column] = {}
        for labels, (times_ms, values) in series:
            self.add(labels, times_ms, values.tolist())

    def add(
        self,
        labels: Labels,
        times_ms: Int64Array,
        values: Sequence[float | Literal | None],
        starts_ms: Int64Array | None = None,
    ) -> None:
        """Put samples in; times need not be ordered."""
        samples = [value for value in values if value is not None]
        column = Column(times_ms, samples, np.zeros(len(samples), np.int64) if starts_ms is None else starts_ms)
        old = self._series.get(labels)
        if old is not None:
            column = Column(
                np.concatenate((times_ms, old.times_ms)),
                [*samples, *old.values],
                np.concatenate((column.starts_ms, old.starts_ms)),
            )
        _, first = np.unique(column.times_ms, return_index=True)
        column = column.taken(first.tolist())
        hinted = with_stored_hints([one if isinstance(one, Literal) else None for one in column.values])
        values = [new or one for one, new in zip(column.values, hinted, strict=True)]
        self._series[labels] = replace(column, values=values)

    def clear(self) -> None:
        """Forget everything."""
        self._series.clear()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        labels = self._matching(matchers)
        columns = [_between(self._series[one], start_ms, end_ms) for one in labels]
        lengths = [len(one.times_ms) for one in columns]
        if max_samples is not None and sum(lengths) > max_samples:
            raise LimitError(f"{sum(lengths)} samples, limit {max_samples}")
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
        times = np.concatenate([np.empty(0, np.int64), *(one.times_ms for one in columns)])
        starts = np.concatenate([np.empty(0, np.int64), *(one.starts_ms for one in columns)])
        samples = [value for one in columns for value in one.values]
        literals = [value for value in samples if isinstance(value, Literal)]
        values = np.array([value.count if isinstance(value, Literal) else value for value in samples], np.float64)
        cells = None
        if literals:
            marked = np.array([isinstance(value, Literal) for value in samples], np.bool_)
            cells = HistogramCells.at(marked, column_of(literals))
        return SeriesSet(labels, times, values, offsets, cells, starts if starts.any() else None)

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
        return [one for one in self._matching(matchers) if len(_between(self._series[one], start_ms, end_ms).values)]


def _between(column: Column, start_ms: int, end_ms: int) -> Column:
    return column.taken(range(*column.times_ms.searchsorted([start_ms, end_ms + 1]).tolist()))
