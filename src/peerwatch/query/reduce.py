"""Reductions: one number per group and step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.query import kahan
from peerwatch.query.functions.quantile import quantiles_of_columns
from peerwatch.query.grouping import Groups
from peerwatch.query.limits import Budget
from peerwatch.query.value import Vector

_FEW_CELLS = 16  # below this many results a loop over the series beats numpy calls over the results
_EXACT = float(1 << 53)

Reduction = Callable[[Vector, Groups, Budget], Float64Array]
"""float64 [G, T] from a vector's values; where a group has no series at a step, whatever."""


def present_groups(vector: Vector, groups: Groups) -> BoolArray:
    """bool [G, T]: which groups have a series at which steps."""
    found: BoolArray = np.logical_or.reduceat(vector.present[groups.order], groups.starts, axis=0)
    return found


def _reduceat(ufunc: np.ufunc, vector: Vector, groups: Groups, absent: float) -> Float64Array:
    filled = np.where(vector.present, vector.values, absent)
    found: Float64Array = ufunc.reduceat(filled[groups.order], groups.starts, axis=0)
    return found


def _min(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    return _reduceat(np.fmin, vector, groups, np.nan)  # fmin ignores NaN as long as there is a number


def _max(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    return _reduceat(np.fmax, vector, groups, np.nan)


def counts_of(vector: Vector, groups: Groups) -> Float64Array:
    """float64 [G, T]: how many series each group has at each step."""
    present = vector.present[groups.order].astype(np.float64)
    found: Float64Array = np.add.reduceat(present, groups.starts, axis=0)
    return found


def _count(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    return counts_of(vector, groups)


def _group(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    return np.ones((len(groups.labels), vector.values.shape[1]))


def _adds_exactly(vector: Vector) -> bool:
    """Whether all partial sums are whole numbers below 2^53: then the order of additions makes no difference."""
    filled = np.where(vector.present, vector.values, 0.0)
    largest = float(np.abs(filled).max(initial=0.0))
    return largest * len(filled) < _EXACT and bool((filled == np.floor(filled)).all())


def _rounds(groups: Groups, budget: Budget) -> Iterator[tuple[Int64Array, Int64Array]]:
    """(groups that have a k-th series, that series) for k = 0, 1, … : additions in the order of the series."""
    sizes = np.diff(np.append(groups.starts, len(groups.order)))
    for k in range(int(sizes.max(initial=0))):
        if k % 256 == 255:
            budget.check()
        live = np.flatnonzero(sizes > k)
        yield live, groups.order[groups.starts[live] + k]


def _kahan(vector: Vector, groups: Groups, budget: Budget) -> tuple[Float64Array, Float64Array]:
    shape = (len(groups.labels), vector.values.shape[1])
    total, lost = np.full(shape, -0.0), np.zeros(shape)
    for live, rows in _rounds(groups, budget):
        value = np.where(vector.present[rows], vector.values[rows], -0.0)
        if len(live) == shape[0]:
            kahan.increase_all(value, total, lost)
            continue
        part, part_lost = total[live], lost[live]
        kahan.increase_all(value, part, part_lost)
        total[live], lost[live] = part, part_lost
    return total, lost


def _members(vector: Vector, groups: Groups, group: int, step: int) -> list[float]:
    rows = groups.rows[group]
    found: list[float] = vector.values[rows, step][vector.present[rows, step]].tolist()
    return found


def _each(vector: Vector, groups: Groups, function: Callable[[list[float]], float]) -> Float64Array:
    result = np.zeros((len(groups.labels), vector.values.shape[1]))
    for group, step in np.ndindex(result.shape):
        values = _members(vector, groups, group, step)
        if values:
            result[group, step] = function(values)
    return result


def _sum_values(values: list[float]) -> float:
    total, lost = -0.0, 0.0
    for value in values:
        total, lost = kahan.increase(value, total, lost)
    return total if math.isinf(total) else total + lost


def _exact_sum(vector: Vector, groups: Groups) -> Float64Array:
    """The last addition is that of the compensation, which is +0 here: so a sum is never -0, in Prometheus neither."""
    return _reduceat(np.add, vector, groups, 0.0) + 0.0


def _sum(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    if _adds_exactly(vector):
        return _exact_sum(vector, groups)
    if len(groups.labels) * vector.values.shape[1] <= _FEW_CELLS:
        return _each(vector, groups, _sum_values)
    total, lost = _kahan(vector, groups, budget)
    return np.where(np.isinf(total), total, total + lost)


def _avg(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    counts = counts_of(vector, groups)
    if _adds_exactly(vector):
        return _exact_sum(vector, groups) / counts
    if len(groups.labels) * vector.values.shape[1] <= _FEW_CELLS:
        return _each(vector, groups, kahan.mean)
    total, lost = _kahan(vector, groups, budget)
    result = total / counts + lost / counts
    for group, step in zip(*np.nonzero(~np.isfinite(total) & (counts > 0)), strict=True):  # rare: by the book
        result[group, step] = kahan.mean(_members(vector, groups, int(group), int(step)))
    return result


def _stdvar(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    """Welford's method; an infinity or NaN makes it NaN."""
    shape = (len(groups.labels), vector.values.shape[1])
    count, mean, square = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for live, rows in _rounds(groups, budget):
        present = vector.present[rows]
        value = vector.values[rows]
        count[live] += present
        old = mean[live]
        delta = np.where(present, value - old, 0.0)
        new = np.where(count[live] == 1, np.where(present, value, old), old + delta / np.maximum(count[live], 1))
        mean[live] = new
        first = np.where(np.isfinite(value), 0.0, np.nan)
        change = np.where(count[live] == 1, first, delta * (value - new))
        square[live] += np.where(present, change, 0.0)
    return square / count


def _stddev(vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    return np.sqrt(_stdvar(vector, groups, budget))


def quantile_of_groups(wanted: Float64Array, vector: Vector, groups: Groups, budget: Budget) -> Float64Array:
    """The wanted quantile [T] of each group at each step."""
    result = np.zeros((len(groups.labels), vector.values.shape[1]))
    for group, rows in enumerate(groups.rows):
        budget.check()
        result[group] = quantiles_of_columns(wanted, vector.values[rows], ~vector.present[rows])
    return result


REDUCTIONS: dict[str, Reduction] = {
    "sum": _sum,
    "avg": _avg,
    "min": _min,
    "max": _max,
    "count": _count,
    "group": _group,
    "stddev": _stddev,
    "stdvar": _stdvar,
}
