"""Trim: native histograms less the observations above or below a value (the operators `</` and `>/`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms
from peerwatch.query.native.arithmetic import compact
from peerwatch.query.native.bounds import bucket_bounds
from peerwatch.query.native.rank import share_below


def trimmed(found: Histograms, edge: Float64Array, *, keep_below: bool) -> Histograms:
    """What lies below (or above) an edge [N]. A bucket that the edge cuts keeps its share; count and sum are then made
    up anew from the middles of what is left."""
    with np.errstate(all="ignore"):
        owners = found.owners
        kept, middle = _cut(found, edge[owners], keep_below)
        zero_kept, zero_middle = _cut_zero(found, edge, keep_below)
        counts = np.bincount(owners, weights=kept, minlength=len(found)) + zero_kept
        sums = np.bincount(owners, weights=kept * middle, minlength=len(found)) + zero_kept * zero_middle
    changed = (found.zero_counts > 0) & (zero_kept != found.zero_counts)
    changed[owners[kept != found.buckets]] = True
    result = replace(
        found,
        counts=np.where(changed, counts, found.counts),
        sums=np.where(changed, sums, found.sums),
        zero_counts=np.where(found.zero_counts > 0, zero_kept, found.zero_counts),
        buckets=kept,
    )
    return compact(result)


def _cut(found: Histograms, edge: Float64Array, keep_below: bool) -> tuple[Float64Array, Float64Array]:
    """(observations kept, their middle) of each bucket."""
    lower, upper = bucket_bounds(found)
    custom = found.custom[found.owners]
    positive = found.keys > 0
    counts = found.buckets
    if keep_below:
        whole, cut = upper <= edge, lower < edge
    else:
        whole, cut = lower >= edge, upper > edge
    cut &= ~whole
    below = counts * share_below(edge, lower, upper, custom)
    kept = below if keep_below else counts - below
    middle = _middle(lower, edge, positive, custom) if keep_below else _middle(edge, upper, positive, custom)
    endless = np.isinf(lower) | np.isinf(upper)
    end_kept, end_middle = _cut_endless(counts, lower, upper, edge, keep_below)
    kept, middle = np.where(endless, end_kept, kept), np.where(endless, end_middle, middle)
    kept = np.where(whole, counts, np.where(cut, kept, 0.0))
    middle = np.where(whole, _middle(lower, upper, positive, custom), np.where(cut, middle, 0.0))
    none = counts == 0
    return np.where(none, counts, kept), np.where(none, 0.0, middle)


def _cut_endless(
    counts: Float64Array, lower: Float64Array, upper: Float64Array, edge: Float64Array, keep_below: bool
) -> tuple[Float64Array, Float64Array]:
    """The same for buckets without a lower or an upper end. One that begins nowhere and ends above zero is taken to
    begin at zero; of others nobody knows where in them the observations lie."""
    from_nowhere = lower == -np.inf
    finite_above = (upper > 0) & (upper != np.inf)
    edge_or_zero = np.where(np.isinf(upper), 0.0, upper)
    if keep_below:
        part = (edge > 0) & finite_above
        first = np.where(part, counts * edge / upper, np.where(upper <= 0, counts, 0.0))
        first_middle = np.where(part, edge / 2, np.where(upper <= 0, edge, edge_or_zero))
        last, last_middle = np.zeros(len(counts)), np.where(np.isinf(lower), 0.0, lower)
    else:
        part = (edge >= 0) & (upper > edge) & (upper != np.inf)
        first = np.where(part, counts * (1 - edge / upper), 0.0)
        first_middle = np.where(part, (edge + upper) / 2, edge_or_zero)
        beyond = edge >= lower
        last = np.where(beyond, counts, 0.0)
        last_middle = np.where(beyond, edge, np.where(np.isinf(lower), 0.0, lower))
    return np.where(from_nowhere, first, last), np.where(from_nowhere, first_middle, last_middle)


def _middle(lower: Float64Array, upper: Float64Array, positive: BoolArray, linear: BoolArray) -> Float64Array:
    """Where the observations of a bucket are taken to lie: geometric, or arithmetic with custom bounds."""
    size = np.sqrt(np.abs(lower * upper))
    middle = np.where(linear, (lower + upper) / 2, np.where(positive, size, -size))
    open_low = np.where(np.isinf(upper), 0.0, np.where(upper > 0, upper / 2, upper))
    return np.where(np.isinf(lower), open_low, np.where(np.isinf(upper), lower, middle))


def _cut_zero(found: Histograms, edge: Float64Array, keep_below: bool) -> tuple[Float64Array, Float64Array]:
    """(observations kept, their middle) of each zero bucket, which is one-sided where all others are."""
    has_negative, has_positive = (_has_side(found, sign) for sign in (-1, 1))
    lower = np.where(has_positive & ~has_negative, 0.0, -found.zero_widths)
    upper = np.where(has_negative & ~has_positive, 0.0, found.zero_widths)
    middle = (lower + upper) / 2
    share = (edge - lower) / (upper - lower) if keep_below else (upper - edge) / (upper - lower)
    part_middle = (lower + edge) / 2 if keep_below else (edge + upper) / 2
    nothing, everything = (edge <= lower, edge >= upper) if keep_below else (edge >= upper, edge <= lower)
    if not keep_below:
        nothing = nothing & ~everything
    else:
        everything = everything & ~nothing
    kept = np.where(nothing, 0.0, np.where(everything, found.zero_counts, found.zero_counts * share))
    at = np.where(nothing, 0.0, np.where(everything, middle, part_middle))
    some = found.zero_counts > 0
    return np.where(some, kept, 0.0), np.where(some, at, 0.0)


def _has_side(found: Histograms, sign: int) -> BoolArray:
    populated = (np.sign(found.keys) == sign) & (found.buckets != 0)
    result = np.zeros(len(found), np.bool_)
    result[found.owners[populated]] = True
    return result
