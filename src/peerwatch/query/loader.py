"""Loader: from selectors to samples, asking the store once for what a query names twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import BoolArray, Int64Array, Labels, Matcher, SeriesSet, is_stale
from peerwatch.query.limits import Budget
from peerwatch.query.queryable import Queryable
from peerwatch.query.value import Vector
from peerwatch.query.window import SLICE_CELLS, RangeVector, Samples, count_until, group_by_times, groups_among


class Loader:
    """Reads for one query. Keeps what it read until the query ends; all of it together stays below `max_samples`."""

    def __init__(self, source: Queryable, budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._loaded: dict[tuple[tuple[Matcher, ...], int, int], SeriesSet] = {}
        self._held = 0

    @property
    def samples(self) -> int:
        """How many were read so far."""
        return self._held

    def _select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SeriesSet:
        key = (tuple(matchers), start_ms, end_ms)
        found = self._loaded.get(key)
        if found is None:
            self._budget.check()
            limit = self._budget.limits.max_samples
            found = self._source.select(matchers, start_ms, end_ms, max_samples=limit - self._held)
            self._held += len(found.values)
            if self._held > limit:
                raise LimitError(f"query would load more than {limit} samples into memory")
            self._loaded[key] = found
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
    ) -> RangeVector:
        """The samples in (end - range - before, end + after] for each end."""
        start_ms, end_ms = int(ends_ms.min()) - range_ms - before_ms + 1, int(ends_ms.max()) + after_ms
        found = self._select(matchers, start_ms, end_ms)
        samples = without_stale(found)
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

    def smoothed(self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int) -> Vector:
        """The value of each series at each time, interpolated between the samples around it.

        Only samples within `lookback_ms` on either side count; after the last one its value goes on.
        """
        found = self._select(matchers, int(at_ms.min()) - lookback_ms + 1, int(at_ms.max()) + lookback_ms)
        samples = without_stale(found)
        shape = (samples.series_count, len(at_ms))
        self._budget.cells(*shape)
        if len(samples.times_ms) == 0:
            return Vector(found.labels, np.zeros(shape), np.zeros(shape, np.bool_))
        rows = np.arange(samples.series_count)
        low, high = (count_until(samples, rows, at_ms + shift) for shift in (-lookback_ms, lookback_ms))
        position = count_until(samples, rows, at_ms - 1)
        size = len(samples.times_ms) - 1
        after = np.clip(position + samples.offsets[:-1, None], 0, size)
        before = np.maximum(after - 1, 0)
        has_after, has_before = position < high, position > low
        exact = has_after & (samples.times_ms[after] == at_ms)
        older, newer = samples.values[before], samples.values[after]
        with np.errstate(all="ignore"):
            apart_ms = samples.times_ms[after] - samples.times_ms[before]
            between = older + (newer - older) * (at_ms - samples.times_ms[before]) / apart_ms
        last = samples.values[np.clip(position + samples.offsets[:-1, None] - 1, 0, size)]
        values = np.where(exact, newer, np.where(has_after, between, last))
        return Vector(found.labels, values, exact | has_before)

    def latest(self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int) -> Vector:
        """The newest sample of each series at each time.

        A sample counts for less than `lookback_ms`; a stale marker ends its series until the next sample.
        """
        samples, labels = self._recent(matchers, at_ms, lookback_ms)
        shape = (len(labels), len(at_ms))
        values, present = np.zeros(shape), np.zeros(shape, np.bool_)
        for found in self._newest(samples, at_ms, lookback_ms):
            values[found.rows], present[found.rows] = samples.values[found.flat], found.alive
        return Vector(labels, values, present)

    def latest_times(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int
    ) -> tuple[Vector, Int64Array]:
        """(`latest`, when each of these samples was taken [S, T])."""
        vector = self.latest(matchers, at_ms, lookback_ms)
        samples, _ = self._recent(matchers, at_ms, lookback_ms)
        times = np.zeros(vector.values.shape, np.int64)
        for found in self._newest(samples, at_ms, lookback_ms):
            times[found.rows] = samples.times_ms[found.flat]
        return vector, times

    def _recent(
        self, matchers: Sequence[Matcher], at_ms: Int64Array, lookback_ms: int
    ) -> tuple[Samples, Sequence[Labels]]:
        found = self._select(matchers, int(at_ms.min()) - lookback_ms + 1, int(at_ms.max()))
        self._budget.cells(len(found.labels), len(at_ms))
        return Samples(found.times_ms, found.values, found.offsets, found.timelines), found.labels

    def _newest(self, samples: Samples, at_ms: Int64Array, lookback_ms: int) -> Iterator[_Newest]:
        if len(samples.times_ms) == 0:
            return
        group_of, leaders = group_by_times(samples)
        order = np.argsort(group_of, kind="stable")
        stale = is_stale(samples.values)
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


def without_stale(found: SeriesSet) -> Samples:
    """The samples less stale markers: ranges never see them."""
    stale = is_stale(found.values)
    if not stale.any():
        return Samples(found.times_ms, found.values, found.offsets, found.timelines)
    kept = ~stale
    counts = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)))
    return Samples(found.times_ms[kept], found.values[kept], counts[found.offsets])


def samples_of(vector: Vector, times_ms: Int64Array) -> Samples:
    """The values of a vector over a grid, as if they had been sampled at its steps: what a subquery is."""
    counts = np.cumsum(vector.present.sum(axis=1), dtype=np.int64)
    offsets = np.concatenate((np.zeros(1, np.int64), counts))
    times = np.broadcast_to(times_ms, vector.values.shape)[vector.present]
    return Samples(times, vector.values[vector.present], offsets)
