"""Matrices: the cells of a request, one matrix per group of series. Plain functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from peerwatch.collector.remote_write.series_table import split_places
from peerwatch.model import Float64Array, Int64Array, SampleMatrix

Height = Callable[[int], int]
"""How many series a group has."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Samples of one group: `values[i]` belongs into row `rows[i]` at `times_ms[ticks[i]]`.

    Of two values for one cell the larger bit pattern comes last.
    """

    group: int
    rows: Int64Array
    times_ms: Int64Array
    ticks: Int64Array
    values: Float64Array

    def matrix(self, height: int) -> SampleMatrix:
        """The matrix of a group of so many series; cells without a sample are absent."""
        shape = (height, len(self.times_ms))
        values, presence = np.zeros(shape), np.zeros(shape, np.bool_)
        values[self.rows, self.ticks] = self.values  # of a cell's values the last one stays
        presence[self.rows, self.ticks] = True
        return SampleMatrix(self.times_ms, values, None if presence.all() else presence)


def by_group(places: Int64Array, times_ms: Int64Array, values: Float64Array) -> Iterator[Cells]:
    """The samples of a request, group by group."""
    if not len(places):
        return
    order = np.lexsort((values.view(np.uint64), places))
    groups, rows = split_places(places[order])
    times_ms, values = times_ms[order], values[order]
    bounds = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    for start, stop in pairwise(bounds):
        part = slice(start, stop)
        times, ticks = _ticks(times_ms[part])
        yield Cells(int(groups[start]), rows[part], times, ticks, values[part])


def _ticks(times_ms: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(the distinct times, which of them each sample has). Nearly always there is only one."""
    if (times_ms == times_ms[0]).all():
        return times_ms[:1].copy(), np.zeros(len(times_ms), np.int64)
    times, ticks = np.unique(times_ms, return_inverse=True)
    return times, ticks
