"""Quantiles of plain samples."""

from __future__ import annotations

import numpy as np

from peerwatch.model import BoolArray, Float64Array


def quantiles_of_columns(wanted: Float64Array, values: Float64Array, missing: BoolArray) -> Float64Array:
    """The wanted quantile [C] of each column of values [N, C], without the cells that are `missing`.

    Linear between neighbours; NaN counts as the smallest value; outside 0..1 the answer is an infinity, for NaN NaN.
    """
    columns = np.arange(values.shape[1])
    counts = len(values) - missing.sum(axis=0)
    # NaN is the smallest value: as -inf it sorts to the front, before real -inf only in the count of NaNs
    nans = np.isnan(values) & ~missing
    keys = np.where(missing, np.inf, np.where(nans, -np.inf, values))
    ordered = np.sort(keys, axis=0)
    nan_count = nans.sum(axis=0)
    last = counts - 1.0
    rank = np.where((wanted >= 0) & (wanted <= 1), wanted, 0.0) * last
    lower = np.maximum(0, np.floor(rank)).astype(np.int64)
    upper = np.minimum(last, lower + 1).astype(np.int64)
    weight = rank - np.floor(rank)
    low = np.where(lower < nan_count, np.nan, ordered[lower, columns])
    high = np.where(upper < nan_count, np.nan, ordered[upper, columns])
    with np.errstate(all="ignore"):
        result = low * (1 - weight) + high * weight
    result = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, result))
    return np.where(np.isnan(wanted) | (counts == 0), np.nan, result)
