"""Windows: which samples of each series each step looks at, for many series and all steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from peerwatch.model import BoolArray, Float64Array, HistogramCells, Int64Array, Labels
from peerwatch.query.limits import Budget

SLICE_CELLS = 1 << 16
"""Cells (series x steps) that are worked on at a time: arrays of half a megabyte stay in the cache, and what a function
needs on the side is bounded whatever the query asks for."""

_FEW_GROUPS = 64
_Any = TypeVar("_Any", bound=np.generic)


@dataclass(frozen=True)
class Samples:
    """Samples of many series, back to back, without stale markers: series i owns offsets[i]:offsets[i + 1].

    histograms: which of them are native histograms; None for none. starts_ms: since when each counts, 0 where that is
    unknown; None for all.
    """

    times_ms: Int64Array
    values: Float64Array
    offsets: Int64Array
    histograms: HistogramCells | None = None
    starts_ms: Int64Array | None = None
    timelines: Int64Array | None = None  # see SeriesSet

    @property
    def series_count(self) -> int:
        """How many series there are."""
        return len(self.offsets) - 1

    @cached_property
    def padded_values(self) -> Float64Array:
        """The values and one more, so that the end of a window is always an index."""
        return np.append(self.values, 0.0)

    def kept(self, marked: BoolArray) -> Samples:
        """Only the samples that are marked."""
        if marked.all():
            return self
        counts = np.concatenate((np.zeros(1, np.int64), np.cumsum(marked, dtype=np.int64)))
        return Samples(
            self.times_ms[marked],
            self.values[marked],
            counts[self.offsets],
            None if self.histograms is None else self.histograms.taken(np.flatnonzero(marked)),
            None if self.starts_ms is None else self.starts_ms[marked],
        )


def group_by_times(samples: Samples) -> tuple[Int64Array, Int64Array]:
    """(group of each series, first series of each group): series of one group have the very same timestamps.

    Series of one target share their timestamps, so that searching once per group saves most searches.
    """
    if samples.series_count == 1:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    if samples.timelines is not None:
        _, leaders, group_of = np.unique(samples.timelines, return_index=True, return_inverse=True)
        return group_of, leaders
    times, offsets = samples.times_ms, samples.offsets
    lengths = np.diff(offsets)
    if len(times) == 0:
        return np.zeros(len(lengths), np.int64), np.zeros(min(1, len(lengths)), np.int64)
    sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(times)))  # wraps around, which a fingerprint may
    firsts = times[np.minimum(offsets[:-1], len(times) - 1)]
    prints = (sums[offsets[1:]] - sums[offsets[:-1]]) * 31 + firsts * 17 + lengths
    _, leaders, group_of = np.unique(prints, return_index=True, return_inverse=True)
    shift = offsets[leaders][group_of] - offsets[:-1]
    if (
        not (lengths == lengths[leaders][group_of]).all()
        or not (times == times[np.arange(len(times)) + np.repeat(shift, lengths)]).all()
    ):
        return _group_one_by_one(samples)
    return group_of, leaders


def _group_one_by_one(samples: Samples) -> tuple[Int64Array, Int64Array]:
    """Two series have the same fingerprint and other times."""
    times, offsets = samples.times_ms, samples.offsets
    known: dict[bytes, int] = {}
    ends = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    groups = [known.setdefault(times[start:end].tobytes(), len(known)) for start, end in ends]
    group_of = np.array(groups, np.int64)
    return group_of, np.unique(group_of, return_index=True)[1]


def groups_among(group_of: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(the groups of some series, ascending; for each series which of them)."""
    if len(group_of) == 1:
        return group_of, np.zeros(1, np.int64)
    groups, member = np.unique(group_of, return_inverse=True)
    return groups, member.astype(np.int64)


def count_until(samples: Samples, rows: Int64Array, at_ms: Int64Array) -> Int64Array:
    """int64 [rows, T]: how many samples of each series have a time <= at_ms[t]."""
    times, offsets = samples.times_ms, samples.offsets
    if len(rows) <= _FEW_GROUPS or len(at_ms) > 16:
        return _count_one_by_one(samples, rows, at_ms)
    # many series, few steps: one search over keys that grow from series to series
    base = int(min(times.min(initial=0), at_ms.min(initial=0))) - 1
    span = int(max(times.max(initial=0), at_ms.max(initial=0))) - base + 2
    starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
    order = np.arange(len(rows), dtype=np.int64)
    taken = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths) + np.arange(lengths.sum())
    keys = times[taken] - base + np.repeat(order * span, lengths)
    wanted = (at_ms - base)[None, :] + (order * span)[:, None]
    found = np.searchsorted(keys, wanted.ravel(), "right").reshape(wanted.shape).astype(np.int64)
    found -= np.concatenate(([0], np.cumsum(lengths)[:-1]))[:, None]
    return found


def _count_one_by_one(samples: Samples, rows: Int64Array, at_ms: Int64Array) -> Int64Array:
    counts = np.empty((len(rows), len(at_ms)), np.int64)
    for position, row in enumerate(rows.tolist()):
        times = samples.times_ms[samples.offsets[row] : samples.offsets[row + 1]]
        counts[position] = times.searchsorted(at_ms, "right")
    return counts


