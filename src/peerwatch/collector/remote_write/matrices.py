"""Matrices: the cells of a request, one matrix per group of series. Plain functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from peerwatch.collector.remote_write.series_table import split_places
from peerwatch.model import Float64Array, Int64Array, SampleMatrix

Height = Callable[[int], int]
"""How many series a group has."""


class Cells:
    """Samples with their places, sorted by group. Of two values for one cell the larger bit pattern comes last."""

    def __init__(self, places: Int64Array, times_ms: Int64Array, values: Float64Array) -> None:
        order = np.lexsort((values.view(np.uint64), places))
        self.places = places[order]
        self.times_ms = times_ms[order]
        self.values = values[order]
        groups, self.rows = split_places(self.places)
        edges = np.flatnonzero(np.diff(groups)) + 1
        self._bounds = [0, *edges.tolist(), len(groups)] if len(groups) else [0]
        self._numbers = groups[self._bounds[:-1]].tolist()

    def groups(self) -> Iterator[tuple[int, slice]]:
        """(number, its samples) of each group."""
        for number, (start, stop) in zip(self._numbers, pairwise(self._bounds), strict=True):
            yield number, slice(start, stop)

    def sizes(self, height: Height) -> Iterator[tuple[int, int, int]]:
        """(number, cells of its matrix, samples) of each group."""
        for number, part in self.groups():
            ticks = len(np.unique(self.times_ms[part]))
            yield number, height(number) * ticks, part.stop - part.start


def matrices(cells: Cells, height: Height) -> Iterator[tuple[int, SampleMatrix]]:
    """(number, matrix) of each group; cells without a sample are absent."""
    for number, part in cells.groups():
        times, ticks = np.unique(cells.times_ms[part], return_inverse=True)
        shape = (height(number), len(times))
        values, presence = np.zeros(shape), np.zeros(shape, np.bool_)
        rows = cells.rows[part]
        values[rows, ticks] = cells.values[part]  # of a cell's values the last one stays
        presence[rows, ticks] = True
        yield number, SampleMatrix(times, values, None if presence.all() else presence)
