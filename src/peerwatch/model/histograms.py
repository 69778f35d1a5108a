"""Histograms: native histograms in columns, and the cells of a larger array that hold one instead of a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from peerwatch.model.arrays import STALE_BITS, BoolArray, Float64Array, Int64Array

CUSTOM_SCHEMA = -53
"""The schema of histograms that bring their own bounds; -4 to 8 are the exponential ones."""

KEY_BIAS = 1 << 20
"""Bucket i of the positive side has the key `i + KEY_BIAS`, of the negative side `-(i + KEY_BIAS)`: so keys ascend as
the observations do. An exponential index lies within ±2^19 for every double."""

UNKNOWN_RESET, COUNTER_RESET, NOT_COUNTER_RESET, GAUGE = range(4)
"""What a sender says of a histogram beside the one before it; the numbers are those of remote write."""


def _no_floats() -> Float64Array:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Histograms:
    """N native histograms. Buckets lie back to back: histogram i owns `keys[offsets[i]:offsets[i + 1]]`, counts alike.

    schemas, hints: int64 [N]. counts, sums, zero_counts, zero_widths: float64 [N]; the zero bucket is
    [-zero_width, zero_width]. keys: int64 [M], strictly ascending within a histogram (see KEY_BIAS; with custom bounds,
    bucket i ends at the i-th bound). buckets: float64 [M], the observations in each bucket, not cumulative.
    bounds: distinct lists of custom bounds; bounds_of: int64 [N], which of them, -1 for exponential schemas.
    A stale marker has the stale NaN as its sum.
    """

    schemas: Int64Array
    hints: Int64Array
    counts: Float64Array
    sums: Float64Array
    zero_counts: Float64Array
    zero_widths: Float64Array
    offsets: Int64Array
    keys: Int64Array
    buckets: Float64Array
    bounds_of: Int64Array
    bounds: tuple[tuple[float, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.schemas)

    @classmethod
    def none(cls) -> Histograms:
        """No histograms."""
        whole: Int64Array = np.empty(0, np.int64)
        real = _no_floats()
        return cls(whole, whole, real, real, real, real, np.zeros(1, np.int64), whole, real, whole)

    @property
    def sizes(self) -> Int64Array:
        """int64 [N]: how many buckets each has."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Int64Array:
        """int64 [M]: whose each bucket is."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.sizes)

    @property
    def custom(self) -> BoolArray:
        """bool [N]: which have custom bounds."""
        found: BoolArray = self.schemas == CUSTOM_SCHEMA
        return found

    @property
    def stale(self) -> BoolArray:
        """bool [N]: which are stale markers."""
        found: BoolArray = np.ascontiguousarray(self.sums).view(np.uint64) == STALE_BITS
        return found

    def take(self, rows: Int64Array) -> Histograms:
        """Some of them, in the order given; one may come more than once."""
        sizes = self.sizes[rows]
        offsets = offsets_of(sizes)
        at = np.repeat(self.offsets[:-1][rows] - offsets[:-1], sizes) + np.arange(offsets[-1], dtype=np.int64)
        return Histograms(
            self.schemas[rows],
            self.hints[rows],
            self.counts[rows],
            self.sums[rows],
            self.zero_counts[rows],
            self.zero_widths[rows],
            offsets,
            self.keys[at],
            self.buckets[at],
            self.bounds_of[rows],
            self.bounds,
        )

    def with_buckets(self, kept: BoolArray) -> Histograms:
        """Only the buckets that are marked [M]."""
        if kept.all():
            return self
        total = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)))
        return replace(self, offsets=total[self.offsets], keys=self.keys[kept], buckets=self.buckets[kept])

    @staticmethod
    def concat(parts: Sequence[Histograms]) -> Histograms:
        """All of them, part after part."""
        parts = [part for part in parts if len(part)]
        if len(parts) <= 1:
            return parts[0] if parts else Histograms.none()
        known: dict[tuple[float, ...], int] = {}
        bounds_of = []
        for part in parts:
            renumbered = [known.setdefault(one, len(known)) for one in part.bounds]
            bounds_of.append(np.array([*renumbered, -1], np.int64)[part.bounds_of])  # -1 stays the last one
        return Histograms(
            np.concatenate([part.schemas for part in parts]),
            np.concatenate([part.hints for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.zero_counts for part in parts]),
            np.concatenate([part.zero_widths for part in parts]),
            offsets_of(np.concatenate([part.sizes for part in parts])),
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.buckets for part in parts]),
            np.concatenate(bounds_of),
            tuple(known),
        )


def offsets_of(sizes: Int64Array) -> Int64Array:
    """Where slices of these sizes begin, and where the last one ends."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))


@dataclass(frozen=True, slots=True)
class HistogramCells:
    """Which cells of an array of samples hold a histogram: `which` has the array's shape, -1 where a cell holds a
    number, else a place in `column`. What the array itself holds there means nothing."""

    which: Int64Array
    column: Histograms = field(default_factory=Histograms.none)

    @classmethod
    def at(cls, marked: BoolArray, column: Histograms) -> HistogramCells:
        """The histograms of a column put into the marked cells, in order."""
        which = np.full(marked.shape, -1, np.int64)
        which[marked] = np.arange(len(column), dtype=np.int64)
        return cls(which, column)

    @property
    def mask(self) -> BoolArray:
        """Which cells hold a histogram."""
        found: BoolArray = self.which >= 0
        return found

    def of(self, marked: BoolArray) -> Histograms:
        """The histograms of some cells, all of which hold one, in order."""
        return self.column.take(self.which[marked])

    def taken(self, index: Int64Array | slice) -> HistogramCells:
        """The same for `array[index]`."""
        return replace(self, which=self.which[index])

    def only(self, marked: BoolArray) -> HistogramCells | None:
        """Without those of the cells that are not marked; None when nothing is left."""
        which = np.where(marked, self.which, -1)
        return replace(self, which=which) if (which >= 0).any() else None

    def compact(self) -> HistogramCells:
        """The same with a column that holds no more than the cells need."""
        marked = self.mask
        return HistogramCells.at(marked, self.of(marked))
