"""Layout: bringing native histograms to the same buckets, so that they can be added and compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatch.model import KEY_BIAS, BoolArray, Float64Array, Histograms, Int64Array
from peerwatch.model.histograms import offsets_of
from peerwatch.query.native.bounds import bucket_bounds

_KEY_BITS = 22  # a key and its sign
_KEY_SHIFT = 1 << (_KEY_BITS - 1)


def merged(found: Histograms, keys: Int64Array) -> Histograms:
    """The same histograms with other keys, ascending as before; neighbours that now share a key are added up."""
    if len(keys) < 2:
        return replace(found, keys=keys)
    owners = found.owners
    first = np.concatenate(([True], (np.diff(keys) != 0) | (np.diff(owners) != 0)))
    if first.all():
        return replace(found, keys=keys)
    starts = np.flatnonzero(first)
    sizes = np.bincount(owners[starts], minlength=len(found))
    return replace(found, offsets=offsets_of(sizes), keys=keys[starts], buckets=np.add.reduceat(found.buckets, starts))


def to_schemas(found: Histograms, wanted: Int64Array) -> Histograms:
    """Exponential histograms at coarser (or the same) schemas, int64 [N]."""
    shift = found.schemas - wanted
    if not shift.any():
        return found
    by = shift[found.owners]
    sign = np.sign(found.keys)
    index = ((np.abs(found.keys) - KEY_BIAS - 1) >> by) + 1
    return replace(merged(found, sign * (index + KEY_BIAS)), schemas=wanted)


def widened(found: Histograms, least: Float64Array) -> Histograms:
    """With zero buckets at least so wide [N]. A populated bucket that the new edge would cut goes in whole, and the
    zero bucket is as much wider. Where `least` is not above the width there is, nothing changes."""
    grows = least > found.zero_widths
    if not grows.any():
        return found
    owners = found.owners
    lower, upper = bucket_bounds(found)
    negative = found.keys < 0
    inner, outer = np.where(negative, -upper, lower), np.where(negative, -lower, upper)
    width = np.where(grows, least, found.zero_widths)
    while True:
        edge = width[owners]
        cut = grows[owners] & (inner < edge) & (outer > edge) & (found.buckets != 0)
        if not cut.any():
            break
        np.maximum.at(width, owners[cut], outer[cut])
    inside = grows[owners] & (inner < width[owners])
    gained = np.bincount(owners[inside], weights=found.buckets[inside], minlength=len(found))
    kept = ~inside & ~(grows[owners] & (found.buckets == 0))
    return replace(found.with_buckets(kept), zero_widths=width, zero_counts=found.zero_counts + gained)


def with_equal_zero_buckets(left: Histograms, right: Histograms) -> tuple[Histograms, Histograms]:
    """Both with the same zero bucket, pair by pair."""
    while (left.zero_widths != right.zero_widths).any():
        right = widened(right, left.zero_widths)
        left = widened(left, right.zero_widths)
    return left, right


def with_shared_bounds(left: Histograms, right: Histograms) -> tuple[Histograms, Histograms]:
    """Both with one list of custom bounds to refer to."""
    if left.bounds == right.bounds:
        return left, right
    both = Histograms.concat([left, right])
    if len(left) == 0 or len(right) == 0:
        return left, right
    rows = np.arange(len(both), dtype=np.int64)
    return both.take(rows[: len(left)]), both.take(rows[len(left) :])


def with_common_bounds(left: Histograms, right: Histograms) -> tuple[Histograms, Histograms, BoolArray]:
    """(both with the custom bounds that they have in common, which pairs had to be changed for it)."""
    left, right = with_shared_bounds(left, right)
    differ = left.bounds_of != right.bounds_of
    if not differ.any():
        return left, right, differ
    bounds = list(left.bounds)
    wanted = left.bounds_of.copy()
    pairs = np.stack((left.bounds_of, right.bounds_of), axis=1)
    for one, other in np.unique(pairs[differ], axis=0).tolist():
        common = tuple(bound for bound in bounds[one] if bound in set(bounds[other]))
        if common not in bounds:
            bounds.append(common)
        wanted[differ & (pairs[:, 0] == one) & (pairs[:, 1] == other)] = bounds.index(common)
    left, right = (replace(side, bounds=tuple(bounds)) for side in (left, right))
    return _rebounded(left, wanted, differ), _rebounded(right, wanted, differ), differ


def _rebounded(found: Histograms, wanted: Int64Array, changed: BoolArray) -> Histograms:
    """With coarser custom bounds [N] where `changed`; empty buckets go there."""
    kept = ~changed[found.owners] | (found.buckets != 0)
    found = found.with_buckets(kept)
    owners = found.owners
    keys = found.keys.copy()
    pairs = np.stack((found.bounds_of, wanted), axis=1)
    for old, new in np.unique(pairs[changed], axis=0).tolist():
        rows = changed & (pairs[:, 0] == old) & (pairs[:, 1] == new)
        mine = rows[owners]
        place = np.searchsorted(np.array(found.bounds[new]), np.array([*found.bounds[old], np.inf]))
        keys[mine] = place[keys[mine] - KEY_BIAS] + KEY_BIAS
    return replace(merged(found, keys), bounds_of=wanted)


@dataclass(frozen=True, slots=True)
class Union:
    """The buckets that two columns of histograms have together, pair by pair; left, right: where the buckets of each
    side lie in it."""

    offsets: Int64Array
    keys: Int64Array
    left: Int64Array | slice
    right: Int64Array | slice

    def spread(self, buckets: Float64Array, places: Int64Array | slice) -> Float64Array:
        """The buckets of one side, 0 where it has none."""
        found = np.zeros(len(self.keys))
        found[places] = buckets
        return found

    @property
    def sizes(self) -> Int64Array:
        """int64 [N]."""
        return np.diff(self.offsets)


def union_of(left: Histograms, right: Histograms) -> Union:
    """Schemas, zero buckets and custom bounds must agree already."""
    if np.array_equal(left.offsets, right.offsets) and np.array_equal(left.keys, right.keys):
        return Union(left.offsets, left.keys, slice(None), slice(None))
    both = np.concatenate([(side.owners << _KEY_BITS) + side.keys + _KEY_SHIFT for side in (left, right)])
    order = np.argsort(both, kind="stable")  # two ascending runs, which such a sort just merges
    ordered = both[order]
    first = np.concatenate((np.ones(min(1, len(both)), np.bool_), ordered[1:] != ordered[:-1]))
    at = np.empty(len(both), np.int64)
    at[order] = np.cumsum(first) - 1
    found = ordered[first]
    keys = (found & ((1 << _KEY_BITS) - 1)) - _KEY_SHIFT
    sizes = np.bincount(found >> _KEY_BITS, minlength=len(left))
    return Union(offsets_of(sizes), keys, at[: len(left.keys)], at[len(left.keys) :])
