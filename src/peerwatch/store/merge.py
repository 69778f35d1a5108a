"""Merge: many rows of samples into one block. What flush does with heads and compaction with blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.store.block_writer import BlockWriter
from peerwatch.store.cells import MergeCounts
from peerwatch.store.tile import MAX_ROWS

TILE_ROWS = 32
TILE_CELLS = TILE_ROWS * 1440  # two hours at 5 s: shorter rows come in larger tiles, which costs less per sample
_MAX_TILE_CELLS = 1 << 20
_MIN_ROWS = 8  # a metric with fewer series shares its tile with the next one: tiny tiles cost more than they save

Row = tuple[Float64Array, BoolArray | None]


class Input(Protocol):
    """Rows to merge: the head of a layout, or a block. `series_ids` and `timelines` have one entry per row."""

    series_ids: Int64Array
    timelines: Int64Array

    def times(self, timeline: int) -> Int64Array:
        """The ticks of a timeline."""
        ...

    def row(self, row: int) -> Row:
        """Values (at least as many as the row's timeline has ticks) and presence of a row."""
        ...


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How rows with certain timelines become one: shared by all series that have the same ones.

    order: which source comes first; places: where its ticks go; clean: sources do not overlap in time.
    """

    times: Int64Array
    order: tuple[int, ...]
    places: tuple[Int64Array, ...]
    clean: bool


class BlockMerge:
    """One merge. Memory: the index columns of all inputs, and one tile."""

    def __init__(self, inputs: Sequence[Input], keys_of: Callable[[Int64Array], Int64Array]) -> None:
        self.counts = MergeCounts()
        self._inputs = inputs
        rows = [np.arange(len(one.series_ids)) for one in inputs]
        ids = np.concatenate([one.series_ids for one in inputs])
        source = np.repeat(np.arange(len(inputs)), [len(one) for one in rows])
        order = np.lexsort((source, ids))
        self._source: list[int] = source[order].tolist()
        self._row: list[int] = np.concatenate(rows)[order].tolist()
        self._timeline: list[int] = np.concatenate([one.timelines for one in inputs])[order].tolist()
        self.series_ids, starts = np.unique(ids[order], return_index=True)
        self._starts: list[int] = [*starts.tolist(), len(order)]
        self._recipes: list[_Recipe] = []
        self._recipe_of = self._find_recipes()
        self._keys = keys_of(self.series_ids)

    def write(self, writer: BlockWriter) -> None:
        """Write all tiles. Raises StoreError."""
        ticks = np.array([len(recipe.times) for recipe in self._recipes], np.int64)[self._recipe_of]
        size_class = np.frexp(ticks.astype(np.float64))[1].astype(np.int64)
        metric = self._keys >> 31
        order = np.lexsort((self.series_ids, self._keys, metric, size_class))
        lines = [writer.timeline(recipe.times) for recipe in self._recipes]
        for start, end in _cut(size_class[order], metric[order], ticks[order]):
            chosen = order[start:end]
            self._tile(writer, chosen, lines)

    def _find_recipes(self) -> Int64Array:
        known: dict[tuple[tuple[int, int], ...], int] = {}
        found = np.empty(len(self.series_ids), np.int64)
        sources, timelines, starts = self._source, self._timeline, self._starts
        for series in range(len(found)):
            low, high = starts[series], starts[series + 1]
            key = tuple(zip(sources[low:high], timelines[low:high], strict=True))
            recipe = known.get(key)
            if recipe is None:
                recipe = known[key] = len(self._recipes)
                self._recipes.append(_recipe([self._inputs[source].times(line) for source, line in key]))
            found[series] = recipe
        return found

    def _tile(self, writer: BlockWriter, chosen: Int64Array, lines: list[int]) -> None:
        recipes = self._recipe_of[chosen].tolist()
        widths = [len(self._recipes[recipe].times) for recipe in recipes]
        values = np.empty((len(recipes), max(widths)))
        mask: BoolArray | None = None
        for at, (series, recipe, width) in enumerate(zip(chosen.tolist(), recipes, widths, strict=True)):
            presence = self._fill(values[at], series, self._recipes[recipe])
            values[at, width:] = values[at, width - 1]
            if presence is not None and mask is None:
                mask = np.arange(values.shape[1]) < np.array(widths)[:, None]
            if presence is not None and mask is not None:
                mask[at, :width] = presence
        row_lines = np.array([lines[recipe] for recipe in recipes], np.int64)
        writer.tile(self.series_ids[chosen], row_lines, values, mask)

    def _fill(self, out: Float64Array, series: int, recipe: _Recipe) -> BoolArray | None:
        """Put the samples of a series where they belong; returns their presence, None when all are there."""
        start = self._starts[series]
        if not recipe.clean:
            return self._fill_overlapping(out, start, recipe)
        presence: BoolArray | None = None
        end = 0
        for source, place in zip(recipe.order, recipe.places, strict=True):
            values, here = self._inputs[self._source[start + source]].row(self._row[start + source])
            begin, end = end, end + len(place)
            out[begin:end] = values[: len(place)]
            if here is not None:
                if presence is None:
                    presence = np.ones(len(recipe.times), np.bool_)
                presence[begin:end] = here[: len(place)]
        return presence

    def _fill_overlapping(self, out: Float64Array, start: int, recipe: _Recipe) -> BoolArray | None:
        have = np.zeros(len(recipe.times), np.bool_)
        bits = np.zeros(len(recipe.times), np.uint64)
        for source, place in zip(recipe.order, recipe.places, strict=True):
            values, here = self._inputs[self._source[start + source]].row(self._row[start + source])
            offered = np.ascontiguousarray(values[: len(place)]).view(np.uint64)
            if here is not None:
                place, offered = place[here[: len(place)]], offered[here[: len(place)]]
            both = have[place]
            conflicts = int(np.count_nonzero(both & (bits[place] != offered)))
            self.counts.conflicts += conflicts
            self.counts.duplicates += int(np.count_nonzero(both)) - conflicts
            bits[place] = np.maximum(bits[place], offered)  # absent cells hold 0, the smallest pattern
            have[place] = True
        out[: len(bits)] = bits.view(np.float64)
        return None if have.all() else have


def _recipe(times: Sequence[Int64Array]) -> _Recipe:
    order = tuple(sorted(range(len(times)), key=lambda at: int(times[at][0])))
    ordered = [times[at] for at in order]
    clean = all(left[-1] < right[0] for left, right in pairwise(ordered))
    union = np.concatenate(ordered)
    if not clean:
        union = np.unique(union)
    places = tuple(ordered if clean else [np.searchsorted(union, one) for one in ordered])
    return _Recipe(union, order, places, clean)


def _cut(size_class: Int64Array, metric: Int64Array, ticks: Int64Array) -> list[tuple[int, int]]:
    """Bounds of tiles: rows of one size, of one metric where it has enough of them."""
    bounds = []
    start = 0
    sizes, metrics, widths = size_class.tolist(), metric.tolist(), ticks.tolist()
    for at in range(1, len(sizes) + 1):
        rows = at - start
        if at == len(sizes):
            bounds.append((start, at))
        elif (
            sizes[at] != sizes[start]
            or (metrics[at] != metrics[at - 1] and rows >= _MIN_ROWS)
            or rows >= _rows_per_tile(widths[start])
        ):
            bounds.append((start, at))
            start = at
    return bounds


def _rows_per_tile(ticks: int) -> int:
    roomy = min(MAX_ROWS, max(TILE_ROWS, TILE_CELLS // ticks))
    return max(1, min(roomy, _MAX_TILE_CELLS // ticks))
