"""Total: sums of native histograms that do not lose digits, as those of floats do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms, Int64Array
from peerwatch.query import kahan
from peerwatch.query.native.arithmetic import brought_together, joint_hints
from peerwatch.query.native.layout import to_schemas, union_of


@dataclass(slots=True)
class Total:
    """N running sums. Owned by whoever adds. `lost` has the layout of `sums`: what rounding took (Neumaier)."""

    sums: Histograms
    lost: Histograms

    @classmethod
    def of(cls, first: Histograms) -> Total:
        """Starts with a summand each."""
        return cls(first, _emptied(first))

    def add(self, rows: Int64Array, more: Histograms) -> BoolArray:
        """Add one to each of some sums, which it must be `compatible` with; returns where bounds were reconciled."""
        if len(rows) == len(self.sums):
            self.sums, self.lost, reconciled = _added(self.sums, self.lost, more)
            return reconciled
        sums, lost, reconciled = _added(self.sums.take(rows), self.lost.take(rows), more)
        self.sums, self.lost = _replaced(self.sums, rows, sums), _replaced(self.lost, rows, lost)
        return reconciled

    def result(self) -> Histograms:
        """The sums."""
        return _folded(self.sums, self.lost)


def _emptied(found: Histograms) -> Histograms:
    zeros = np.zeros(len(found))
    return replace(found, counts=zeros, sums=zeros, zero_counts=zeros, buckets=np.zeros(len(found.buckets)))


def _folded(sums: Histograms, lost: Histograms) -> Histograms:
    with np.errstate(invalid="ignore"):
        return replace(
            sums,
            counts=sums.counts + lost.counts,
            sums=sums.sums + lost.sums,
            zero_counts=sums.zero_counts + lost.zero_counts,
            buckets=sums.buckets + lost.buckets,
        )


def _replaced(old: Histograms, rows: Int64Array, new: Histograms) -> Histograms:
    order = np.arange(len(old), dtype=np.int64)
    order[rows] = len(old) + np.arange(len(rows), dtype=np.int64)
    return Histograms.concat([old, new]).take(order)


def _added(sums: Histograms, lost: Histograms, more: Histograms) -> tuple[Histograms, Histograms, BoolArray]:
    """(sums, lost, where bounds were reconciled) with `more` in them."""
    sums, lost, more, reconciled = _at_one_layout(sums, lost, more)
    union = union_of(sums, more)
    columns = [
        (more.counts, sums.counts.copy(), lost.counts.copy()),
        (more.sums, sums.sums.copy(), lost.sums.copy()),
        (more.zero_counts, sums.zero_counts.copy(), lost.zero_counts.copy()),
        (
            union.spread(more.buckets, union.right),
            union.spread(sums.buckets, union.left),
            union.spread(lost.buckets, union.left),
        ),
    ]
    with np.errstate(all="ignore"):
        for value, total, rest in columns:
            kahan.increase_all(value, total, rest)
    layout = replace(sums, offsets=union.offsets, keys=union.keys)
    totals, rests = ([column[at] for column in columns] for at in (1, 2))
    return _with_columns(layout, totals), _with_columns(layout, rests), reconciled


def _with_columns(layout: Histograms, columns: Sequence[Float64Array]) -> Histograms:
    counts, sums, zero_counts, buckets = columns
    return replace(layout, counts=counts, sums=sums, zero_counts=zero_counts, buckets=buckets)


def _at_one_layout(
    sums: Histograms, lost: Histograms, more: Histograms
) -> tuple[Histograms, Histograms, Histograms, BoolArray]:
    """All three with the same schemas, zero buckets and bounds. Where more than the schema changes, which is rare, what
    was lost is put back first: its buckets would change, too."""
    hints, _ = joint_hints(sums.hints, more.hints)
    alike = sums.bounds == more.bounds and not (sums.bounds_of != more.bounds_of).any()
    if not alike or (sums.zero_widths != more.zero_widths).any():
        sums, more, reconciled = brought_together(_folded(sums, lost), more)
        return replace(sums, hints=hints), _emptied(sums), more, reconciled
    coarser = np.minimum(sums.schemas, more.schemas)
    sums, lost, more = (to_schemas(one, coarser) for one in (sums, lost, more))
    return replace(sums, hints=hints), lost, more, np.zeros(len(sums), np.bool_)


def overflowed(found: Histograms) -> BoolArray:
    """bool [N]: which have an infinity in them that adding may have made."""
    result = np.isinf(found.counts) | np.isinf(found.sums) | np.isinf(found.zero_counts)
    result[found.owners[np.isinf(found.buckets)]] = True
    return result
