"""The numpy types that columns are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

STALE_BITS = 0x7FF0000000000002
"""Bit pattern of Prometheus's stale NaN: the series ended here. Other NaNs are values."""

STALE = np.array([STALE_BITS], dtype=np.uint64).view(np.float64)[0]
"""The stale NaN as a numpy float64. Copying through Python floats keeps the bits on the platforms we run on."""


def is_stale(values: Float64Array) -> BoolArray:
    """Mask of stale markers (bitwise: an ordinary NaN is not one)."""
    marked: BoolArray = np.ascontiguousarray(values).view(np.uint64) == STALE_BITS
    return marked


def ranges(starts: Int64Array, sizes: Int64Array) -> Int64Array:
    """`sizes[i]` places from `starts[i]` on, back to back."""
    ends = np.cumsum(sizes, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    places: Int64Array = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - sizes), sizes)
    return places
