"""Strip: runs of samples of many series that are copied to their places together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from peerwatch.model import BoolArray, Float64Array, Int64Array

_MANY_WIDTHS = 8
_Any = TypeVar("_Any", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Timelines one after the other in `times`, cut to a range: line i is `times[at[i]:at[i] + counts[i]]`, and
    `skipped[i]` of its ticks lie before the range."""

    times: Int64Array
    at: Int64Array
    counts: Int64Array
    skipped: Int64Array

    @classmethod
    def of(cls, timelines: list[Int64Array], start_ms: int, end_ms: int) -> Ticks:
        """Each with times in strictly ascending order; it may be empty."""
        times = _joined(timelines)
        counts = np.array([len(one) for one in timelines], np.int64)
        at = np.cumsum(counts) - counts
        skipped, counts = _cut(times, at, counts, start_ms, end_ms)
        return cls(times, at + skipped, counts, skipped)


def _cut(
    times: Int64Array, at: Int64Array, counts: Int64Array, start_ms: int, end_ms: int
) -> tuple[Int64Array, Int64Array]:
    """(ticks before the range, ticks within it) of each of the runs that begin `at`."""
    if not len(times) or (times.min() >= start_ms and times.max() <= end_ms):
        return np.zeros(len(counts), np.int64), counts
    sums = np.zeros((2, len(times) + 1), np.int64)
    np.cumsum(times < start_ms, out=sums[0, 1:])
    np.cumsum(times <= end_ms, out=sums[1, 1:])
    before, until = sums[:, at + counts] - sums[:, at]
    return before, until - before


@dataclass(frozen=True, slots=True)
class Strip:
    """Run i has the series of rank `ranks[i]`: `counts[i]` samples from `times_at[i]` and `values_at[i]` on."""

    ranks: Int64Array
    counts: Int64Array
    times: Int64Array
    times_at: Int64Array
    values: Float64Array
    values_at: Int64Array

    @property
    def firsts(self) -> Int64Array:
        """When each run begins; none is empty."""
        found: Int64Array = self.times[self.times_at]
        return found

    @property
    def lasts(self) -> Int64Array:
        """When each run ends."""
        found: Int64Array = self.times[self.times_at + self.counts - 1]
        return found

    def copy_to(self, times: Int64Array, values: Float64Array, at: Int64Array) -> None:
        """Put run i where `at[i]` points to."""
        counts = self.counts
        widths = np.unique(counts)
        if len(widths) > _MANY_WIDTHS:
            self._copy_each(times, values, at)
            return
        for width in widths.tolist():  # one for most, another for those whose next tick was just beyond the range
            runs = slice(None) if len(widths) == 1 else np.flatnonzero(counts == width)
            _windows(times, width)[at[runs]] = _windows(self.times, width)[self.times_at[runs]]
            _windows(values, width)[at[runs]] = _windows(self.values, width)[self.values_at[runs]]

    def _copy_each(self, times: Int64Array, values: Float64Array, at: Int64Array) -> None:
        """By an index of every sample."""
        counts = self.counts
        before = np.cumsum(counts) - counts
        within = np.arange(int(counts.sum()))
        target = within + np.repeat(at - before, counts)
        times[target] = self.times[within + np.repeat(self.times_at - before, counts)]
        values[target] = self.values[within + np.repeat(self.values_at - before, counts)]

    @classmethod
    def joined(cls, strips: Sequence[Strip]) -> Strip:
        """One strip of many: worth it where they have few runs each."""
        runs = [len(one.ranks) for one in strips]
        times_before = np.repeat(_starts([len(one.times) for one in strips]), runs)
        values_before = np.repeat(_starts([len(one.values) for one in strips]), runs)
        return cls(
            np.concatenate([one.ranks for one in strips]),
            np.concatenate([one.counts for one in strips]),
            np.concatenate([one.times for one in strips]),
            np.concatenate([one.times_at for one in strips]) + times_before,
            np.concatenate([one.values for one in strips]),
            np.concatenate([one.values_at for one in strips]) + values_before,
        )

    def between(self, start_ms: int, end_ms: int) -> Strip:
        """Only the samples in [start_ms, end_ms]; runs that have none are left out."""
        skipped, counts = _cut(self.times, self.times_at, self.counts, start_ms, end_ms)
        if counts is self.counts:
            return self
        places = (self.times, self.times_at + skipped, self.values, self.values_at + skipped)
        return Strip(self.ranks, counts, *places).take(counts > 0)

    def run(self, at: int) -> tuple[Int64Array, Float64Array]:
        """The samples of one run."""
        count, first, place = int(self.counts[at]), int(self.times_at[at]), int(self.values_at[at])
        return self.times[first : first + count], self.values[place : place + count]

    def ranked(self, rank: Int64Array) -> Strip:
        """The same runs; what was number i becomes rank[i]."""
        places = (self.times, self.times_at, self.values, self.values_at)
        return Strip(rank[self.ranks], self.counts, *places)

    def take(self, rows: Int64Array | BoolArray) -> Strip:
        """Only some of the runs."""
        places = (self.times_at[rows], self.values, self.values_at[rows])
        return Strip(self.ranks[rows], self.counts[rows], self.times, *places)


