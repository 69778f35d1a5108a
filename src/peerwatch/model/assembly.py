"""Assembly: from the parts that a store holds (see parts.py) back to native histograms and start timestamps.

Numpy throughout: what is done in Python is done per series, never per sample.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from peerwatch.model.arrays import STALE, BoolArray, Float64Array, Int64Array, is_stale, ranges
from peerwatch.model.histograms import CUSTOM_SCHEMA, KEY_BIAS, HistogramCells, Histograms, offsets_of
from peerwatch.model.parts import (
    COUNT,
    FORM,
    OVERFLOW,
    START,
    SUM,
    WIDTH,
    ZERO,
    form_of,
    is_part,
    read_bucket,
    read_form,
    without_part,
)
from peerwatch.model.series_set import SeriesSet

Bounds = tuple[float, ...]

_WIDEST = 1 << 62
_NO_SCHEMA = 1 << 10
_UNKNOWN = -2
_MARKER_FORM = form_of(0, 0)
"""A stale marker has no form; it is shown as one of schema 0."""


def assemble(found: SeriesSet) -> SeriesSet:
    """What a store found, with its parts put together: labels have no PART, samples may be histograms and have starts.

    Where a series has a number and a histogram at one time, the histogram counts. What there is no count of is left
    out. Costs nothing where there are no parts.
    """
    if not found.labels or not is_part(found.labels[0]):
        return found
    return _Assembly(found).whole()


class _Grid:
    """Finds samples by series and time. `keys` ascend: number of the series * width + time."""

    def __init__(self, keys: Int64Array) -> None:
        self._keys = keys

    def find(self, wanted: Int64Array, sizes: Int64Array) -> tuple[Int64Array, BoolArray]:
        """(where each is, whether it is there). wanted: ascending runs of these sizes, one per series.

        Parts nearly always have the times of what they belong to: then one search per run is enough.
        """
        last = len(self._keys) - 1
        if last < 0 or not len(wanted):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
        sizes = sizes[sizes > 0]
        firsts = offsets_of(sizes)[:-1]
        at = np.minimum(ranges(np.searchsorted(self._keys, wanted[firsts]), sizes), last)
        good: BoolArray = self._keys[at] == wanted
        if not good.all():
            bad = np.flatnonzero(~good)
            at[bad] = np.minimum(np.searchsorted(self._keys, wanted[bad]), last)
            good[bad] = self._keys[at[bad]] == wanted[bad]
        return at, good


class _Assembly:
    """One answer being put together. Owned by one call of `assemble`.

    A sample of COUNT is a histogram; `self._grid` tells by series and time which one.
    """

    def __init__(self, found: SeriesSet) -> None:
        self._found = found
        self._sizes = np.diff(found.offsets)
        self._plain = bisect_left(found.labels, True, key=lambda labels: not is_part(labels))
        self._rows: dict[str, list[int]] = {}
        for row in range(self._plain):
            self._rows.setdefault(found.labels[row][0][1], []).append(row)
        self._counted = np.array(self._rows.get(COUNT, []), np.int64)
        self._owners = [without_part(found.labels[row]) for row in self._counted.tolist()]
        self._number = {owner: number for number, owner in enumerate(self._owners)}
        self._stamps, self._width = _stamps(found.times_ms, len(found.labels))
        flat, keys = self._samples(self._counted, np.arange(len(self._owners)))
        self._flat, self._grid = flat, _Grid(keys)

    def whole(self) -> SeriesSet:
        """Histograms beside numbers, sorted, with their starts."""
        histograms, known = self._histograms()
        return self._with_starts(*self._beside_numbers(histograms, known))

    def _samples(self, rows: Int64Array, numbers: Int64Array) -> tuple[Int64Array, Int64Array]:
        """(places in the answer, keys) of all samples of these rows, which belong to series of these numbers."""
        sizes = self._sizes[rows]
        flat = ranges(self._found.offsets[:-1][rows], sizes)
        return flat, np.repeat(numbers * self._width, sizes) + self._stamps[flat]

    def _belonging(self, rows: Sequence[int]) -> tuple[Int64Array, Int64Array]:
        """(those of these parts of which there is a count, the number of its series)."""
        labels, number = self._found.labels, self._number
        numbers = np.array([number.get(without_part(labels[row]), -1) for row in rows], np.int64)
        return np.array(rows, np.int64)[numbers >= 0], numbers[numbers >= 0]

    def _single(self, name: str, absent: float) -> Float64Array:
        """What each histogram has of a part that it has once."""
        rows, numbers = self._belonging(self._rows.get(name, ()))
        flat, keys = self._samples(rows, numbers)
        at, there = self._grid.find(keys, self._sizes[rows])
        values = np.full(len(self._flat), absent)
        values[at[there]] = self._found.values[flat[there]]
        return values

    def _histograms(self) -> tuple[Histograms, BoolArray]:
        """(a histogram for every count, whether it is known what it is: it has a form, or is a stale marker)."""
        counts = self._found.values[self._flat]
        stale = is_stale(counts)
        forms = np.where(stale, _MARKER_FORM, self._single(FORM, np.nan))
        known = ~np.isnan(forms)
        schemas, hints = read_form(np.where(known, forms, _MARKER_FORM))
        sums = np.where(stale, STALE, self._single(SUM, np.nan))
        zeros, widths = self._single(ZERO, 0.0), self._single(WIDTH, 0.0)
        owners, places, buckets = self._buckets(np.where(stale, _NO_SCHEMA, schemas))
        offsets = np.searchsorted(owners, np.arange(len(counts) + 1))
        bounds_of, bounds = _bounds(schemas == CUSTOM_SCHEMA, offsets, places)
        ranks = np.arange(len(owners)) - offsets[owners] + KEY_BIAS
        by_bound = schemas[owners] == CUSTOM_SCHEMA
        keys = np.where(by_bound, ranks, np.where(by_bound, 0.0, places).astype(np.int64))
        singles = (schemas, hints, np.where(stale, 0.0, counts), sums, zeros, widths)
        return Histograms(*singles, offsets, keys, buckets, bounds_of, bounds).with_buckets(buckets != 0), known

    def _buckets(self, schemas: Int64Array) -> tuple[Int64Array, Float64Array, Float64Array]:
        """(whose it is, its key or bound, how many) of all buckets, sorted by the first two.

        A histogram has those of the schema that its form says; others of that time are not its own.
        """
        schema_of, place_of = np.full(self._plain, _NO_SCHEMA), np.zeros(self._plain)
        found: list[int] = []
        for name, named in self._rows.items():
            bucket = read_bucket(name)
            if bucket is not None:
                schema_of[named], place_of[named] = bucket
                found += named
        rows, numbers = self._belonging(found)
        order = np.lexsort((place_of[rows], numbers))
        rows, numbers = rows[order], numbers[order]
        sizes = self._sizes[rows]
        flat, keys = self._samples(rows, numbers)
        at, there = self._grid.find(keys, sizes)
        if len(schemas):
            there &= schemas[at] == np.repeat(schema_of[rows], sizes)
        at, places, flat = at[there], np.repeat(place_of[rows], sizes)[there], flat[there]
        order = np.argsort(at, kind="stable")  # long ascending runs: nearly a merge
        return at[order], places[order], self._found.values[flat[order]]

    # ---- everything

    def _beside_numbers(self, histograms: Histograms, known: BoolArray) -> tuple[SeriesSet, Int64Array]:
        """(histograms and numbers in one set, the key of each sample)."""
        found, counted = self._found, self._counted
        numbers = found.labels[self._plain :]
        labels = sorted({*self._owners, *numbers})
        rank = {one: place for place, one in enumerate(labels)}
        rows = np.concatenate((counted, np.arange(self._plain, len(found.labels))))
        ranks = np.array([rank[one] for one in (*self._owners, *numbers)], np.int64)
        order = np.argsort(ranks, kind="stable")  # of one series the histograms come first
        flat, keys = self._samples(rows[order], ranks[order])
        which = np.full(len(found.values), -1, np.int64)
        which[self._flat] = np.where(known, np.arange(len(known)), _UNKNOWN)
        kept = np.flatnonzero(which[flat] != _UNKNOWN)
        kept = kept[np.argsort(keys[kept], kind="stable")]
        kept = kept[np.diff(keys[kept], prepend=-1) > 0]
        flat, keys = flat[kept], keys[kept]
        offsets = np.searchsorted(keys, np.arange(len(labels) + 1) * self._width)
        cells = HistogramCells(which[flat], histograms) if len(histograms) else None
        return SeriesSet(labels, found.times_ms[flat], found.values[flat], offsets, cells), keys

    def _with_starts(self, merged: SeriesSet, keys: Int64Array) -> SeriesSet:
        """The same with start timestamps, and without series that have no sample."""
        rank = {one: place for place, one in enumerate(merged.labels)}
        parts = self._rows.get(START, [])
        ranks = np.array([rank.get(without_part(self._found.labels[row]), -1) for row in parts], np.int64)
        rows, ranks = np.array(parts, np.int64)[ranks >= 0], ranks[ranks >= 0]
        flat, wanted = self._samples(rows, ranks)
        at, there = _Grid(keys).find(wanted, self._sizes[rows])
        starts: Int64Array | None = None
        if there.any():
            starts = np.zeros(len(keys), np.int64)
            starts[at[there]] = self._found.values[flat[there]].astype(np.int64)
        alive = np.flatnonzero(np.diff(merged.offsets))
        labels = [merged.labels[row] for row in alive.tolist()]
        return replace(merged, labels=labels, offsets=merged.offsets[np.append(alive, -1)], starts_ms=starts)


def _bounds(custom: BoolArray, offsets: Int64Array, places: Float64Array) -> tuple[Int64Array, tuple[Bounds, ...]]:
    """(which list of bounds each histogram has, -1 for none; the lists).

    A histogram nearly always has those of the one before it, so only changes become lists.
    """
    found = np.full(len(custom), -1, np.int64)
    if not custom.any():
        return found, ()
    sizes = np.diff(offsets)
    later = np.flatnonzero(custom[1:] & custom[:-1] & (sizes[1:] == sizes[:-1])) + 1
    here, before = (ranges(offsets[rows], sizes[later]) for rows in (later, later - 1))
    unlike = np.bincount(np.repeat(np.arange(len(later)), sizes[later]), places[here] != places[before], len(later))
    changes = custom.copy()
    changes[later[unlike == 0]] = False
    known: dict[Bounds, int] = {}
    lists = []
    for row in np.flatnonzero(changes).tolist():
        bounds = tuple(places[offsets[row] : offsets[row + 1]].tolist())
        lists.append(known.setdefault(tuple(bound for bound in bounds if bound != OVERFLOW), len(known)))
    found[custom] = np.array(lists, np.int64)[np.cumsum(changes)[custom] - 1]
    return found, tuple(known)


def _stamps(times_ms: Int64Array, series: int) -> tuple[Int64Array, int]:
    """(a number from 0 on for each time, in their order; one more than the largest)."""
    if not len(times_ms):
        return times_ms, 1
    low, width = int(times_ms.min()), int(times_ms.max()) - int(times_ms.min()) + 1
    if width * (series + 1) < _WIDEST:
        return times_ms - low, width
    distinct, numbers = np.unique(times_ms, return_inverse=True)
    return numbers, len(distinct)
