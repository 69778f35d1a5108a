"""Functions of one sample at a time: rounding, logarithms, trigonometry, clamping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from peerwatch.model import Float64Array
from peerwatch.query.functions.context import Argument, CallContext, Function, floats_of, scalar_of
from peerwatch.query.value import Value

Operation = Callable[[Float64Array], Float64Array]


def _map(operation: Operation) -> Function:
    def run(context: CallContext, args: Sequence[Argument]) -> Value:
        vector = floats_of(args[0])
        with np.errstate(all="ignore"):
            return context.drop_names(vector.with_values(operation(vector.values)))

    return run


def minimum(left: Float64Array, right: Float64Array) -> Float64Array:
    """Go's math.Min: -Inf wins even over NaN."""
    return np.where((left == -np.inf) | (right == -np.inf), -np.inf, np.minimum(left, right))


def maximum(left: Float64Array, right: Float64Array) -> Float64Array:
    """Go's math.Max: +Inf wins even over NaN."""
    return np.where((left == np.inf) | (right == np.inf), np.inf, np.maximum(left, right))


def _clamp(context: CallContext, args: Sequence[Argument]) -> Value:
    vector, low, high = floats_of(args[0]), scalar_of(args[1]), scalar_of(args[2])
    values = maximum(low, minimum(high, vector.values))
    return context.drop_names(vector.with_values(values, vector.present & ~(low > high)))


def _clamp_max(context: CallContext, args: Sequence[Argument]) -> Value:
    vector = floats_of(args[0])
    return context.drop_names(vector.with_values(minimum(scalar_of(args[1]), vector.values)))


def _clamp_min(context: CallContext, args: Sequence[Argument]) -> Value:
    vector = floats_of(args[0])
    return context.drop_names(vector.with_values(maximum(scalar_of(args[1]), vector.values)))


def _round(context: CallContext, args: Sequence[Argument]) -> Value:
    """To the nearest multiple of the second argument; halves go up."""
    vector = floats_of(args[0])
    to_nearest = scalar_of(args[1]) if len(args) > 1 else np.ones(context.grid.count)
    with np.errstate(all="ignore"):
        inverse = 1.0 / to_nearest  # multiplying by the inverse is what makes 0.1 come out exact
        return context.drop_names(vector.with_values(np.floor(vector.values * inverse + 0.5) / inverse))


ELEMENTWISE: dict[str, Function] = {
    "abs": _map(np.abs),
    "acos": _map(np.arccos),
    "acosh": _map(np.arccosh),
    "asin": _map(np.arcsin),
    "asinh": _map(np.arcsinh),
    "atan": _map(np.arctan),
    "atanh": _map(np.arctanh),
    "ceil": _map(np.ceil),
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "cos": _map(np.cos),
    "cosh": _map(np.cosh),
    "deg": _map(lambda values: values * 180 / math.pi),
    "exp": _map(np.exp),
    "floor": _map(np.floor),
    "ln": _map(np.log),
    "log10": _map(np.log10),
    "log2": _map(np.log2),
    "rad": _map(lambda values: values * math.pi / 180),
    "round": _round,
    "sgn": _map(np.sign),
    "sin": _map(np.sin),
    "sinh": _map(np.sinh),
    "sqrt": _map(np.sqrt),
    "tan": _map(np.tan),
    "tanh": _map(np.tanh),
}
