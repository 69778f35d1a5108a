"""Windows of native histograms, laid out one after the other, and the cells that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from peerwatch.model import BoolArray, HistogramCells, Histograms, Int64Array
from peerwatch.query.limits import Budget
from peerwatch.query.value import Vector
from peerwatch.query.window import RangeVector

_BUCKETS_AT_ONCE = 1 << 18  # of all windows that are worked on together: some ten megabytes on the side


@dataclass(frozen=True, slots=True)
class Windows:
    """W windows with a sample. row, step [W]: the cell that each is for. first, last [W]: its samples, flat indices."""

    row: Int64Array
    step: Int64Array
    first: Int64Array
    last: Int64Array
    start_ms: Int64Array
    end_ms: Int64Array

    def __len__(self) -> int:
        return len(self.row)

    @property
    def counts(self) -> Int64Array:
        """int64 [W]: samples per window."""
        return self.last - self.first + 1

    def take(self, chosen: BoolArray | slice) -> Windows:
        """Some of them."""
        parts = (self.row, self.step, self.first, self.last, self.start_ms, self.end_ms)
        return Windows(*(part[chosen] for part in parts))


def samples_of(ranges: RangeVector) -> Histograms:
    """The histograms of a range vector that holds nothing else, sample by sample."""
    cells = ranges.samples.histograms
    return Histograms.none() if cells is None else cells.column.take(cells.which)


def windows_of(ranges: RangeVector, found: Histograms) -> Iterator[Windows]:
    """All windows with a sample, as many at a time as their buckets allow."""
    height = max(1, _BUCKETS_AT_ONCE // int(found.sizes.max(initial=1)))
    for block in ranges.blocks():
        inside = block.counts > 0
        at, step = np.nonzero(inside)
        ends = block.ends_ms[step]
        whole = Windows(block.rows[at], step, block.first[inside], block.last[inside], ends - block.range_ms, ends)
        for begin in range(0, len(whole), height):
            ranges.budget.check()
            yield whole.take(slice(begin, begin + height))


@dataclass(slots=True)
class Collected:
    """Histograms that were worked out, and the cells they belong into. Owned by one call of a function."""

    shape: tuple[int, int]
    budget: Budget
    _parts: list[Histograms] = field(default_factory=list)
    _rows: list[Int64Array] = field(default_factory=list)
    _steps: list[Int64Array] = field(default_factory=list)
    _buckets: int = 0

    def put(self, windows: Windows, found: Histograms) -> None:
        """The histograms of these windows. Raises LimitError when all buckets together are too many."""
        self._buckets += len(found.buckets)
        self.budget.cells(1, self._buckets)
        self._parts.append(found)
        self._rows.append(windows.row)
        self._steps.append(windows.step)

    def cells(self) -> HistogramCells | None:
        """All of them; None when there are none."""
        column = Histograms.concat(self._parts)
        if not len(column):
            return None
        which = np.full(self.shape, -1, np.int64)
        which[np.concatenate(self._rows), np.concatenate(self._steps)] = np.arange(len(column), dtype=np.int64)
        return HistogramCells(which, column)


def beside(floats: Vector, cells: HistogramCells | None) -> Vector:
    """A vector of numbers with histograms in cells of their own."""
    if cells is None:
        return floats
    return replace(floats, present=floats.present | cells.mask, histograms=cells)


def any_in(marked: BoolArray, windows: Windows) -> BoolArray:
    """bool [W]: whether a sample of the window is marked."""
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(marked, dtype=np.int64)))
    found: BoolArray = before[windows.last + 1] > before[windows.first]
    return found


def pairs_within(offsets: Int64Array) -> Int64Array:
    """Flat indices of samples that have a sample of their own series before them."""
    inner = np.ones(max(int(offsets[-1]), 0), np.bool_)
    starts: Sequence[int] = offsets[:-1][np.diff(offsets) > 0].tolist()
    inner[list(starts)] = False
    return np.flatnonzero(inner)
