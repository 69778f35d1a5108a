"""Table: native histograms side by side, one row each, buckets in ascending order with the zero bucket among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms, Int64Array
from peerwatch.query.limits import Budget
from peerwatch.query.native.bounds import bucket_bounds

_TABLE_CELLS = 1 << 18  # rows are laid out so many cells at a time: a few megabytes, whatever the query asks for


@dataclass(frozen=True)
class Table:
    """Rows of histograms, padded to the widest. counts, lower, upper: float64 [N, W]; there: bool [N, W], not padding.

    Bounds are cut at the zero bucket's edge. only_positive, only_negative: bool [N], buckets on one side of zero only.
    """

    found: Histograms
    counts: Float64Array
    lower: Float64Array
    upper: Float64Array
    there: BoolArray

    @cached_property
    def only_positive(self) -> BoolArray:
        """bool [N]: with positive buckets and without negative ones."""
        return self._has(1) & ~self._has(-1)

    @cached_property
    def only_negative(self) -> BoolArray:
        """bool [N]: with negative buckets and without positive ones."""
        return self._has(-1) & ~self._has(1)

    def _has(self, sign: int) -> BoolArray:
        result = np.zeros(len(self.found), np.bool_)
        result[self.found.owners[np.sign(self.found.keys) == sign]] = True
        return result

    def one_sided(self, around: BoolArray) -> tuple[Float64Array, Float64Array]:
        """(lower, upper) with zero as an edge of the buckets marked [N, W], where all others lie on one side of it."""
        lower = np.where(around & self.only_positive[:, None], 0.0, self.lower)
        return lower, np.where(around & self.only_negative[:, None], 0.0, self.upper)


def tables(found: Histograms, budget: Budget) -> Iterator[tuple[Int64Array, Table]]:
    """(rows, their table), a few rows at a time; rows of like width come together."""
    widths = found.sizes + 1
    order = np.argsort(widths, kind="stable")
    at = 0
    while at < len(order):
        budget.check()
        widest = int(widths[order[min(at + 1024, len(order)) - 1]])
        height = max(1, min(1024, _TABLE_CELLS // widest))
        rows = order[at : at + height]
        yield rows, table_of(found.take(rows))
        at += height


def table_of(found: Histograms) -> Table:
    """All of them in one table."""
    lower, upper = bucket_bounds(found)
    owners = found.owners
    edge = found.zero_widths[owners]
    exponential = ~found.custom[owners]
    lower = np.where(exponential & (lower > 0) & (lower < edge), edge, lower)
    upper = np.where(exponential & (upper < 0) & (upper > -edge), -edge, upper)
    with_zero = found.zero_counts > 0
    negatives = np.bincount(owners[found.keys < 0], minlength=len(found))
    column = np.arange(len(owners)) - found.offsets[:-1][owners] + ((found.keys > 0) & with_zero[owners])
    sizes = found.sizes + with_zero
    shape = (len(found), int(sizes.max(initial=1)))
    counts, lows, highs = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    counts[owners, column], lows[owners, column], highs[owners, column] = found.buckets, lower, upper
    rows = np.flatnonzero(with_zero)
    counts[rows, negatives[rows]] = found.zero_counts[rows]
    lows[rows, negatives[rows]], highs[rows, negatives[rows]] = -found.zero_widths[rows], found.zero_widths[rows]
    return Table(found, counts, lows, highs, np.arange(shape[1]) < sizes[:, None])
