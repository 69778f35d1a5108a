"""Arithmetic: native histograms added, subtracted, scaled, told apart; pair by pair."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms, Int64Array
from peerwatch.model.histograms import COUNTER_RESET, GAUGE, NOT_COUNTER_RESET, UNKNOWN_RESET
from peerwatch.query.native.layout import (
    to_schemas,
    union_of,
    with_common_bounds,
    with_equal_zero_buckets,
    with_shared_bounds,
)


@dataclass(frozen=True, slots=True)
class Combined:
    """N histograms, and what it took: collided: one side says that its counter was reset, the other that it was not;
    reconciled: custom bounds differed."""

    found: Histograms
    collided: BoolArray
    reconciled: BoolArray


def compatible(left: Histograms, right: Histograms) -> BoolArray:
    """bool [N]: whether both have custom bounds, or neither; others cannot be combined."""
    found: BoolArray = left.custom == right.custom
    return found


def joint_hints(left: Int64Array, right: Int64Array) -> tuple[Int64Array, BoolArray]:
    """(what is known of a combination's counter resets, where the two sides contradict each other)."""
    collided = (np.minimum(left, right) == COUNTER_RESET) & (np.maximum(left, right) == NOT_COUNTER_RESET)
    gauge = (left == GAUGE) | (right == GAUGE)
    hints = np.where(left == right, left, np.where(gauge, GAUGE, UNKNOWN_RESET))
    return hints, collided


def brought_together(left: Histograms, right: Histograms) -> tuple[Histograms, Histograms, BoolArray]:
    """(both sides with the same zero buckets, schemas and bounds, where custom bounds had to be changed)."""
    left, right, reconciled = with_common_bounds(left, right)
    left, right = with_equal_zero_buckets(left, right)
    coarser = np.minimum(left.schemas, right.schemas)
    return to_schemas(left, coarser), to_schemas(right, coarser), reconciled


def combined(left: Histograms, right: Histograms, *, subtract: bool = False) -> Combined:
    """`left + right` or `left - right`, all pairs `compatible`. Empty buckets may be left."""
    hints, collided = joint_hints(left.hints, right.hints)
    left, right, reconciled = brought_together(left, right)
    union = union_of(left, right)
    add = np.subtract if subtract else np.add
    with np.errstate(all="ignore"):
        found = replace(
            left,
            hints=hints,
            counts=add(left.counts, right.counts),
            sums=add(left.sums, right.sums),
            zero_counts=add(left.zero_counts, right.zero_counts),
            offsets=union.offsets,
            keys=union.keys,
            buckets=add(union.spread(left.buckets, union.left), union.spread(right.buckets, union.right)),
        )
    return Combined(found, collided, reconciled)


def scaled(found: Histograms, factor: Float64Array) -> Histograms:
    """Times a number each; a negative one makes a gauge of it."""
    with np.errstate(all="ignore"):
        return replace(
            found,
            hints=np.where(factor < 0, GAUGE, found.hints),
            counts=found.counts * factor,
            sums=found.sums * factor,
            zero_counts=found.zero_counts * factor,
            buckets=found.buckets * factor[found.owners],
        )


def divided(found: Histograms, divisor: Float64Array) -> Histograms:
    """By a number each; by 0 there are no buckets any more."""
    with np.errstate(all="ignore"):
        quotient = replace(
            found,
            hints=np.where(divisor < 0, GAUGE, found.hints),
            counts=found.counts / divisor,
            sums=found.sums / divisor,
            zero_counts=found.zero_counts / divisor,
            buckets=found.buckets / divisor[found.owners],
        )
    return quotient.with_buckets(divisor[found.owners] != 0)


def compact(found: Histograms) -> Histograms:
    """Without empty buckets."""
    return found.with_buckets(found.buckets != 0)


def as_gauges(found: Histograms) -> Histograms:
    """The same, said to be gauges: differences are."""
    return replace(found, hints=np.full(len(found), GAUGE, np.int64))


def put(left: Histograms, rows: Int64Array, found: Histograms) -> Histograms:
    """The same with some of them replaced."""
    if len(rows) == len(left):
        return found
    order = np.arange(len(left), dtype=np.int64)
    order[rows] = len(left) + np.arange(len(rows), dtype=np.int64)
    return Histograms.concat([left, found]).take(order)


def same(left: Histograms, right: Histograms) -> BoolArray:
    """bool [N]: equal to the bit in everything but the hints. An empty bucket is the same as none: which of the two a
    store gives back depends on the samples around."""
    left, right = with_shared_bounds(compact(left), compact(right))
    equal: BoolArray = (
        (left.schemas == right.schemas) & (left.bounds_of == right.bounds_of) & (left.sizes == right.sizes)
    )
    equal &= left.zero_widths == right.zero_widths
    for one, other in ((left.counts, right.counts), (left.sums, right.sums), (left.zero_counts, right.zero_counts)):
        equal &= _bits(one) == _bits(other)
    rows = np.flatnonzero(equal)
    ours, theirs = left.take(rows), right.take(rows)
    differs = (ours.keys != theirs.keys) | (_bits(ours.buckets) != _bits(theirs.buckets))
    equal[rows[ours.owners[differs]]] = False
    return equal


def _bits(values: Float64Array) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    return np.ascontiguousarray(values).view(np.uint64)
