"""The *_over_time functions: one number from the samples of a window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.query import kahan
from peerwatch.query.functions.context import (
    Argument,
    CallContext,
    Function,
    Kernel,
    over_floats,
    over_windows,
    ranges_of,
    scalar_of,
)
from peerwatch.query.functions.native_sum import over_time
from peerwatch.query.functions.native_windows import beside
from peerwatch.query.functions.quantile import quantiles_of_columns
from peerwatch.query.value import Vector
from peerwatch.query.window import Block, RangeVector

_FEW_CELLS = 32  # below this many windows a loop over their samples beats numpy calls over the windows
_EXACT = float(1 << 53)
_SORT_CELLS = 1 << 21


def _of_floats(kernel: Kernel) -> Function:
    return lambda context, args: over_floats(context, ranges_of(args[0]), kernel)


def _of_all(kernel: Kernel) -> Function:
    return lambda context, args: over_windows(context, ranges_of(args[0]), kernel)


def _count(block: Block) -> tuple[Float64Array, BoolArray]:
    return block.counts.astype(np.float64), block.counts > 0


def _present(block: Block) -> tuple[Float64Array, BoolArray]:
    return np.ones(block.shape), block.counts > 0


def _edge(of_last: bool) -> Function:
    """The first or the last sample of each window, number or histogram."""

    def run(context: CallContext, args: Sequence[Argument]) -> Vector:
        ranges = ranges_of(args[0])
        cells = ranges.samples.histograms
        which = np.full((len(ranges.labels), len(ranges.ends_ms)), -1, np.int64)

        def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
            at, present = block.last if of_last else block.first, block.counts > 0
            if cells is not None:
                which[block.rows] = np.where(present, cells.which[at], -1)
            return block.samples.values[at], present

        vector = over_windows(context, ranges, kernel, keep_names=True)
        return vector if cells is None else replace(vector, histograms=replace(cells, which=which).only(vector.present))

    return run


def _first_time(block: Block) -> tuple[Float64Array, BoolArray]:
    return block.samples.times_ms[block.first] / 1000.0, block.counts > 0


def _last_time(block: Block) -> tuple[Float64Array, BoolArray]:
    return block.samples.times_ms[block.last] / 1000.0, block.counts > 0


def reduce_windows(block: Block, ufunc: np.ufunc) -> tuple[Float64Array, BoolArray]:
    """A ufunc over the samples of each window, in C."""
    present = block.counts > 0
    result = np.zeros(block.shape)
    if present.any():
        edges = np.stack((block.first[present], block.last[present] + 1), axis=-1).ravel()
        result[present] = ufunc.reduceat(block.samples.padded_values, edges)[::2]
    return result, present


def _min(block: Block) -> tuple[Float64Array, BoolArray]:
    return reduce_windows(block, np.fmin)  # fmin ignores NaN as long as there is a number


def _max(block: Block) -> tuple[Float64Array, BoolArray]:
    return reduce_windows(block, np.fmax)


def _extreme_time(compare: Callable[[Float64Array, Float64Array], BoolArray]) -> Function:
    """When the extreme was last reached."""

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        best, at_ms = np.full(block.shape, np.nan), np.zeros(block.shape, np.int64)
        for live, index in block.rounds():
            value = block.samples.values[index]
            better = live & (compare(value, best) | np.isnan(best))
            best[better] = value[better]
            at_ms[better] = block.samples.times_ms[index][better]
        return at_ms / 1000.0, block.counts > 0

    return _of_floats(kernel)


def _adds_exactly(ranges: RangeVector) -> bool:
    """Whether every partial sum is a whole number below 2^53: then the order of additions makes no difference."""
    values = ranges.samples.values
    if len(values) == 0:
        return True
    longest = int(np.diff(ranges.samples.offsets).max())
    largest = float(np.abs(values).max())
    return largest * longest < _EXACT and bool((values == np.floor(values)).all())


def _sum(context: CallContext, args: Sequence[Argument]) -> Vector:
    ranges = ranges_of(args[0])
    kernel = _exact_sum if _adds_exactly(ranges.floats) else _kahan_sum
    return _unmixed(context, ranges, kernel, average=False)


def _unmixed(context: CallContext, ranges: RangeVector, kernel: Kernel, *, average: bool) -> Vector:
    """Windows of numbers and windows of histograms; one that has both has no sum."""
    if ranges.samples.histograms is None:
        return over_windows(context, ranges, kernel)
    numbers, natives = ranges.floats.counts > 0, ranges.natives.counts > 0
    context.for_each_metric(ranges, numbers & natives, context.notes.mixed_range)
    floats = over_windows(context, ranges.floats, kernel, keep_names=True)
    cells = over_time(context, ranges.natives, average=average)
    only = None if cells is None else cells.only(~numbers)
    return context.drop_names(beside(floats.where(~natives), only))


def _exact_sum(block: Block) -> tuple[Float64Array, BoolArray]:
    """The last addition is that of the compensation, which is +0 here: so a sum is never -0, in Prometheus neither."""
    total, present = reduce_windows(block, np.add)
    return total + 0.0, present


def _kahan_sum(block: Block) -> tuple[Float64Array, BoolArray]:
    if block.counts.size <= _FEW_CELLS:
        return _each_window(block, _sum_values)
    total, lost = _kahan_rounds(block)
    return np.where(np.isinf(total), total, total + lost), block.counts > 0


def _sum_values(values: list[float]) -> float:
    total, lost = 0.0, 0.0
    for value in values:
        total, lost = kahan.increase(value, total, lost)
    return total if math.isinf(total) else total + lost


def _kahan_rounds(block: Block) -> tuple[Float64Array, Float64Array]:
    total, lost = np.full(block.shape, -0.0), np.zeros(block.shape)
    for live, index in block.rounds():
        kahan.increase_all(np.where(live, block.samples.values[index], -0.0), total, lost)
    return total, lost


def _avg(context: CallContext, args: Sequence[Argument]) -> Vector:
    ranges = ranges_of(args[0])
    kernel = _exact_avg if _adds_exactly(ranges.floats) else _kahan_avg
    return _unmixed(context, ranges, kernel, average=True)


def _exact_avg(block: Block) -> tuple[Float64Array, BoolArray]:
    total, present = _exact_sum(block)
    return total / block.counts, present


def _kahan_avg(block: Block) -> tuple[Float64Array, BoolArray]:
    if block.counts.size <= _FEW_CELLS:
        return _each_window(block, kahan.mean)
    total, lost = _kahan_rounds(block)
    counts = block.counts
    result = total / counts + lost / counts
    overflowed = (counts > 0) & ~np.isfinite(total)
    for row, column in zip(*np.nonzero(overflowed), strict=True):  # rare, and then by the book
        result[row, column] = kahan.mean(_window(block, int(row), int(column)))
    return result, counts > 0


def _window(block: Block, row: int, column: int) -> list[float]:
    first, count = int(block.first[row, column]), int(block.counts[row, column])
    found: list[float] = block.samples.values[first : first + count].tolist()
    return found


def _each_window(block: Block, function: Callable[[list[float]], float]) -> tuple[Float64Array, BoolArray]:
    present = block.counts > 0
    result = np.zeros(block.shape)
    for row, column in zip(*np.nonzero(present), strict=True):
        result[row, column] = function(_window(block, int(row), int(column)))
    return result, present


def _variance(block: Block) -> tuple[Float64Array, BoolArray]:
    """Welford's method with compensated sums."""
    count = np.zeros(block.shape)
    mean, mean_lost = np.zeros(block.shape), np.zeros(block.shape)
    square, square_lost = np.zeros(block.shape), np.zeros(block.shape)
    for live, index in block.rounds():
        value = block.samples.values[index]
        count += live
        delta = np.where(live, value - (mean + mean_lost), 0.0)
        kahan.increase_all(np.where(live, delta / count, 0.0), mean, mean_lost)
        kahan.increase_all(np.where(live, delta * (value - (mean + mean_lost)), 0.0), square, square_lost)
    return (square + square_lost) / count, block.counts > 0


