"""Merge: many rows of samples into one block. What flush does with heads and compaction with blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from peerwatch.errors import StoreError
from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.store.block_writer import BlockWriter
from peerwatch.store.cells import MergeCounts
from peerwatch.store.tile import MAX_ROWS

TILE_ROWS = 32
TILE_CELLS = TILE_ROWS * 1440  # two hours at 5 s: shorter rows come in larger tiles, which costs less per sample
_MAX_TILE_CELLS = 1 << 20
_MIN_ROWS = 8  # a metric with fewer series shares its tile with the next one: tiny tiles cost more than they save
_LINES = 1 << 32  # more timelines than any input has

Row = tuple[Float64Array, BoolArray | None]


class Input(Protocol):
    """Rows to merge: the head of a layout, or a block. `series_ids` and `timelines` have one entry per row."""

    series_ids: Int64Array
    timelines: Int64Array

    def times(self, timeline: int) -> Int64Array:
        """The ticks of a timeline."""
        ...

    def rows(self, rows: Int64Array) -> list[Row]:
        """Values (at least as many as the row's timeline has ticks) and presence of each row."""
        ...

    def take(self, rows: Int64Array) -> Float64Array | None:
        """Rows as one matrix, just as wide as their timelines; None when they cannot be had so, or cells are absent."""
        ...


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How rows with certain timelines become one: shared by all series that have the same ones.

    order: which source comes first; widths: how many ticks it has; clean: sources do not overlap in time, else places
    tells where the ticks of each go.
    """

    times: Int64Array
    order: tuple[int, ...]
    widths: tuple[int, ...]
    clean: bool
    places: tuple[Int64Array, ...]


class BlockMerge:
    """One merge. Memory: the index columns of all inputs, and one tile."""

    def __init__(self, inputs: Sequence[Input], keys_of: Callable[[Int64Array], Int64Array]) -> None:
        self.counts = MergeCounts()
        self._inputs = inputs
        rows = [np.arange(len(one.series_ids)) for one in inputs]
        ids = np.concatenate([one.series_ids for one in inputs])
        source = np.repeat(np.arange(len(inputs)), [len(one) for one in rows])
        lines = np.concatenate([one.timelines for one in inputs])
        order = np.lexsort((source, ids))
        self._source, self._row, self._line = source[order], np.concatenate(rows)[order], lines[order]
        self.series_ids, starts = np.unique(ids[order], return_index=True)
        self._starts = np.append(starts, len(order))
        self._recipes: list[_Recipe] = []
        self._recipe_of = self._find_recipes()
        self._keys = keys_of(self.series_ids)

    def write(self, writer: BlockWriter, stopped: Callable[[], bool] = lambda: False) -> None:
        """Write all tiles. Raises StoreError, also when `stopped` says so between two tiles."""
        ticks = np.array([len(recipe.times) for recipe in self._recipes], np.int64)[self._recipe_of]
        size_class = np.frexp(ticks.astype(np.float64))[1].astype(np.int64)
        metric = self._keys >> 31
        order = np.lexsort((self.series_ids, self._keys, metric, size_class))
        lines = np.array([writer.timeline(recipe.times) for recipe in self._recipes], np.int64)
        for start, end in _cut(size_class[order], metric[order], ticks[order]):
            if stopped():
                raise StoreError(f"{writer.path} is given up: the store is closing")
            self._tile(writer, order[start:end], lines)

    def _find_recipes(self) -> Int64Array:
        """Number of each series's recipe. Series with one row (in a flush, nearly all) need no loop."""
        single = np.diff(self._starts) == 1
        pairs = self._source * _LINES + self._line  # (input, timeline) as one number
        found = np.empty(len(single), np.int64)
        kinds, found[single] = np.unique(pairs[self._starts[:-1][single]], return_inverse=True)
        self._recipes += [self._recipe_for([pair]) for pair in kinds.tolist()]
        known: dict[bytes, int] = {}
        starts = self._starts.tolist()
        for series in np.flatnonzero(~single).tolist():
            key = pairs[starts[series] : starts[series + 1]]
            recipe = known.setdefault(key.tobytes(), len(self._recipes))
            if recipe == len(self._recipes):
                self._recipes.append(self._recipe_for(key.tolist()))
            found[series] = recipe
        return found

    def _recipe_for(self, pairs: Sequence[int]) -> _Recipe:
        return _recipe([self._inputs[pair // _LINES].times(pair % _LINES) for pair in pairs])

    def _tile(self, writer: BlockWriter, chosen: Int64Array, lines: Int64Array) -> None:
        recipes = self._recipe_of[chosen]
        values, mask = self._take(chosen), None
        if values is None:
            values, mask = self._collect(chosen, [self._recipes[recipe] for recipe in recipes.tolist()])
        writer.tile(self.series_ids[chosen], lines[recipes], values, mask)

    def _take(self, chosen: Int64Array) -> Float64Array | None:
        """The fast road: every series has one row, and inputs give theirs as matrices."""
        at = self._starts[chosen]
        if (self._starts[chosen + 1] - at != 1).any():
            return None
        sources, rows = self._source[at], self._row[at]
        parts: list[tuple[BoolArray, Float64Array]] = []
        for source in np.unique(sources).tolist():
            here = sources == source
            part = self._inputs[source].take(rows[here])
            if part is None:
                return None
            parts.append((here, part))
        if len(parts) == 1:
            return parts[0][1]
        values = np.empty((len(chosen), max(part.shape[1] for _, part in parts)))
        for here, part in parts:
            values[here, : part.shape[1]] = part
            values[here, part.shape[1] :] = part[:, -1:]
        return values

    def _collect(self, chosen: Int64Array, recipes: Sequence[_Recipe]) -> tuple[Float64Array, BoolArray | None]:
        """The general road, series by series."""
        widths = [len(recipe.times) for recipe in recipes]
        widest = max(widths)
        pieces: list[Float64Array] = []
        masks: list[tuple[int, BoolArray]] = []
        for at, (rows, recipe, width) in enumerate(zip(self._rows_of(chosen), recipes, widths, strict=True)):
            presence = _join(pieces, rows, recipe) if recipe.clean else self._merge(pieces, rows, recipe)
            if presence is not None:
                masks.append((at, presence))
            if width < widest:
                pieces.append(np.full(widest - width, pieces[-1][-1]))
        mask: BoolArray | None = None
        if masks:
            mask = np.arange(widest) < np.array(widths)[:, None]
            for at, presence in masks:
                mask[at, : len(presence)] = presence
        return np.concatenate(pieces).reshape(len(recipes), widest), mask

    def _rows_of(self, chosen: Int64Array) -> Iterator[list[Row]]:
        """The rows of each series; every input is asked once for all of them."""
        starts = self._starts[chosen]
        counts = self._starts[chosen + 1] - starts
        ends = np.cumsum(counts)
        at = np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1])
        sources, rows = self._source[at], self._row[at]
        order = np.argsort(sources, kind="stable")
        cuts = [0, *(np.flatnonzero(np.diff(sources[order])) + 1).tolist(), len(order)]
        found: list[Row | None] = [None] * len(order)
        for low, high in pairwise(cuts):
            group = order[low:high]
            got = self._inputs[int(sources[group[0]])].rows(rows[group])
            for place, row in zip(group.tolist(), got, strict=True):
                found[place] = row
        whole = [row for row in found if row is not None]
        return (whole[end - count : end] for end, count in zip(ends.tolist(), counts.tolist(), strict=True))

    def _merge(self, pieces: list[Float64Array], rows: Sequence[Row], recipe: _Recipe) -> BoolArray | None:
        """Append the samples of a series whose rows overlap in time; returns their presence, None when all there."""
        have = np.zeros(len(recipe.times), np.bool_)
        bits = np.zeros(len(recipe.times), np.uint64)
        for at, place in zip(recipe.order, recipe.places, strict=True):
            values, here = rows[at]
            offered = np.ascontiguousarray(values[: len(place)]).view(np.uint64)
            if here is not None:
                place, offered = place[here[: len(place)]], offered[here[: len(place)]]
            both = have[place]
            conflicts = int(np.count_nonzero(both & (bits[place] != offered)))
            self.counts.conflicts += conflicts
            self.counts.duplicates += int(np.count_nonzero(both)) - conflicts
            bits[place] = np.maximum(bits[place], offered)  # absent cells hold 0, the smallest pattern
            have[place] = True
        pieces.append(bits.view(np.float64))
        return None if have.all() else have


def split_rows(values: Float64Array, presence: BoolArray | None, rows: Int64Array) -> list[Row]:
    """Some rows of a matrix, one by one."""
    masks: Sequence[BoolArray | None] = [None] * len(rows) if presence is None else list(presence[rows])
    return list(zip(map(values.__getitem__, rows.tolist()), masks, strict=True))


def _join(pieces: list[Float64Array], rows: Sequence[Row], recipe: _Recipe) -> BoolArray | None:
    """Append the samples of a series whose rows follow each other; returns their presence, None when all are there."""
    presence: BoolArray | None = None
    end = 0
    for at, width in zip(recipe.order, recipe.widths, strict=True):
        values, here = rows[at]
        pieces.append(values if len(values) == width else values[:width])
        begin, end = end, end + width
        if here is not None:
            if presence is None:
                presence = np.ones(len(recipe.times), np.bool_)
            presence[begin:end] = here[:width]
    return presence


def _recipe(times: Sequence[Int64Array]) -> _Recipe:
    order = tuple(sorted(range(len(times)), key=lambda at: int(times[at][0])))
    ordered = [times[at] for at in order]
    clean = all(left[-1] < right[0] for left, right in pairwise(ordered))
    widths = tuple(len(one) for one in ordered)
    union = np.concatenate(ordered)
    if clean:
        return _Recipe(union, order, widths, clean, ())
    union = np.unique(union)
    return _Recipe(union, order, widths, clean, tuple(np.searchsorted(union, one) for one in ordered))


def _cut(size_class: Int64Array, metric: Int64Array, ticks: Int64Array) -> list[tuple[int, int]]:
    """Bounds of tiles: rows of one size, of one metric where it has enough of them."""
    bounds: list[tuple[int, int]] = []
    if not len(ticks):
        return bounds
    changes = (np.diff(size_class) != 0) | (np.diff(metric) != 0)
    groups = [0, *(np.flatnonzero(changes) + 1).tolist(), len(metric)]
    start = 0
    for low, high in pairwise(groups):
        if low > start and (low - start >= _MIN_ROWS or size_class[low] != size_class[start]):
            bounds.append((start, low))
            start = low
        limit = _rows_per_tile(int(ticks[start]))
        while high - start >= limit:
            bounds.append((start, start + limit))
            start += limit
    if start < len(metric):
        bounds.append((start, len(metric)))
    return bounds


def _rows_per_tile(ticks: int) -> int:
    roomy = min(MAX_ROWS, max(TILE_ROWS, TILE_CELLS // ticks))
    return max(1, min(roomy, _MAX_TILE_CELLS // ticks))