@dataclass(frozen=True)
class Block:
    """The windows of some series, which is what a function over ranges works on.

    rows [S]: which series. starts [S]: where each begins in the flat arrays. member [S]: its row in the group arrays.
    low, high [G, T]: samples low..high (exclusive, counted within the series) are in the window of step t.
    leaders [G]: where a series with the group's timestamps begins; leader_rows [G]: which series that is.
    """

    samples: Samples
    rows: Int64Array
    starts: Int64Array
    member: Int64Array
    leaders: Int64Array
    leader_rows: Int64Array
    low: Int64Array
    high: Int64Array
    ends_ms: Int64Array
    range_ms: int
    steps_ms: Int64Array
    budget: Budget

    @property
    def shape(self) -> tuple[int, int]:
        """(series, steps)."""
        return len(self.rows), len(self.ends_ms)

    @cached_property
    def group_counts(self) -> Int64Array:
        """int64 [G, T]: samples per window."""
        return self.high - self.low

    @cached_property
    def counts(self) -> Int64Array:
        """int64 [S, T]: samples per window."""
        return self.spread(self.group_counts)

    @cached_property
    def first(self) -> Int64Array:
        """int64 [S, T]: flat index of the first sample of each window (of some sample, where there is none)."""
        return self.flat(self.low)

    @cached_property
    def last(self) -> Int64Array:
        """int64 [S, T]: flat index of the last sample of each window (of some sample, where there is none)."""
        return self.flat(self.high - 1)

    def spread(self, per_group: NDArray[_Any]) -> NDArray[_Any]:
        """Group rows to series rows."""
        return per_group if len(self.leaders) == len(self.rows) else per_group[self.member]

    def flat(self, within: Int64Array) -> Int64Array:
        """Positions within series [G, T] to flat indices [S, T], kept inside the arrays."""
        index: Int64Array = self.spread(within) + self.starts[:, None]
        np.clip(index, 0, len(self.samples.times_ms) - 1, out=index)
        return index

    def group_times(self, within: Int64Array) -> Int64Array:
        """Times [G, T] of positions within series."""
        index = within + self.leaders[:, None]
        np.clip(index, 0, len(self.samples.times_ms) - 1, out=index)
        times: Int64Array = self.samples.times_ms[index]
        return times

    def rounds(self) -> Iterator[tuple[BoolArray, Int64Array]]:
        """(windows that have a k-th sample [S, T], its flat index [S, T]) for k = 0, 1, …

        For functions whose result depends on the order of additions: one numpy step per sample of the longest window.
        """
        size = len(self.samples.times_ms) - 1
        for k in range(int(self.group_counts.max(initial=0))):
            if k % 64 == 63:
                self.budget.check()
            yield self.counts > k, np.minimum(self.first + k, size)


@dataclass(frozen=True)
class RangeVector:
    """A range vector per step: the samples in (ends_ms[t] - range_ms, ends_ms[t]].

    steps_ms are the steps of the query itself, which differ from ends_ms by offset and @. Anchored and smoothed windows
    reach `before_ms` and `after_ms` further.
    """

    labels: Sequence[Labels]
    samples: Samples
    ends_ms: Int64Array
    range_ms: int
    steps_ms: Int64Array
    budget: Budget
    drop_name: BoolArray | None = None
    before_ms: int = 0
    after_ms: int = 0

    @cached_property
    def floats(self) -> RangeVector:
        """The same windows with the samples that are numbers."""
        cells = self.samples.histograms
        if cells is None:
            return self
        return replace(self, samples=replace(self.samples.kept(~cells.mask), histograms=None))

    @cached_property
    def natives(self) -> RangeVector:
        """The same windows with the samples that are native histograms."""
        cells = self.samples.histograms
        marked = np.zeros(len(self.samples.times_ms), np.bool_) if cells is None else cells.mask
        return replace(self, samples=self.samples.kept(marked))

    @cached_property
    def counts(self) -> Int64Array:
        """int64 [S, T]: samples per window."""
        found = np.zeros((len(self.labels), len(self.ends_ms)), np.int64)
        for block in self.blocks():
            found[block.rows] = block.counts
        return found

    @cached_property
    def _groups(self) -> tuple[Int64Array, Int64Array]:
        return group_by_times(self.samples)

    def blocks(self) -> Iterator[Block]:
        """All windows, a slice of series at a time. Series with equal timestamps come together."""
        if len(self.samples.times_ms) == 0:
            return
        group_of, leaders = self._groups
        order = np.argsort(group_of, kind="stable")
        height = max(1, SLICE_CELLS // max(1, len(self.ends_ms)))
        for at in range(0, len(order), height):
            self.budget.check()
            yield self._block(order[at : at + height], group_of, leaders)

    def _block(self, rows: Int64Array, group_of: Int64Array, leaders: Int64Array) -> Block:
        groups, member = groups_among(group_of[rows])
        chosen = leaders[groups]
        low = count_until(self.samples, chosen, self.ends_ms - self.range_ms - self.before_ms)
        high = count_until(self.samples, chosen, self.ends_ms + self.after_ms)
        offsets = self.samples.offsets
        return Block(
            self.samples,
            rows,
            offsets[rows],
            member,
            offsets[chosen],
            chosen,
            low,
            high,
            self.ends_ms,
            self.range_ms,
            self.steps_ms,
            self.budget,
        )