def _deviation(block: Block) -> tuple[Float64Array, BoolArray]:
    variance, present = _variance(block)
    return np.sqrt(variance), present


Columns = Callable[[Float64Array, BoolArray, Int64Array], Float64Array]
"""(samples [longest, windows], which of these cells are padding, step of each window) -> one number each."""


def _by_columns(block: Block, function: Columns) -> tuple[Float64Array, BoolArray]:
    """Run a function over the windows laid side by side as columns; as many at a time as `_SORT_CELLS` allow."""
    present = block.counts > 0
    result = np.zeros(block.shape)
    rows, columns = np.nonzero(present)
    counts, firsts = block.counts[present], block.first[present]
    longest = int(counts.max(initial=1))
    width = max(1, _SORT_CELLS // longest)
    order = np.arange(longest, dtype=np.int64)[:, None]
    size = len(block.samples.values) - 1
    for at in range(0, len(rows), width):
        block.budget.check()
        part = slice(at, at + width)
        index = np.minimum(firsts[part] + order, size)
        padding = order >= counts[part]
        result[rows[part], columns[part]] = function(block.samples.values[index], padding, columns[part])
    return result, present


def _quantile(context: CallContext, args: Sequence[Argument]) -> Vector:
    wanted, ranges = scalar_of(args[0]), ranges_of(args[1])

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        return _by_columns(block, lambda values, padding, at: quantiles_of_columns(wanted[at], values, padding))

    vector = over_floats(context, ranges, kernel)
    for value in _outside_unit(wanted[vector.present.any(axis=0)]):  # where there is nothing, nothing is said
        context.notes.invalid_quantile(value, context.call.args[0].span)
    return vector


def _outside_unit(values: Float64Array) -> list[float]:
    outside = values[~((values >= 0) & (values <= 1))]
    return [float(value) for value in np.unique(outside)]


def _median_deviation(block: Block) -> tuple[Float64Array, BoolArray]:
    def columns(values: Float64Array, padding: BoolArray, at: Int64Array) -> Float64Array:
        half = np.full(values.shape[1], 0.5)
        median = quantiles_of_columns(half, values, padding)
        deviation = quantiles_of_columns(half, np.abs(values - median), padding)
        return np.where((np.isnan(values) & ~padding).any(axis=0), np.nan, deviation)

    return _by_columns(block, columns)


OVER_TIME: dict[str, Function] = {
    "count_over_time": _of_all(_count),
    "present_over_time": _of_all(_present),
    "first_over_time": _edge(False),
    "last_over_time": _edge(True),
    "min_over_time": _of_floats(_min),
    "max_over_time": _of_floats(_max),
    "sum_over_time": _sum,
    "avg_over_time": _avg,
    "stdvar_over_time": _of_floats(_variance),
    "stddev_over_time": _of_floats(_deviation),
    "quantile_over_time": _quantile,
    "mad_over_time": _of_floats(_median_deviation),
    "ts_of_first_over_time": _of_all(_first_time),
    "ts_of_last_over_time": _of_all(_last_time),
    "ts_of_min_over_time": _extreme_time(np.less_equal),
    "ts_of_max_over_time": _extreme_time(np.greater_equal),
}
