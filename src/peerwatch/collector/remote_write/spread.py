"""Spread: what a request brings, as the store will hold it: numbers, and the parts of histograms and of starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peerwatch.collector.remote_write.series_table import UNKNOWN, Bundle, Key, PartKey, SeriesTable
from peerwatch.model import BoolArray, Int64Array
from peerwatch.model.arrays import ranges
from peerwatch.model.histograms import offsets_of
from peerwatch.model.parts import START_SHAPE, names_of, split
from peerwatch.wire.remote_write import Written


class Spread:
    """Cell i is `values[i]` at `times_ms[i]` in row `rows[i]`; a row is one series of the store, at `places[row]`.

    wholes: which sample a cell is of: first come the numbers, then the histograms, then the starts of numbers. A sample
    is stored with all its cells or not at all. Mutable; owned by the handling of one request.
    """

    def __init__(self, written: Written, table: SeriesTable, now_s: float) -> None:
        self.rows, self.times_ms, self.values = written.rows, written.times_ms, written.values
        self.wholes: Int64Array = np.arange(len(self.rows))
        self.places = table.find(written.keys, now_s)
        self._keys = written.keys
        self._numbers, self._histograms = len(self.rows), len(written.histograms)
        self._bundles: list[Bundle] = []
        self._bundle_rows: list[int] = []
        self._ends = np.array([len(self._keys)], np.int64)
        self._dated: Int64Array = np.zeros(0, np.int64)
        self._names: dict[bytes, list[str]] = {}
        if len(written.histograms) or written.starts_ms is not None:
            self._add_parts(written, table)

    def _add_parts(self, written: Written, table: SeriesTable) -> None:
        native = written.histograms
        parts = split(native.column, native.starts_ms)
        starts = np.zeros(0, np.int64) if written.starts_ms is None else written.starts_ms
        self._dated = dated = np.flatnonzero(starts)
        shapes = [*parts.shapes, *[START_SHAPE] * len(dated)]
        sizes = np.concatenate((np.diff(parts.offsets), np.ones(len(dated), np.int64)))
        numbers = self._bundle(np.concatenate((native.rows, written.rows[dated])).tolist(), shapes)
        bundle_sizes = np.zeros(len(self._bundles), np.int64)
        bundle_sizes[numbers] = sizes
        self._ends = len(self._keys) + offsets_of(bundle_sizes)
        times = np.repeat(np.concatenate((native.times_ms, written.times_ms[dated])), sizes)
        wholes = np.repeat(np.arange(len(sizes)) + self._numbers, sizes)
        self.rows = np.concatenate((self.rows, ranges(self._ends[numbers], sizes)))
        self.times_ms = np.concatenate((self.times_ms, times))
        self.values = np.concatenate((self.values, parts.values, starts[dated].astype(np.float64)))
        self.wholes = np.concatenate((self.wholes, wholes))
        self.places = np.concatenate((self.places, *(table.find_parts(one, self._names_of) for one in self._bundles)))

    def _bundle(self, rows: Sequence[int], shapes: Sequence[bytes]) -> Int64Array:
        """The number of the bundle of each sample: parts of one series that come together."""
        known: dict[Bundle, int] = {}
        numbers = []
        for row, shape in zip(rows, shapes, strict=True):
            bundle = (self._keys[row], shape)
            number = known.setdefault(bundle, len(known))
            if number == len(self._bundles):
                self._bundles.append(bundle)
                self._bundle_rows.append(row)
            numbers.append(number)
        return np.array(numbers, np.int64)

    def _names_of(self, shape: bytes) -> list[str]:
        names = self._names.get(shape)
        if names is None:
            names = self._names[shape] = names_of(shape)
        return names

    def key(self, row: int) -> Key:
        """How the series table knows a row."""
        if row < len(self._keys):
            return self._keys[row]
        bundle = int(np.searchsorted(self._ends, row, "right")) - 1
        of, shape = self._bundles[bundle]
        return PartKey(of, self._names_of(shape)[row - int(self._ends[bundle])])

    def written_row(self, row: int) -> int:
        """The row of the request that a row is of."""
        if row < len(self._keys):
            return row
        return self._bundle_rows[int(np.searchsorted(self._ends, row, "right")) - 1]

    @property
    def homeless(self) -> BoolArray:
        """Which cells have no place."""
        found: BoolArray = self.places[self.rows] == UNKNOWN
        return found

    def drop_homeless(self) -> list[int]:
        """Leave samples out of which a cell has no place; one row without a place of each of them.

        A start that is left out together with its number is not told.
        """
        homeless = np.flatnonzero(self.homeless)
        if not len(homeless):
            return []
        lost, firsts = np.unique(self.wholes[homeless], return_index=True)
        starts = lost - self._numbers - self._histograms
        alone = starts < 0
        alone[~alone] = ~np.isin(self._dated[starts[~alone]], lost)
        rows: list[int] = self.rows[homeless[firsts[alone]]].tolist()
        kept = ~np.isin(self.wholes, lost)
        self.rows, self.times_ms, self.values = self.rows[kept], self.times_ms[kept], self.values[kept]
        self.wholes = self.wholes[kept]
        return rows

    def stored(self) -> tuple[int, int]:
        """(numbers, histograms) that are left."""
        wholes = np.unique(self.wholes[self.wholes >= self._numbers])
        numbers = int(np.count_nonzero(self.wholes < self._numbers))
        return numbers, int(np.count_nonzero(wholes < self._numbers + self._histograms))
