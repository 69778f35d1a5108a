"""Result: what a query comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import Float64Array, HistogramCells, Int64Array, Labels, SeriesSet
from peerwatch.query.functions.extended import extended_points
from peerwatch.query.value import QuerySpan, Scalar, Text, Value, Vector, compact, finish_names
from peerwatch.query.window import Block, RangeVector


@dataclass(frozen=True, slots=True)
class ScalarResult:
    """A number at a time."""

    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class StringResult:
    """A string at a time."""

    time_ms: int
    value: str


@dataclass(frozen=True, slots=True)
class VectorResult:
    """One sample per series, all at the same time. values: float64 [S]. The order is the answer's own (sort, topk).

    histograms: which of the samples are native histograms [S]; None for none.
    """

    time_ms: int
    labels: Sequence[Labels]
    values: Float64Array
    histograms: HistogramCells | None = None


@dataclass(frozen=True, slots=True)
class MatrixResult:
    """Samples of many series, in columns; series sorted by labels, none empty."""

    series: SeriesSet


ResultValue = ScalarResult | StringResult | VectorResult | MatrixResult


@dataclass(frozen=True, slots=True)
class Result:
    """The answer, and what it should be read with."""

    value: ResultValue
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    samples: int = 0
    """Samples that were read for it."""


def instant_result(value: Value | RangeVector, time_ms: int) -> ResultValue:
    """The answer to an instant query."""
    match value:
        case Scalar():
            return ScalarResult(time_ms, float(value.values[0]))
        case Text():
            return StringResult(time_ms, value.value)
        case Vector():
            vector = compact(finish_names(compact(value)))
            cells = vector.histograms
            histograms = None if cells is None else replace(cells, which=cells.which[:, 0]).compact()
            return VectorResult(time_ms, vector.labels, np.ascontiguousarray(vector.values[:, 0]), histograms)
        case RangeVector():
            return MatrixResult(_window_series(value))


def range_result(value: Value | RangeVector, query: QuerySpan) -> ResultValue:
    """The answer to a range query: always a matrix. A string or a range vector has no place there."""
    times_ms = query.grid.times_ms
    match value:
        case Scalar():
            offsets = np.array([0, len(times_ms)], np.int64)
            return MatrixResult(SeriesSet([Labels()], times_ms, np.array(value.values), offsets))
        case Vector():
            return MatrixResult(_sorted_series(finish_names(compact(value)), times_ms))
        case _:
            raise TypeError("a range query yields scalars or instant vectors")


def _sorted_series(vector: Vector, times_ms: Int64Array) -> SeriesSet:
    order = sorted(range(len(vector.labels)), key=vector.labels.__getitem__)
    ordered = vector if order == list(range(len(order))) else vector.take(order)
    counts = np.cumsum(ordered.present.sum(axis=1), dtype=np.int64)
    offsets = np.concatenate((np.zeros(1, np.int64), counts))
    times = np.broadcast_to(times_ms, ordered.values.shape)[ordered.present]
    cells = ordered.histograms
    histograms = None if cells is None else replace(cells, which=cells.which[ordered.present]).compact()
    return SeriesSet(ordered.labels, times, ordered.values[ordered.present], offsets, histograms)


def _window_series(ranges: RangeVector) -> SeriesSet:
    """The samples of the one window that an instant query has."""
    if ranges.before_ms and ranges.samples.histograms is not None:
        modifier = "smoothed" if ranges.after_ms else "anchored"
        raise QueryError(f"{modifier} modifier is not supported with histograms")
    cells = ranges.samples.histograms
    found: dict[int, tuple[Sequence[int], Sequence[float]]] = {}
    which: dict[int, Int64Array] = {}
    for block in ranges.blocks():
        for at, row in enumerate(block.rows.tolist()):
            times, values = _window_points(ranges, block, at)
            if len(times):
                found[row] = (times, values)
                if cells is not None:
                    first = int(block.first[at, 0])
                    which[row] = cells.which[first : first + len(times)]
    order = sorted(found, key=ranges.labels.__getitem__)
    lengths = [len(found[row][0]) for row in order]
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
    return SeriesSet(
        [ranges.labels[row] for row in order],
        np.concatenate([np.empty(0, np.int64), *(np.asarray(found[row][0], np.int64) for row in order)]),
        np.concatenate([np.empty(0), *(np.asarray(found[row][1], np.float64) for row in order)]),
        offsets,
        None if cells is None or not order else _cells_of(cells, [which[row] for row in order]),
    )


def _cells_of(cells: HistogramCells, which: Sequence[Int64Array]) -> HistogramCells | None:
    chosen = replace(cells, which=np.concatenate(which))
    return chosen.compact() if chosen.mask.any() else None


def _window_points(ranges: RangeVector, block: Block, at: int) -> tuple[Sequence[int], Sequence[float]]:
    if ranges.before_ms:
        return extended_points(ranges, block, at)
    first = int(block.first[at, 0])
    part = slice(first, first + int(block.counts[at, 0]))
    return ranges.samples.times_ms[part].tolist(), ranges.samples.values[part].tolist()
