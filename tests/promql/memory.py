"""MemoryQueryable: samples in memory, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import Float64Array, HistogramCells, Int64Array, Labels, Matcher, SeriesSet
from tests.promql.runner.histogram import Literal, column_of, with_stored_hints

Index = slice | Int64Array
_NO_START = 0


@dataclass(frozen=True)
class Column:
    """The samples of one series. natives: those that are histograms, None where one is a number; None for none.
    starts_ms: 0 where unknown."""

    times_ms: Int64Array
    values: Float64Array
    natives: list[Literal | None] | None
    starts_ms: Int64Array

    def taken(self, index: Index) -> Column:
        """Some of the samples."""
        natives = None if self.natives is None else list(np.array(self.natives, object)[index])
        return Column(self.times_ms[index], self.values[index], natives, self.starts_ms[index])

    @staticmethod
    def joined(parts: Sequence[Column]) -> Column:
        """In order of time; of samples at one time the first stays."""
        natives = None
        if any(part.natives is not None for part in parts):
            natives = [one for part in parts for one in part.natives or [None] * len(part.values)]
        whole = Column(
            np.concatenate([part.times_ms for part in parts]),
            np.concatenate([part.values for part in parts]),
            natives,
            np.concatenate([part.starts_ms for part in parts]),
        )
        return whole.taken(np.unique(whole.times_ms, return_index=True)[1])


class MemoryQueryable:
    """A Queryable over a dictionary. A sample added again at the same time replaces the older one."""

    def __init__(self, series: Iterable[tuple[Labels, tuple[Int64Array, Float64Array]]] = ()) -> None:
        self._series: dict[Labels, Column] = {}
        for labels, (times_ms, values) in series:
            self.add(labels, times_ms, values)

    def add(
        self, labels: Labels, times_ms: Int64Array, values: Float64Array, starts_ms: Int64Array | None = None
    ) -> None:
        """Put samples in; times need not be ordered."""
        starts = np.full(len(times_ms), _NO_START, np.int64) if starts_ms is None else starts_ms
        self._put(labels, Column(times_ms, values, None, starts))

    def add_mixed(
        self, labels: Labels, times_ms: Int64Array, samples: Sequence[float | Literal], starts_ms: Int64Array
    ) -> None:
        """The same for samples some of which are native histograms; they get the hints that a store gives them."""
        values = np.array([one.count if isinstance(one, Literal) else one for one in samples], np.float64)
        natives = [one if isinstance(one, Literal) else None for one in samples]
        self._put(labels, Column(times_ms, values, natives if any(natives) else None, starts_ms))
        stored = self._series[labels]
        if stored.natives is not None:
            hinted = with_stored_hints(stored.natives)
            self._series[labels] = Column(stored.times_ms, stored.values, hinted, stored.starts_ms)

    def _put(self, labels: Labels, column: Column) -> None:
        old = self._series.get(labels)
        self._series[labels] = Column.joined([column] if old is None else [column, old])

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
        starts = np.concatenate([np.empty(0, np.int64), *(one.starts_ms for one in columns)])
        return SeriesSet(
            labels,
            np.concatenate([np.empty(0, np.int64), *(one.times_ms for one in columns)]),
            np.concatenate([np.empty(0), *(one.values for one in columns)]),
            offsets,
            _cells(columns),
            starts if starts.any() else None,
        )

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
    return column.taken(slice(*column.times_ms.searchsorted([start_ms, end_ms + 1]).tolist()))


def _cells(columns: Sequence[Column]) -> HistogramCells | None:
    if all(one.natives is None for one in columns):
        return None
    natives = [native for one in columns for native in one.natives or [None] * len(one.values)]
    found = [native for native in natives if native is not None]
    return HistogramCells.at(np.array([native is not None for native in natives]), column_of(found)) if found else None
