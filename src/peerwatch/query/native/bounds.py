"""Bounds: where the buckets of native histograms begin and end."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import cache

import numpy as np

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, Float64Array, Histograms, Int64Array

_FINEST = 8
_LARGEST = float(np.finfo(np.float64).max)

# How far each bound of Prometheus's table for schema 8 lies from the double that is nearest to 2^(i/256) / 2, in units
# in the last place: e is 0, d is -1. Answers show bounds and thresholds are compared with them: each bit counts.
_OFF_BY = (
    "eeeeeedeeedeeeeeeedceeddddddddddeedeeedeedddeeddeeddefddeeddeedd"
    "eeeeeeddddccdecdeedeeedeeeedeeeeeeedefeedecceeddedddeededeccdddd"
    "dededdccddcddeddddddddcdcdcccdcceeddeededdccdeccddccdeddcdccddcd"
    "ddbcddcdccbcccbcccccccbbbbaabcabddcddccccdbbddcccdbcddccccabccbb"
)


@cache
def _fractions() -> Float64Array:
    """float64 [256]: the bounds of schema 8 in [0.5, 1); those of coarser schemas are among them."""
    exact = Context(prec=40)
    nearest = [float(exact.power(2, Decimal(at) / 256) / 2) for at in range(1 << _FINEST)]
    return np.array(
        [bound + math.ulp(bound) * (ord(off) - ord("e")) for bound, off in zip(nearest, _OFF_BY, strict=True)]
    )


def exponential_bounds(index: Int64Array, schemas: Int64Array) -> Float64Array:
    """Upper bound of each positive bucket. The last one before infinity ends at the largest double."""
    fine = np.maximum(schemas, 0)
    at = (index & ((np.int64(1) << fine) - 1)) << (_FINEST - fine)
    exponent = np.where(schemas >= 0, (index >> fine) + 1, (index << np.maximum(-schemas, 0)) + 1)
    fraction = _fractions()[np.where(schemas >= 0, at, 0)]
    with np.errstate(over="ignore"):
        bounds: Float64Array = np.ldexp(fraction, np.clip(exponent, -2000, 2000).astype(np.int32))
    return np.where((fraction == 0.5) & (exponent == 1025), _LARGEST, bounds)


def bucket_bounds(found: Histograms) -> tuple[Float64Array, Float64Array]:
    """(lower, upper) of every bucket, float64 [M] each; the zero bucket's own threshold does not cut them."""
    owners = found.owners
    schemas = found.schemas[owners]
    index = np.abs(found.keys) - KEY_BIAS
    custom = schemas == CUSTOM_SCHEMA
    if custom.all():
        return _custom_bounds(found, index - 1, owners), _custom_bounds(found, index, owners)
    inner, outer = exponential_bounds(index - 1, schemas), exponential_bounds(index, schemas)
    negative = found.keys < 0
    lower, upper = np.where(negative, -outer, inner), np.where(negative, -inner, outer)
    if custom.any():
        lower[custom] = _custom_bounds(found, index - 1, owners)[custom]
        upper[custom] = _custom_bounds(found, index, owners)[custom]
    return lower, upper


def _custom_bounds(found: Histograms, index: Int64Array, owners: Int64Array) -> Float64Array:
    """The bounds of custom buckets; minus infinity before the first, infinity after the last."""
    result = np.full(len(index), np.inf)
    kinds = found.bounds_of[owners]
    for kind, bounds in enumerate(found.bounds):
        mine = kinds == kind
        padded = np.array([-np.inf, *bounds, np.inf])
        result[mine] = padded[np.clip(index[mine] + 1, 0, len(padded) - 1)]
    return result
