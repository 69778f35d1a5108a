"""Rank: quantiles and fractions of the observations in native histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms
from peerwatch.query.limits import Budget
from peerwatch.query.native.table import Table, tables


@dataclass(frozen=True, slots=True)
class Quantiles:
    """values: float64 [N]. lost: NaN observations lie where the quantile does; skewed: they only push it up."""

    values: Float64Array
    lost: BoolArray
    skewed: BoolArray


def quantiles(found: Histograms, wanted: Float64Array, budget: Budget) -> Quantiles:
    """The wanted quantile [N] of each, linear in custom and zero buckets, exponential in others."""
    values = np.full(len(found), np.nan)
    lost, skewed = np.zeros(len(found), np.bool_), np.zeros(len(found), np.bool_)
    with np.errstate(all="ignore"):
        for rows, table in tables(found, budget):
            part = _of_table(table, wanted[rows])
            values[rows], lost[rows], skewed[rows] = part.values, part.lost, part.skewed
    values = np.where(found.counts == 0, np.nan, values)
    values = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, values))
    said = (found.counts != 0) & (wanted >= 0) & (wanted <= 1)
    return Quantiles(np.where(np.isnan(wanted), np.nan, values), lost & said, skewed & said)


def _of_table(table: Table, wanted: Float64Array) -> Quantiles:
    found, rows = table.found, np.arange(len(wanted))
    unsummed = np.isnan(found.sums)
    forward = unsummed | (wanted < 0.5)  # NaN observations are in no bucket: only from below can one count past them
    rank = np.where(forward, wanted, 1 - wanted) * found.counts
    counts = np.where(forward[:, None], table.counts, table.counts[:, ::-1])
    reached = np.cumsum(counts, axis=1)
    hit = (counts != 0) & (reached >= rank[:, None])
    last = np.where(forward, np.maximum(table.there.sum(axis=1) - 1, 0), counts.shape[1] - 1)
    place = np.where(hit.any(axis=1), hit.argmax(axis=1), last)
    inside, below = counts[rows, place], np.minimum(reached[rows, place], found.counts)
    column = np.where(forward, place, counts.shape[1] - 1 - place)
    custom = found.custom
    lows, highs = table.one_sided((table.lower < 0) & (table.upper > 0) & ~custom[:, None])
    lower, upper = lows[rows, column], highs[rows, column]
    lower_end = custom & (lower == -np.inf)
    first_bound = np.where(lower_end & (upper <= 0), upper, np.nan)
    lower = np.where(lower_end, 0.0, lower)
    within = np.where(forward, rank - (below - inside), below - rank)
    result = _interpolated(lower, upper, within / inside, custom)
    short = below < rank
    result = np.where(short, np.where(unsummed, np.nan, upper), result)
    result = np.where(lower_end & ~np.isnan(first_bound), first_bound, result)
    open_end = custom & ~lower_end & (upper == np.inf)
    result = np.where(open_end, lower, result)
    decided = open_end | (lower_end & ~np.isnan(first_bound))
    missing = table.counts.sum(axis=1) < found.counts
    return Quantiles(result, unsummed & short & ~decided, unsummed & ~short & ~decided & missing)


def _interpolated(lower: Float64Array, upper: Float64Array, share: Float64Array, custom: BoolArray) -> Float64Array:
    linear = custom | ((lower <= 0) & (upper >= 0))
    straight = lower + (upper - lower) * share
    low, high = np.log2(np.abs(lower)), np.log2(np.abs(upper))
    positive = np.exp2(low + (high - low) * share)
    negative = -np.exp2(high + (low - high) * (1 - share))
    return np.where(linear, straight, np.where(lower > 0, positive, negative))


def fractions(
    found: Histograms, lower: Float64Array, upper: Float64Array, budget: Budget
) -> tuple[Float64Array, BoolArray]:
    """(the share of observations between lower and upper [N], which histograms have NaN observations beside)."""
    values, missing = np.full(len(found), np.nan), np.zeros(len(found), np.bool_)
    with np.errstate(all="ignore"):
        for rows, table in tables(found, budget):
            inside = table.counts.sum(axis=1)
            missing[rows] = np.isnan(table.found.sums) & (inside < table.found.counts)
            most = np.where(np.isnan(table.found.sums), inside, table.found.counts)
            top, bottom = (_rank(table, edge[rows], most) for edge in (upper, lower))
            values[rows] = (top - bottom) / table.found.counts
    undefined = (found.counts == 0) | np.isnan(lower) | np.isnan(upper)
    values = np.where(undefined, np.nan, np.where(lower >= upper, 0.0, values))
    return values, missing & ~undefined & (lower < upper)


def _rank(table: Table, edge: Float64Array, most: Float64Array) -> Float64Array:
    """How many observations lie below an edge [N]."""
    around = (table.lower <= 0) & (table.upper >= 0)  # of custom bounds, too
    lows, highs = table.one_sided(around)
    custom = table.found.custom
    rank, below, done = most.copy(), np.zeros(len(edge)), np.zeros(len(edge), np.bool_)
    for column in range(table.counts.shape[1]):
        there, count = table.there[:, column] & ~done, table.counts[:, column]
        lower, upper = lows[:, column], highs[:, column]
        reached = there & (lower >= edge)
        rank[reached] = below[reached]
        inside = there & ~reached & (lower < edge) & (upper > edge)
        linear = custom | around[:, column]
        partial = below + count * share_below(edge, lower, upper, linear)
        rank[inside] = np.where(linear & (lower == -np.inf), count, partial)[inside]
        done |= reached | inside
        below = below + np.where(there, count, 0.0)
    return np.minimum(rank, most)


def share_below(edge: Float64Array, lower: Float64Array, upper: Float64Array, linear: BoolArray) -> Float64Array:
    """Which part of a bucket lies below an edge inside of it: by length, or by the logarithm of it."""
    straight = (edge - lower) / (upper - lower)
    low, high, at = (np.log2(np.abs(one)) for one in (lower, upper, edge))
    curved = np.where(edge > 0, (at - low) / (high - low), 1 - (at - high) / (low - high))
    return np.where(linear, straight, curved)
