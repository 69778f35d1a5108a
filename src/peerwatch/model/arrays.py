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
