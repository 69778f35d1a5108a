"""Cells: (series, time) pairs and which of two values stays. Plain functions of arrays.

The rule is order-independent: of two values for one cell the larger 64-bit pattern stays. So merging is commutative,
and replicas that got the same samples in any order agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples of one layout, time-major: `values[j, i]` is series i at `times_ms[j]`. presence None: all are there."""

    times_ms: Int64Array
    values: Float64Array
    presence: BoolArray | None

    @property
    def sample_count(self) -> int:
        """How many cells are present."""
        return int(self.values.size if self.presence is None else np.count_nonzero(self.presence))

    def between(self, start: int, end: int) -> Columns:
        """Ticks `start` to `end` (positions, end exclusive)."""
        presence = None if self.presence is None else self.presence[start:end]
        return Columns(self.times_ms[start:end], self.values[start:end], presence)


@dataclass(slots=True)
class MergeCounts:
    """What a merge met. Owned by whoever merges."""

    duplicates: int = 0
    conflicts: int = 0


def merge_columns(parts: Sequence[Columns], counts: MergeCounts) -> Columns:
    """The union of the cells of all parts (which have the same series)."""
    if len(parts) == 1:
        return parts[0]
    times: Int64Array = np.unique(np.concatenate([part.times_ms for part in parts]))
    shape = (len(times), parts[0].values.shape[1])
    values = np.zeros(shape)
    present = np.zeros(shape, np.bool_)
    for part in parts:
        at = np.searchsorted(times, part.times_ms)
        have, old = present[at], values[at]
        new = np.ones(part.values.shape, np.bool_) if part.presence is None else part.presence
        take = _choose(have, new, old, part.values, counts)
        values[at] = np.where(take, part.values, old)
        present[at] = have | new
    return Columns(times, values, None if present.all() else present)


def _choose(
    have: BoolArray, new: BoolArray, old: Float64Array, offered: Float64Array, counts: MergeCounts
) -> BoolArray:
    both = have & new
    if not both.any():
        return new
    old_bits = np.ascontiguousarray(old).view(np.uint64)
    new_bits = np.ascontiguousarray(offered).view(np.uint64)
    conflicts = int(np.count_nonzero(both & (old_bits != new_bits)))
    counts.conflicts += conflicts
    counts.duplicates += int(np.count_nonzero(both)) - conflicts
    take: BoolArray = new & (~have | (new_bits > old_bits))
    return take


def merge_row(times: Sequence[Int64Array], values: Sequence[Float64Array]) -> tuple[Int64Array, Float64Array]:
    """The union of the samples of one series, sorted by time."""
    all_times = np.concatenate(times)
    all_values = np.concatenate(values)
    order = np.lexsort((all_values.view(np.uint64), all_times))
    sorted_times, sorted_values = all_times[order], all_values[order]
    last = np.append(sorted_times[1:] != sorted_times[:-1], True) if len(order) else np.zeros(0, np.bool_)
    return sorted_times[last], sorted_values[last]
