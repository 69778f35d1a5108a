"""Between scalars and vectors, and what is known about the query itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from peerwatch.model import Labels
from peerwatch.query.functions.context import Argument, CallContext, Function, floats_of, scalar_of, vector_of
from peerwatch.query.functions.elementwise import maximum, minimum
from peerwatch.query.value import QuerySpan, Scalar, Value, Vector


def _constant(read: Callable[[QuerySpan], float]) -> Function:
    return lambda context, args: Scalar(np.full(context.grid.count, read(context.query)))


def _time(context: CallContext, args: Sequence[Argument]) -> Value:
    return Scalar(context.grid.times_ms / 1000.0)


def _vector(context: CallContext, args: Sequence[Argument]) -> Value:
    values = scalar_of(args[0])[None, :]
    return Vector([Labels()], values, np.ones(values.shape, np.bool_))


def _scalar(context: CallContext, args: Sequence[Argument]) -> Value:
    """The only number of each step; NaN where there is none or more than one."""
    vector = floats_of(args[0])
    alone = vector.present.sum(axis=0) == 1
    with np.errstate(invalid="ignore"):  # where it is not alone, infinities may meet
        total = np.where(vector.present, vector.values, -0.0).sum(axis=0)
    return Scalar(np.where(alone, total, np.nan))


def _timestamp(context: CallContext, args: Sequence[Argument]) -> Value:
    """The step's own time: samples that were computed have no other. (Bare selectors are answered by the evaluator.)"""
    vector = vector_of(args[0])
    times = np.broadcast_to(context.grid.times_ms / 1000.0, vector.values.shape)
    return context.drop_names(vector.with_values(times, vector.present))


SCALAR: dict[str, Function] = {
    "time": _time,
    "vector": _vector,
    "scalar": _scalar,
    "timestamp": _timestamp,
    "pi": _constant(lambda query: math.pi),
    "start": _constant(lambda query: query.start_ms / 1000),
    "end": _constant(lambda query: query.end_ms / 1000),
    "step": _constant(lambda query: query.step_ms / 1000 if query.start_ms != query.end_ms else 0.0),
    "range": _constant(lambda query: (query.end_ms - query.start_ms) / 1000),
    "min_of": lambda context, args: Scalar(minimum(scalar_of(args[0]), scalar_of(args[1]))),
    "max_of": lambda context, args: Scalar(maximum(scalar_of(args[0]), scalar_of(args[1]))),
}
