"""Values: what expressions yield, in columns over all steps of a query at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import METRIC_NAME, BoolArray, Float64Array, HistogramCells, Histograms, Int64Array, Labels

METADATA_LABELS = frozenset([METRIC_NAME, "__type__", "__unit__"])
"""What an operation that changes a metric's meaning takes away."""

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps at which a query is evaluated: start, start + step, … (`count` of them)."""

    start_ms: int
    step_ms: int
    count: int

    @classmethod
    def between(cls, start_ms: int, end_ms: int, step_ms: int) -> Grid:
        """From start to end, both inclusive when the step hits them."""
        return cls(start_ms, step_ms, max(0, (end_ms - start_ms) // step_ms + 1))

    @property
    def end_ms(self) -> int:
        """The last step."""
        return self.start_ms + (self.count - 1) * self.step_ms

    @property
    def times_ms(self) -> Int64Array:
        """int64 [count]."""
        return self.start_ms + np.arange(self.count, dtype=np.int64) * self.step_ms

    @property
    def first(self) -> Grid:
        """The first step alone."""
        return Grid(self.start_ms, self.step_ms, 1)


@dataclass(frozen=True, slots=True)
class QuerySpan:
    """What the client asked for: one instant (step 0), or a range."""

    start_ms: int
    end_ms: int
    step_ms: int = 0

    @property
    def grid(self) -> Grid:
        """Its steps."""
        if self.step_ms == 0:
            return Grid(self.start_ms, 0, 1)
        return Grid.between(self.start_ms, self.end_ms, self.step_ms)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number per step: float64 [T]."""

    values: Float64Array


