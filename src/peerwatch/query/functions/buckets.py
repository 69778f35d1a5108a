"""Classic histograms: bucket series put back together, and the arithmetic on their counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array, Labels
from peerwatch.query.value import Vector

BUCKET_LABEL = "le"
_TOLERANCE = 1e-12  # relative; smaller differences between neighbours are rounding
_SMALLEST_NORMAL = float(np.finfo(np.float64).smallest_normal)


@dataclass(frozen=True, slots=True)
class Histogram:
    """The bucket series of one histogram, by ascending bound."""

    labels: Labels
    rows: list[int]
    bounds: list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns (histogram x step) with the same bounds. counts: float64 [B, C], cumulative. owner, step: int64 [C]."""

    bounds: Float64Array
    counts: Float64Array
    owner: Int64Array
    step: Int64Array


def parse_bound(text: str) -> float | None:
    """The bound that a `le` label means, or None."""
    if not text or text != text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def histograms_of(vector: Vector) -> tuple[list[Histogram], list[int]]:
    """(histograms, rows without a usable bound)."""
    grouped: dict[Labels, list[tuple[float, int]]] = {}
    unusable = []
    for row, labels in enumerate(vector.labels):
        bound = parse_bound(labels.get(BUCKET_LABEL))
        if bound is None:
            unusable.append(row)
        else:
            grouped.setdefault(labels.without((BUCKET_LABEL,)), []).append((bound, row))
    histograms = []
    for labels, buckets in grouped.items():
        buckets.sort()
        histograms.append(Histogram(labels, [row for _, row in buckets], [bound for bound, _ in buckets]))
    return histograms, unusable


def batches(vector: Vector, histograms: Sequence[Histogram]) -> Iterator[Batch]:
    """All columns of all histograms that have a bucket, those with the same bounds together."""
    parts: dict[tuple[float, ...], list[tuple[Float64Array, int, Int64Array]]] = {}
    for owner, histogram in enumerate(histograms):
        for bounds, counts, steps in _patterns(vector, histogram):
            parts.setdefault(bounds, []).append((counts, owner, steps))
    for bounds, found in parts.items():
        yield Batch(
            np.array(bounds),
            np.concatenate([counts for counts, _, _ in found], axis=1),
            np.concatenate([np.full(len(steps), owner, np.int64) for _, owner, steps in found]),
            np.concatenate([steps for _, _, steps in found]),
        )


def _patterns(vector: Vector, histogram: Histogram) -> Iterator[tuple[tuple[float, ...], Float64Array, Int64Array]]:
    """(bounds, counts, steps) for each set of buckets that is present together at some steps; usually one."""
    present, values = vector.present[histogram.rows], vector.values[histogram.rows]
    steps = np.flatnonzero(present.any(axis=0))
    if len(steps) == 0:
        return
    masks = present[:, steps]
    if masks.all():
        yield (*_coalesced(histogram.bounds, values[:, steps]), steps)
        return
    distinct, which = np.unique(masks, axis=1, return_inverse=True)
    for pattern in range(distinct.shape[1]):
        chosen = steps[which.reshape(-1) == pattern]
        rows = np.flatnonzero(distinct[:, pattern])
        bounds = [histogram.bounds[row] for row in rows.tolist()]
        yield (*_coalesced(bounds, values[np.ix_(rows, chosen)]), chosen)


def _coalesced(bounds: list[float], counts: Float64Array) -> tuple[tuple[float, ...], Float64Array]:
    """Buckets with the same bound ("1" and "1.0") added up."""
    starts = [at for at, bound in enumerate(bounds) if at == 0 or bound != bounds[at - 1]]
    if len(starts) == len(bounds):
        return tuple(bounds), counts
    return tuple(bounds[at] for at in starts), np.add.reduceat(counts, starts, axis=0)