class StripBuilder:
    """Makes one strip of matrices whose rows have their ticks in `ticks`. Owned by one read."""

    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks
        self._times: list[Int64Array] = [ticks.times]
        self._values: list[Float64Array] = []
        self._runs: list[tuple[Int64Array, Int64Array, Int64Array, Int64Array]] = []
        self._held_times = len(ticks.times)
        self.cells = 0
        """Cells that are held so far."""

    def add(self, ranks: Int64Array, lines: Int64Array, values: Float64Array, presence: BoolArray | None) -> None:
        """Rows of a matrix, whose ticks are those of `lines`, none of them empty."""
        ticks = self._ticks
        skipped, counts, times_at = ticks.skipped[lines], ticks.counts[lines], ticks.at[lines]
        left, right = int(skipped.min()), int((skipped + counts).max())
        cells = values[:, left:right]
        skipped = skipped - left
        mask = None if presence is None else presence[:, left:right]
        if mask is None or mask.all():
            self._put(ranks, counts, times_at, cells.ravel(), np.arange(len(ranks)) * (right - left) + skipped)
            return
        columns = np.arange(right - left)
        mask = mask & (columns >= skipped[:, None]) & (columns < (skipped + counts)[:, None])
        places = np.clip((times_at - skipped)[:, None] + columns, 0, len(ticks.times) - 1)
        self._put_gappy(ranks, ticks.times[places[mask]], cells[mask], mask.sum(axis=1))

    def _put_gappy(self, ranks: Int64Array, times: Int64Array, values: Float64Array, counts: Int64Array) -> None:
        at = np.cumsum(counts) - counts
        kept = np.flatnonzero(counts)
        self._put(ranks[kept], counts[kept], self._held_times + at[kept], values, at[kept])
        self._times.append(times)
        self._held_times += len(times)

    def _put(
        self, ranks: Int64Array, counts: Int64Array, times_at: Int64Array, values: Float64Array, at: Int64Array
    ) -> None:
        self._runs.append((ranks, counts, times_at, self.cells + at))
        self._values.append(values)
        self.cells += len(values)

    def strip(self) -> Strip:
        """What was added, which is something."""
        ranks, counts, times_at, values_at = (_joined(list(column)) for column in zip(*self._runs, strict=True))
        return Strip(ranks, counts, _joined(self._times), times_at, _joined_values(self._values), values_at)


def _starts(lengths: list[int]) -> Int64Array:
    """Where each of some columns begins when they are put together."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths


def _windows(column: NDArray[_Any], width: int) -> NDArray[_Any]:
    """Row i is `column[i : i + width]`, without copying: so runs are copied whole, not sample by sample."""
    stride = column.itemsize
    return np.ndarray((len(column) - width + 1, width), column.dtype, column.data, strides=(stride, stride))


def _joined(parts: list[Int64Array]) -> Int64Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _joined_values(parts: list[Float64Array]) -> Float64Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