@dataclass(frozen=True, slots=True)
class Text:
    """A string; the same at every step."""

    value: str


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector per step: S series x T steps.

    values: float64 [S, T]. present: bool [S, T]; a value may be NaN, so absence is its own mask, and where it is False
    the value means nothing. drop_name: bool [S], series whose name goes away at the end, or None for none.
    histograms: which of the present cells hold a native histogram, or None where none does.
    """

    labels: Sequence[Labels]
    values: Float64Array
    present: BoolArray
    drop_name: BoolArray | None = None
    histograms: HistogramCells | None = None

    def take(self, rows: Int64Array | Sequence[int]) -> Vector:
        """Some of the series, in the order given."""
        index = np.asarray(rows, dtype=np.int64)
        return Vector(
            [self.labels[row] for row in index],
            self.values[index],
            self.present[index],
            None if self.drop_name is None else self.drop_name[index],
            None if self.histograms is None else self.histograms.taken(index),
        )

    def with_values(self, values: Float64Array, present: BoolArray | None = None) -> Vector:
        """The same series with other numbers, where there were numbers or where `present` says."""
        present = self.floats.present if present is None else present
        return replace(self, values=values, present=present, histograms=None)

    def where(self, kept: BoolArray) -> Vector:
        """Only the cells that are marked."""
        present = self.present & kept
        cells = None if self.histograms is None else self.histograms.only(present)
        return replace(self, present=present, histograms=cells)

    def with_histograms(self, marked: BoolArray, column: Histograms) -> Vector:
        """The histograms of a column in the marked cells, in order, beside the numbers elsewhere."""
        floats = self.floats
        cells = HistogramCells.at(marked, column) if len(column) else None
        return replace(floats, present=floats.present | marked, histograms=cells)

    @property
    def native(self) -> BoolArray:
        """bool [S, T]: cells with a histogram."""
        if self.histograms is None:
            return np.zeros(self.present.shape, np.bool_)
        return self.histograms.mask & self.present

    @property
    def floats(self) -> Vector:
        """The cells with a number."""
        if self.histograms is None:
            return self
        return replace(self, present=self.present & ~self.histograms.mask, histograms=None)

    @property
    def names_to_drop(self) -> BoolArray:
        """bool [S]: `drop_name`, spelled out."""
        return np.zeros(len(self.labels), np.bool_) if self.drop_name is None else self.drop_name


Value = Scalar | Text | Vector


def empty_vector(step_count: int) -> Vector:
    """No series."""
    return Vector([], np.empty((0, step_count)), np.empty((0, step_count), np.bool_))


def broadcast(value: Value, step_count: int) -> Value:
    """A value of one step, repeated over `step_count` steps without copying."""
    match value:
        case Scalar():
            return Scalar(np.broadcast_to(value.values, (step_count,)))
        case Vector():
            shape = (len(value.labels), step_count)
            cells = value.histograms
            if cells is not None:
                cells = replace(cells, which=np.broadcast_to(cells.which, shape))
            values, present = np.broadcast_to(value.values, shape), np.broadcast_to(value.present, shape)
            return replace(value, values=values, present=present, histograms=cells)
        case _:
            return value


def without_metadata(labels: Labels) -> Labels:
    """The labels less name, type and unit."""
    if labels and labels[0][0] > "__unit__":  # sorted: nothing of the kind follows
        return labels
    return labels.without(METADATA_LABELS)


def drop_names(vector: Vector, *, delayed: bool) -> Vector:
    """The vector after an operation that changes what its metrics mean: at once, or noted for the end.

    Raises QueryError when two series become the same one at the same step.
    """
    if delayed:
        return replace(vector, drop_name=np.ones(len(vector.labels), np.bool_))
    labels = [without_metadata(one) for one in vector.labels]
    return merge_duplicates(replace(vector, labels=labels))


def finish_names(vector: Vector) -> Vector:
    """Take away the names that were noted for it. Raises QueryError as `drop_names` does."""
    if vector.drop_name is None:
        return merge_duplicates(vector)
    pairs = zip(vector.labels, vector.drop_name.tolist(), strict=True)
    labels = [without_metadata(one) if drop else one for one, drop in pairs]
    return merge_duplicates(replace(vector, labels=labels, drop_name=None))


def merge_duplicates(vector: Vector) -> Vector:
    """Series with the same labels become one, if no step has a value in two of them; else QueryError."""
    if len(set(vector.labels)) == len(vector.labels):
        return vector
    rows_of: dict[Labels, list[int]] = {}
    for row, labels in enumerate(vector.labels):
        rows_of.setdefault(labels, []).append(row)
    kept = vector.take([rows[0] for rows in rows_of.values()])
    values, present, drops, cells = kept.values, kept.present, kept.drop_name, kept.histograms
    for at, rows in enumerate(rows_of.values()):
        for row in rows[1:]:
            extra = vector.present[row]
            if (present[at] & extra).any():
                raise QueryError(SAME_LABELSET)
            values[at] = np.where(extra, vector.values[row], values[at])
            present[at] |= extra
            if cells is not None and vector.histograms is not None:
                cells.which[at] = np.where(extra, vector.histograms.which[row], cells.which[at])
            if drops is not None and vector.drop_name is not None:
                drops[at] |= vector.drop_name[row]
    return Vector(list(rows_of), values, present, drops, cells)


def stacked(labels: Sequence[Labels], parts: Sequence[Vector], drop_name: BoolArray | None) -> Vector:
    """The cells of several vectors over the same steps, one below the other."""
    return Vector(
        labels,
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.present for part in parts]),
        drop_name,
        stacked_cells([(part.histograms, part.values.shape) for part in parts]),
    )


def stacked_cells(parts: Sequence[tuple[HistogramCells | None, tuple[int, ...]]]) -> HistogramCells | None:
    """Histograms of several arrays of these shapes, one below the other; None when there are none."""
    if all(cells is None for cells, _ in parts):
        return None
    which, before = [], 0
    for cells, shape in parts:
        if cells is None:
            which.append(np.full(shape, -1, np.int64))
            continue
        which.append(np.where(cells.which >= 0, cells.which + before, -1))
        before += len(cells.column)
    return HistogramCells(
        np.concatenate(which), Histograms.concat([cells.column for cells, _ in parts if cells is not None])
    )


def compact(vector: Vector) -> Vector:
    """Only the series that have a value at some step."""
    alive = vector.present.any(axis=1)
    return vector if alive.all() else vector.take(np.flatnonzero(alive))
