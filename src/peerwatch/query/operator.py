"""What binary operators do with numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import BoolArray, Float64Array

ARITHMETIC: dict[str, Callable[[Float64Array, Float64Array], Float64Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,  # the sign of the dividend, as Go's math.Mod
    "^": np.power,
    "atan2": np.arctan2,
}

COMPARISON: dict[str, Callable[[Float64Array, Float64Array], BoolArray]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


TRIMS = ("</", ">/")
"""What lies below, or above, a value: only of histograms."""


def apply(op: str, left: Float64Array, right: Float64Array) -> tuple[Float64Array, BoolArray | None]:
    """(result, which results hold). For arithmetic everything holds (None); a comparison yields its left side."""
    with np.errstate(all="ignore"):
        if op in ARITHMETIC:
            return ARITHMETIC[op](left, right), None
        if op in COMPARISON:
            return left, COMPARISON[op](left, right)
    raise QueryError(f"operator {op} is not one of numbers")
