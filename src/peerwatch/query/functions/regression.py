"""Trends: straight lines through a window, and smoothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.query import kahan
from peerwatch.query.functions.context import Argument, CallContext, Function, over_floats, ranges_of, scalar_of
from peerwatch.query.value import Vector
from peerwatch.query.window import Block


def _line(block: Block, origin_ms: Int64Array) -> tuple[Float64Array, Float64Array]:
    """(slope, value at the origin) of the least-squares line through each window."""
    shape = block.shape
    totals, lost, terms = (np.zeros((4, *shape)) for _ in range(3))  # of x, y, xy, xx: added in one go
    before = block.samples.values[block.first]
    constant = np.ones(shape, np.bool_)
    for live, index in block.rounds():
        value = np.where(live, block.samples.values[index], 0.0)
        x = np.where(live, (block.samples.times_ms[index] - origin_ms) / 1000.0, 0.0)
        constant &= ~live | (value == before)
        terms[0], terms[1], terms[2], terms[3] = x, value, x * value, x * x
        kahan.increase_all(terms, totals, lost)
    sum_x, sum_y, sum_xy, sum_xx = totals + lost
    n = block.counts
    slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n)
    intercept = sum_y / n - slope * sum_x / n
    flat = np.where(np.isinf(before), np.nan, 0.0)
    return np.where(constant, flat, slope), np.where(constant, before + flat, intercept)


def _deriv(context: CallContext, args: Sequence[Argument]) -> Vector:
    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        slope, _ = _line(block, block.samples.times_ms[block.first])
        return slope, block.counts >= 2

    return over_floats(context, ranges_of(args[0]), kernel)


def _predict_linear(context: CallContext, args: Sequence[Argument]) -> Vector:
    ahead_s = scalar_of(args[1])

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        slope, intercept = _line(block, block.steps_ms[None, :])
        return slope * ahead_s + intercept, block.counts >= 2

    return over_floats(context, ranges_of(args[0]), kernel)


def _double_exponential_smoothing(context: CallContext, args: Sequence[Argument]) -> Vector:
    smoothing, trend = scalar_of(args[1]), scalar_of(args[2])

    def check(used: BoolArray) -> None:
        """Factors count at steps at which something is smoothed."""
        for name, factors in (("smoothing", smoothing), ("trend", trend)):
            bad = factors[used & ((factors <= 0) | (factors >= 1))]
            if len(bad):
                raise QueryError(f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {float(bad[0]):f}")

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        check(np.logical_or.reduce(block.counts > 0, axis=0))
        level, older, slope = (np.zeros(block.shape) for _ in range(3))
        for k, (live, index) in enumerate(block.rounds()):
            value = block.samples.values[index]
            if k == 0:
                level = value
                continue
            drift = value - level if k == 1 else trend * (level - older) + (1 - trend) * slope
            slope = np.where(live, drift, slope)
            new = smoothing * value + (1 - smoothing) * (level + slope)
            older = np.where(live, level, older)
            level = np.where(live, new, level)
        return level, block.counts >= 2

    return over_floats(context, ranges_of(args[0]), kernel)


REGRESSION: dict[str, Function] = {
    "deriv": _deriv,
    "predict_linear": _predict_linear,
    "double_exponential_smoothing": _double_exponential_smoothing,
}