def make_monotonic(counts: Float64Array) -> tuple[Float64Array, BoolArray, Float64Array]:
    """(counts that never fall from bucket to bucket, which cells were forced [B, C], by how much).

    Scrapes and rules race with each other, so counts can be slightly off. Differences within rounding are levelled
    silently, real falls are forced up.
    """
    fixed = counts.copy()
    forced = np.zeros(counts.shape, np.bool_)
    excess = np.zeros(counts.shape)
    previous = counts[0].copy()
    for at in range(1, len(counts)):
        current = counts[at]
        level = (current == previous) | _almost_equal(previous, current)
        falls = ~level & (current < previous)
        forced[at], excess[at] = falls, np.where(falls, previous - current, 0.0)
        keeps = (level & (current != previous)) | falls
        fixed[at] = np.where(keeps, previous, current)
        previous = np.where(keeps | level, previous, current)
    return fixed, forced, excess


def _almost_equal(left: Float64Array, right: Float64Array) -> BoolArray:
    size, apart = np.abs(left) + np.abs(right), np.abs(left - right)
    tiny = (left == 0) | (right == 0) | (size < _SMALLEST_NORMAL)
    with np.errstate(all="ignore"):
        close: BoolArray = np.where(tiny, apart < _TOLERANCE * _SMALLEST_NORMAL, apart / size < _TOLERANCE)
    return close | (np.isnan(left) & np.isnan(right))


def bucket_quantile(wanted: Float64Array, bounds: Float64Array, counts: Float64Array) -> Float64Array:
    """Where the wanted share of observations [C] lies, linear within a bucket. Counts must be monotonic.

    NaN without a +Inf bucket, without observations, or with one bucket only. Above the last finite bound it is that
    bound; below the first one it starts from 0 if the bound is positive.
    """
    size = len(bounds)
    columns = np.arange(counts.shape[1])
    if size < 2 or bounds[-1] != np.inf:
        return np.full(len(columns), np.nan)
    total = counts[-1]
    rank = wanted * total
    reached = counts[:-1] >= rank
    bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), size - 1)
    below = np.maximum(bucket - 1, 0)
    is_first = bucket == 0
    start = np.where(is_first, 0.0, bounds[below])
    skipped = np.where(is_first, 0.0, counts[below, columns])
    end, inside = bounds[bucket], counts[bucket, columns] - skipped
    with np.errstate(all="ignore"):
        result = start + (end - start) * ((rank - skipped) / inside)
    result = np.where(is_first & (bounds[0] <= 0), bounds[0], result)
    result = np.where(bucket == size - 1, bounds[-2], result)
    return np.where(total == 0, np.nan, result)


def bucket_fraction(
    lower: Float64Array, upper: Float64Array, bounds: Float64Array, counts: Float64Array
) -> Float64Array:
    """The share of observations between lower and upper [C], linear within a bucket, nothing from endless ones."""
    total = counts[-1]
    if bounds[-1] != np.inf:
        return np.full(counts.shape[1], np.nan)
    with np.errstate(all="ignore"):
        share = (_rank(upper, bounds, counts) - _rank(lower, bounds, counts)) / total
    share = np.where(lower >= upper, 0.0, share)
    return np.where((total == 0) | np.isnan(lower) | np.isnan(upper), np.nan, share)


def _rank(value: Float64Array, bounds: Float64Array, counts: Float64Array) -> Float64Array:
    """How many observations lie below `value`, for each column."""
    total = counts[-1]
    rank, found = total.copy(), np.zeros(len(value), np.bool_)
    low, before = (0.0 if bounds[0] > 0 else -np.inf), np.zeros(len(value))
    for high, count in zip(bounds.tolist(), counts, strict=True):
        at_edge = ~found & (low >= value)
        rank[at_edge] = before[at_edge]
        found |= at_edge
        inside = ~found & (low < value) & (high > value)
        with np.errstate(all="ignore"):
            partial = count if low == -np.inf else before + (count - before) * (value - low) / (high - low)
        rank[inside] = partial[inside]
        found |= inside
        low, before = high, count
    capped: Float64Array = np.minimum(rank, total)
    return capped
