"""Loader: from selectors to samples, asking the store once for what a query names twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import BoolArray, HistogramCells, Int64Array, Labels, Matcher, SeriesSet, is_stale
from peerwatch.model.histograms import GAUGE, UNKNOWN_RESET
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Span
from peerwatch.query.limits import Budget
from peerwatch.query.native.statistics import with_statistics_only
from peerwatch.query.queryable import Queryable
from peerwatch.query.smooth import smoothed
from peerwatch.query.value import Vector
from peerwatch.query.window import SLICE_CELLS, RangeVector, Samples, count_until, group_by_times, groups_among


class Loader:
    """Reads for one query. Keeps what it read until the query ends; all of it together stays below `max_samples`."""

    def __init__(self, source: Queryable, budget: Budget, *, with_starts: bool = False) -> None:
        """with_starts: samples keep their start times."""
        self._with_starts = with_starts
        self._source = source
        self._budget = budget
        self._loaded: dict[tuple[tuple[Matcher, ...], int, int, bool], SeriesSet] = {}
        self._held = 0

    @property
    def samples(self) -> int:
        """How many were read so far."""
        return self._held

    def _select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, statistics: bool = False
    ) -> SeriesSet:
        """statistics: histograms without their buckets."""
        key = (tuple(matchers), start_ms, end_ms, statistics)
        found = self._loaded.get(key)
        if found is None:
            found = self._loaded[key] = self._read(matchers, start_ms, end_ms)
            if statistics:
                found = self._loaded[key] = with_statistics_only(found)
        return found

    def _read(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SeriesSet:
        self._budget.check()
        limit = self._budget.limits.max_samples
        found = self._source.select(matchers, start_ms, end_ms, max_samples=limit - self._held)
        self._held += len(found.values)
        if found.histograms is not None:
            self._held += len(found.histograms.column.buckets)
        if self._held > limit:
            raise LimitError(f"query would load more than {limit} samples into memory")
        return found

    def ranges(
        self,
        matchers: Sequence[Matcher],
        ends_ms: Int64Array,
        range_ms: int,
        steps_ms: Int64Array,
        *,
        before_ms: int = 0,
        after_ms: int = 0,
        statistics: bool = False,
    ) -> RangeVector:
        """The samples in (end - range - before, end + after] for each end. statistics: see `latest`."""
        start_ms, end_ms = int(ends_ms.min()) - range_ms - before_ms + 1, int(ends_ms.max()) + after_ms
        found = self._select(matchers, start_ms, end_ms, statistics=statistics)
        samples = self._without_stale(found)
        return RangeVector(
            found.labels,
            samples,
            ends_ms,
            range_ms,
            steps_ms,
            self._budget,
            before_ms=before_ms,
            after_ms=after_ms,
        )

    def smoothed(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int, notes: Annotations, span: Span
    ) -> Vector:
        """The value of each series at each time, interpolated between the samples around it."""
        found = self._select(matchers, int(at_ms.min()) - lookback_ms + 1, int(at_ms.max()) + lookback_ms)
        self._budget.cells(len(found.labels), len(at_ms))
        return smoothed(self._without_stale(found), found.labels, at_ms, lookback_ms, notes, span)

    def latest(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int, *, statistics: bool = False
    ) -> Vector:
        """The newest sample of each series at each time.

        A sample counts for less than `lookback_ms`; a stale marker ends its series until the next sample.
        statistics: of histograms only schema, count and sum are wanted.
        """
        samples, labels = self._recent(matchers, at_ms, lookback_ms, statistics=statistics)
        shape = (len(labels), len(at_ms))
        values, present = np.zeros(shape), np.zeros(shape, np.bool_)
        cells = samples.histograms
        which = None if cells is None else np.full(shape, -1, np.int64)
        for found in self._newest(samples, at_ms, lookback_ms):
            values[found.rows], present[found.rows] = samples.values[found.flat], found.alive
            if cells is not None and which is not None:
                which[found.rows] = np.where(found.alive, cells.which[found.flat], -1)
        histograms = None if cells is None or which is None else replace(cells, which=which).only(present)
        return Vector(labels, values, present, None, histograms)

    def latest_times(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int
    ) -> tuple[Vector, Int64Array]:
        """(`latest`, when each of these samples was taken [S, T])."""
        samples, _ = self._recent(matchers, at_ms, lookback_ms)
        return self._latest_of(samples.times_ms, matchers, at_ms, lookback_ms)

    def latest_starts(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int
    ) -> tuple[Vector, Int64Array]:
        """(`latest`, since when each of these samples counts [S, T], 0 where that is unknown)."""
        samples, _ = self._recent(matchers, at_ms, lookback_ms)
        starts = np.zeros(len(samples.times_ms), np.int64) if samples.starts_ms is None else samples.starts_ms
        return self._latest_of(starts, matchers, at_ms, lookback_ms)

    def _latest_of(
        self, column: Int64Array, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int
    ) -> tuple[Vector, Int64Array]:
        vector = self.latest(matchers, at_ms, lookback_ms)
        samples, _ = self._recent(matchers, at_ms, lookback_ms)
        chosen = np.zeros(vector.values.shape, np.int64)
        for found in self._newest(samples, at_ms, lookback_ms):
            chosen[found.rows] = column[found.flat]
        return vector, chosen

    def _recent(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int, *, statistics: bool = False
    ) -> tuple[Samples, Sequence[Labels]]:
        start_ms, end_ms = int(at_ms.min()) - lookback_ms + 1, int(at_ms.max())
        found = self._select(matchers, start_ms, end_ms, statistics=statistics)
        self._budget.cells(len(found.labels), len(at_ms))
        return self._samples(found), found.labels

    def _without_stale(self, found: SeriesSet) -> Samples:
        """The samples less stale markers: ranges never see them."""
        samples = self._samples(found)
        return samples.kept(~_stale(samples))

    def _samples(self, found: SeriesSet) -> Samples:
        starts_ms = found.starts_ms if self._with_starts else None
        return Samples(found.times_ms, found.values, found.offsets, found.histograms, starts_ms, found.timelines)

    def _newest(self, samples: Samples, at_ms: Int64Array, lookback_ms: int) -> Iterator[_Newest]:
        if len(samples.times_ms) == 0:
            return
        group_of, leaders = group_by_times(samples)
        order = np.argsort(group_of, kind="stable")
        stale = _stale(samples)
        any_stale, last = bool(stale.any()), len(samples.times_ms) - 1
        height = max(1, SLICE_CELLS // len(at_ms))
        for at in range(0, len(order), height):
            self._budget.check()
            rows = order[at : at + height]
            groups, member = groups_among(group_of[rows])
            within = count_until(samples, leaders[groups], at_ms) - 1
            leader_at = np.clip(within + samples.offsets[leaders[groups]][:, None], 0, last)
            fresh = (within >= 0) & (samples.times_ms[leader_at] > at_ms - lookback_ms)
            flat = np.clip(within[member] + samples.offsets[rows][:, None], 0, last)
            alive = fresh[member]
            yield _Newest(rows, flat, alive & ~stale[flat] if any_stale else alive)


@dataclass(frozen=True, slots=True)
class _Newest:
    """For some series: the flat index of the newest sample at each time [S, T], and whether it counts."""

    rows: Int64Array
    flat: Int64Array
    alive: BoolArray


def _stale(samples: Samples) -> BoolArray:
    stale = is_stale(samples.values)
    cells = samples.histograms
    if cells is not None:
        marked = cells.mask
        stale[marked] = cells.column.stale[cells.which[marked]]
    return stale


def without_hints(cells: HistogramCells) -> HistogramCells:
    """What histograms say of the sample before them is not known once others stand between."""
    column = cells.column
    hints = np.where(column.hints == GAUGE, GAUGE, UNKNOWN_RESET)
    return replace(cells, column=replace(column, hints=hints))


def samples_of(vector: Vector, times_ms: Int64Array) -> Samples:
    """The values of a vector over a grid, as if they had been sampled at its steps: what a subquery is."""
    counts = np.cumsum(vector.present.sum(axis=1), dtype=np.int64)
    offsets = np.concatenate((np.zeros(1, np.int64), counts))
    times = np.broadcast_to(times_ms, vector.values.shape)[vector.present]
    cells = vector.histograms
    histograms = None if cells is None else without_hints(replace(cells, which=cells.which[vector.present]))
    return Samples(times, vector.values[vector.present], offsets, histograms)
