"""Aggregations that keep series instead of making new ones: topk, bottomk, limitk, limit_ratio."""

from __future__ import annotations

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Span
from peerwatch.query.grouping import Groups
from peerwatch.query.limits import Budget
from peerwatch.query.value import Vector, empty_vector
from peerwatch.query.xxhash import hash_labels

_INT64 = float(1 << 63)
_HASHES = float((1 << 64) - 1)


def keep_ranked(op: str, wanted: Float64Array, vector: Vector, groups: Groups, budget: Budget) -> Vector:
    """topk, bottomk or limitk: at each step at most wanted[t] series of each group.

    At a single step the answer is in rank order. NaN ranks last; of equals the earlier series wins.
    """
    if np.isnan(wanted).any():
        raise QueryError("Parameter value is NaN")
    step_count = vector.values.shape[1]
    if len(wanted) == 0 or wanted.max() < 1:
        return empty_vector(step_count)
    _check_int64(wanted)
    limit = np.trunc(wanted)
    kept, order = np.zeros(vector.present.shape, np.bool_), list[Int64Array]()
    for rows in groups.rows:
        budget.check()
        present = vector.present[rows]
        if op == "limitk":
            kept[rows] = present & (np.cumsum(present, axis=0) <= limit)
            order.append(rows)
            continue
        by_rank = _ranking(vector.values[rows], present, descending=op == "topk")
        rank = np.empty(by_rank.shape, np.int64)
        np.put_along_axis(rank, by_rank, np.arange(len(rows))[:, None], axis=0)
        kept[rows] = present & (rank < limit)
        order.append(rows[by_rank[:, 0]])
    chosen = vector.where(kept)
    return chosen.take(np.concatenate(order)) if order and step_count == 1 else chosen


def _check_int64(wanted: Float64Array) -> None:
    if wanted.min() <= -_INT64:
        raise QueryError(f"Scalar value {wanted.min():g} underflows int64")
    if wanted.max() >= _INT64:
        raise QueryError(f"Scalar value {wanted.max():g} overflows int64")


def _ranking(values: Float64Array, present: BoolArray, *, descending: bool) -> Int64Array:
    """Row indices from the best to the worst, for each column; NaN after numbers, absent ones last."""
    keys = -values if descending else values
    order: Int64Array = np.lexsort((keys, np.isnan(values), ~present), axis=0)
    return order


def keep_ratio(wanted: Float64Array, vector: Vector, notes: Annotations, span: Span) -> Vector:
    """limit_ratio: the share wanted[t] of all series, by the hash of their labels; a negative share is the rest."""
    if np.isnan(wanted).any():
        raise QueryError("Ratio value is NaN")
    for capped, worst in ((1.0, wanted.max(initial=0.0)), (-1.0, wanted.min(initial=0.0))):
        if abs(worst) > 1:
            notes.invalid_ratio(float(worst), capped, span)
    ratio = np.clip(wanted, -1.0, 1.0)
    place = np.array([hash_labels(labels) / _HASHES for labels in vector.labels])[:, None]
    kept = np.where(ratio >= 0, place < ratio, place >= 1.0 + ratio)
    return vector.where(kept)
